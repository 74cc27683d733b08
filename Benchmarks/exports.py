"""Do a student's files say the same elsewhere? python exports.py UNDERSTUDY STUDENT INPUTS.jsonl [--count N] [--tokens N]

Greedy tokens of the engine in fp32 against Transformers on the package's folder, and against llama.cpp on its student.gguf, from
the same prompt tokens. Where they part, the engine's two highest log-probabilities at that place are shown: a near tie is
decided by rounding. Needs torch, transformers and llama-cpp-python.
"""
import argparse
import ctypes
import json
import os
import subprocess
import time
import urllib.request

import llama_cpp
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

parser = argparse.ArgumentParser()
parser.add_argument("understudy")
parser.add_argument("student")
parser.add_argument("inputs")
parser.add_argument("--count", type=int, default=100)
parser.add_argument("--tokens", type=int, default=24)
parser.add_argument("--tie", type=float, default=0.05, help="log-probabilities this near are a tie")
options = parser.parse_args()

tokenizer = AutoTokenizer.from_pretrained(options.student)
end = tokenizer.eos_token_id
rows = [json.loads(line)["input"] for line in open(options.inputs, encoding="utf8")][: options.count]
package = json.load(open(os.path.join(options.student, "understudy.json")))
if package["format"]["lowercases"]:
    rows = [row.lower() for row in rows]
prompts = [tokenizer.apply_chat_template([{"role": "user", "content": " " + row}], tokenize=True, return_dict=False)
           for row in rows]


def ours(model, port, *more):
    """Token numbers, and the log-probabilities of the two best at each place."""
    server = subprocess.Popen([options.understudy, "serve", "--model", model, "--port", str(port), *more],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health")
                break
            except OSError:
                time.sleep(0.1)
        answers = []
        for prompt in prompts:
            body = {"prompt": prompt, "max_tokens": options.tokens, "temperature": 0, "logprobs": 2}
            request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/completions", json.dumps(body).encode(),
                                             {"content-type": "application/json"})
            choice = json.load(urllib.request.urlopen(request))["choices"][0]
            pairs = choice["logprobs"]
            margins = [sorted(best.values(), reverse=True) for best in pairs["top_logprobs"]]
            answers.append((pairs["tokens"], [m[0] - m[1] if len(m) > 1 else 99 for m in margins]))
        return answers
    finally:
        server.terminate()


def compare(name, mine, theirs):
    same, ties, wrong = 0, [], []
    for row, ((tokens, margins), other) in enumerate(zip(mine, theirs)):
        texts = [tokenizer.convert_tokens_to_string([tokenizer.convert_ids_to_tokens(t)]) for t in other]
        place = next((i for i, (a, b) in enumerate(zip(tokens, texts)) if a != b), None)
        if place is None:
            same += 1
        else:
            (ties if margins[place] < options.tie else wrong).append((row, place, margins[place]))
    print(f"{name}: {same} of {len(theirs)} the same, {len(ties)} part at a near tie, {len(wrong)} otherwise {wrong[:5]}")
    return not wrong


def transformers():
    model = AutoModelForCausalLM.from_pretrained(options.student, dtype=torch.float32).eval()
    answers = []
    for prompt in prompts:
        with torch.no_grad():
            out = model.generate(torch.tensor([prompt]), max_new_tokens=options.tokens, do_sample=False, eos_token_id=end,
                                 pad_token_id=end)[0].tolist()[len(prompt):]
        answers.append(out[:-1] if out and out[-1] == end else out)
    return answers


@llama_cpp.llama_log_callback
def silent(level, text, data):
    pass


def llama(path):
    llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
    model = llama_cpp.Llama(model_path=path, n_ctx=512, verbose=False, logits_all=False)
    answers = []
    for prompt in prompts:
        model.reset()
        out = []
        for token in model.generate(prompt, temp=0.0, top_k=1, repeat_penalty=1.0):
            if token == end or len(out) == options.tokens:
                break
            out.append(token)
        answers.append(out)
    return answers


elsewhere = transformers()
good = compare("Transformers on the folder", ours(options.student, 8471, "--exact"), elsewhere)
compare("  the same, with 8-bit weights and activations", ours(options.student, 8472), elsewhere)
file = os.path.join(options.student, "student.gguf")
good = compare("llama.cpp on student.gguf", ours(file, 8473, "--exact"), llama(file)) and good
raise SystemExit(0 if good else 1)
