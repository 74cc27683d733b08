#!/usr/bin/env python3
"""Writes Tests/TokenizersTests/smollm2_ids.json: token numbers of a hard list by Hugging Face's tokenizers.

    python3 Tests/Fixtures/tokenizer_ids.py MODEL.gguf

Needs the packages gguf and tokenizers. The vocabulary and the merges are SmolLM2's, read from the GGUF file.
"""

import json
import sys
from pathlib import Path

from gguf import GGUFReader
from tokenizers import Tokenizer, models, pre_tokenizers

TEXTS = [
    "", " ", "  ", "\n", "\n\n\n", "\t", " \n \n ", "Hello, world!", "Hello,  world!   ", "   leading",
    "I'm you're he'll we've they'd it's 'tis", "I'M YOU'RE", "don''t", "1234567890", "3.14159 and 1,000,000",
    "x=1;y=22;z=333", "٣٤٥ ½ Ⅳ ²", "def f(x):\n    return x ** 2\n", "if (a && b) { c(); }\r\n\tx++;",
    "สวัสดีชาวโลก นี่คือภาษาไทย", "你好，世界！我喜欢吃苹果。", "日本語とカタカナとひらがな", "안녕하세요 세계",
    "Привет, мир", "مرحبا بالعالم", "שלום עולם", "नमस्ते दुनिया", "😀😃👨‍👩‍👧‍👦🏳️‍🌈 👍🏽", "a\u0301e\u0301 é ñ ñ",
    "\u200b\u200d\ufeff zero width", "\u00a0nbsp\u00a0\u3000wide", "tab\tand\u000bvertical\u000cform",
    "\ufffd\ufffd replaced \ufffd", "ſ's 'ſ long s", "naïve café œuvre Straße İstanbul", "𝕳𝖊𝖑𝖑𝖔 𐍈",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "=" * 150, "<|im_start|> is text here", "https://example.org/a?b=c&d=%20#e", "snake_case camelCase PascalCase",
    "e\u0301" * 20, "\x00\x01\x7f", "line one\nline two\r\nline three", "price: $5.00, €7,50 or £3", "...!!!???",
    "C++ C# F# .NET", "1st 2nd 3rd 4th", "ǅ ǈ ª º", "\u2028\u2029 separators\u0085",
]


def main() -> None:
    reader = GGUFReader(sys.argv[1])

    def strings(key: str) -> list[str]:
        field = reader.fields[key]
        return [bytes(field.parts[i]).decode("utf-8") for i in field.data]

    tokens = strings("tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in strings("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    rows = [{"text": text, "ids": tokenizer.encode(text).ids} for text in TEXTS]
    path = Path(__file__).parent.parent / "TokenizersTests" / "smollm2_ids.json"
    path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    print(f"{path.name}: {len(rows)} texts")


main()
