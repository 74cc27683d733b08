#!/usr/bin/env python3
"""Writes Tests/InferenceTests/llama.json: what llama.cpp makes of the teacher's file.

    python3 Tests/Fixtures/llama_reference.py MODEL.gguf

Needs the packages llama-cpp-python and numpy. For each prompt the greedy continuation and how far apart the two highest
logits were at each token; for a fixed text the mean loss in nats a token.
"""

import json
import sys
from pathlib import Path

import llama_cpp
import numpy as np

PROMPTS = [
    "The capital of France is", "Once upon a time", "def fibonacci(n):\n", "The three laws of thermodynamics",
    "The opposite of hot is", "My name is", "1, 2, 3, 5, 8,", "Dear customer, your card", "SELECT name FROM",
    "The quick brown fox", "In 1969, humans", "Water boils at", "How do I reset my PIN?", "Roses are red",
    "import numpy as np\n", "Ladies and gentlemen", "The best way to learn", "Energy is", "My favourite game",
    "A car engine",
]

WINDOW = 400
TEXT = """A bank keeps an account for each of its customers. When a customer pays with a card, the shop asks the bank
whether there is enough money; the bank says yes or no within a second, and the sum is taken from the account some days
later. Most of the messages that reach the bank are about this short moment: the card was refused, the sum was taken
twice, the shop's name means nothing to the person who reads the statement a week after. Nobody needs a large machine to
sort such messages. A clerk with a list of thirty drawers does it, and so does a small program that has seen a few
thousand of them.

The trouble begins with the rest. One person writes in capital letters and without a verb; another tells the story of
her holiday before she comes to the point, which is that the machine in Lisbon kept her card. A third asks for a recipe.
For each of them there is a right drawer, and for some there is none, and the clerk who is not sure walks over to the
desk of somebody who has been there longer. That is the whole method of this house: let the small one answer what it
knows, let it say how sure it is, and let the large one look at what is left. What matters is the price of a walk to the
other desk, how often it is made, and whether anybody counts.

So we count. Every request has a cost in cents and in seconds. Every answer is compared, now and then, with what the
large machine would have said. When the small one drifts, because the world has changed and people suddenly write about
a kind of fraud that did not exist last year, the counter shows it within days, and the new examples become the lesson
of the next week."""


def main() -> None:
    model = llama_cpp.Llama(
        sys.argv[1], n_ctx=1024, n_threads=2, n_threads_batch=2, verbose=False, logits_all=True
    )
    rows = []
    for prompt in PROMPTS:
        ids = model.tokenize(prompt.encode(), add_bos=False, special=False)
        model.reset()
        model.eval(ids)
        tokens, margins = [], []
        for _ in range(48):
            logits = np.array(model.scores[model.n_tokens - 1])
            first, second = np.argsort(logits)[::-1][:2]
            tokens.append(int(first))
            margins.append(round(float(logits[first] - logits[second]), 4))
            model.eval([int(first)])
        rows.append({"prompt": prompt, "tokens": tokens, "margins": margins})
    # The text, then the licence in windows: on a few hundred tokens the rounding of activations alone moves the loss by a
    # percent either way.
    license = (Path(__file__).parent.parent.parent / "LICENSE").read_text()
    ids = model.tokenize((TEXT + "\n\n" + license).encode(), add_bos=False, special=False)
    loss, count = 0.0, 0
    for start in range(0, len(ids), WINDOW):
        window = ids[start:start + WINDOW]
        model.reset()
        model.eval(window)
        for place in range(len(window) - 1):
            logits = np.array(model.scores[place], dtype=np.float64)
            top = logits.max()
            loss -= logits[window[place + 1]] - top - np.log(np.exp(logits - top).sum())
            count += 1
    reference = {
        "text": TEXT, "window": WINDOW, "textTokens": len(ids), "loss": loss / count,
        "llama_cpp": llama_cpp.__version__, "prompts": rows,
    }
    path = Path(__file__).parent.parent / "InferenceTests" / "llama.json"
    path.write_text(json.dumps(reference, ensure_ascii=False) + "\n")
    print(f"{path.name}: loss {reference['loss']:.5f} over {len(ids)} tokens")


main()
