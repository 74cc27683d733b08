#!/usr/bin/env python3
"""Writes Tests/TokenizersTests/character_vocabularies.json: small vocabularies over characters, and token numbers of a hard list.

    python3 Tests/Fixtures/character_vocabularies.py

Needs the packages tokenizers and sentencepiece. The vocabularies are trained here, on the text below: one by SentencePiece
(its pieces, scores and types as a GGUF file has them, and its token numbers), and its merges as tokenizer.json files laid
out like Llama 2's, Gemma 3's and Mixtral's (numbers by Hugging Face's tokenizers).
"""

import io
import json
from pathlib import Path

import sentencepiece
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

PEOPLE = ["the baker", "our neighbour", "a young doctor", "my aunt", "every driver", "the old fisherman", "one pilot"]
DEEDS = ["counts the loaves", "repairs a bicycle", "writes letters", "waters the garden", "reads the newspaper",
         "carries heavy boxes", "paints the fence", "answers the telephone", "cooks soup for everybody"]
TIMES = ["in the morning", "at noon", "before sunrise", "on Mondays", "after the rain", "when nobody is looking"]
EXTRA = ["def area(width, height):\n    return width * height\n", "Die Bäckerin zählt die Brötchen.\n",
         "  two  spaces   three\tand a tab\n", "year 1984, price 12.50, code 007\n", "ça va très bien, merci\n",
         "if (x == 0) { y += 1; }\n"]
TEXT = "".join(
    f"{p} {d} {t}.\n" for i, p in enumerate(PEOPLE) for j, d in enumerate(DEEDS) for t in TIMES[(i + j) % 3::2])
TEXT = (TEXT + "".join(EXTRA) * 4) * 3

TEXTS = [
    "", " ", "  ", "   ", "\n", "\n\n", "\t", " \n ", "the baker", " the baker", "the  baker   counts", "thebaker",
    "the baker counts the loaves in the morning.\nmy aunt reads", "trailing ", "trailing  ", "▁ literal ▁▁ marks",
    "Die Bäckerin zählt", "ça va très bien", "สวัสดีชาวโลก", "你好，世界", "😀👨‍👩‍👧 👍🏽", "e\u0301 é", "x = 007 + 12.50",
    "def area(w):\n    return w * w\n", "aaaaaaaaaa", "a" * 150, "the " * 60, "<0x0A> is text", "\x00\x01\x7f",
    "before<turn>after", "<turn>", " <turn> x", "<turn><turn> ", "a<pad>b", "line\r\nend", "\u00a0nbsp", "\ufffd",
    "everybody's neighbour isn't looking", "écoute", "Zürich 東京 the garden", "\ufeff\u200bhidden",
]


def train():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT.split("\n")), model_writer=model, vocab_size=620, model_type="bpe", byte_fallback=True,
        character_coverage=0.999, normalization_rule_name="identity", remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True, user_defined_symbols=["<turn>"], num_threads=1, pad_id=3,
        minloglevel=2, split_digits=True)
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def kind(processor, number):
    if processor.is_unknown(number):
        return 2
    if processor.is_control(number):
        return 3
    if processor.is_byte(number):
        return 6
    return 4 if processor.id_to_piece(number) == "<turn>" else 1


def merges(vocabulary, processor):
    """What Transformers' converter makes of a SentencePiece vocabulary."""
    found = []
    for piece, number in vocabulary.items():
        if kind(processor, number) != 1:
            continue
        local = []
        for place in range(1, len(piece)):
            left, right = piece[:place], piece[place:]
            if left in vocabulary and right in vocabulary and kind(processor, vocabulary[left]) == 1 \
                    and kind(processor, vocabulary[right]) == 1:
                local.append((vocabulary[left], vocabulary[right], left, right))
        found += [(-processor.get_score(number), *pair) for pair in sorted(local)]
    return [(left, right) for *_, left, right in sorted(found, key=lambda merge: merge[0])]


def main():
    processor = train()
    count = processor.get_piece_size()
    pieces = [processor.id_to_piece(i) for i in range(count)]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    kinds = [kind(processor, i) for i in range(count)]

    def tokenizer(layout):
        result = Tokenizer(models.BPE(
            vocabulary, merges(vocabulary, processor), byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
        special = [AddedToken(pieces[i], special=True, normalized=False) for i in range(count) if kinds[i] in (2, 3)]
        result.add_special_tokens(special)
        result.add_tokens([AddedToken("<turn>", special=False, normalized=False)])
        ends = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        if layout == "llama":
            result.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        elif layout == "gemma":
            result.normalizer = normalizers.Replace(" ", "▁")
            result.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
            # Gemma lists runs of spaces and lines among what it finds as a whole.
            result.add_tokens([AddedToken("▁▁", special=False, normalized=False)])
        elif layout == "metaspace":
            result.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
        else:
            result.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="always", split=True)
        result.decoder = decoders.Sequence(ends)
        result.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
        return result

    layouts = []
    for layout in ["llama", "gemma", "metaspace", "split"]:
        reference = tokenizer(layout)
        layouts.append({
            "name": layout, "tokenizer": reference.to_str(),
            "ids": [reference.encode(text, add_special_tokens=False).ids for text in without_specials(TEXTS)]})
    # A file for SentencePiece has no tokens that are found as a whole but its own.
    result = {
        "pieces": pieces, "scores": [processor.get_score(i) for i in range(count)], "types": kinds,
        "texts": without_specials(TEXTS), "layouts": layouts,
        "ids": [processor.encode(text) for text in without_specials(TEXTS)]}
    path = Path(__file__).parent.parent / "TokenizersTests" / "character_vocabularies.json"
    path.write_text(json.dumps(result, ensure_ascii=True, separators=(",", ":")) + "\n")
    print(path.name, path.stat().st_size, "bytes;", count, "pieces;", len(TEXTS), "texts")


def without_specials(texts):
    """The reference finds special tokens in any text, this program only where it is asked to."""
    return [text for text in texts if "<pad>" not in text]


main()
