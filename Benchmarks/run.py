"""Ratios against llama.cpp and Hugging Face tokenizers, interleaved, on this machine: make bench

Peers are installed into .build/peers by pip (llama-cpp-python is compiled there, which takes a quarter of an hour once).
With LLAMA_SERVER naming a llama-server program, serving is compared, too; with TORCH=1, training against PyTorch. Prints a
table and writes it to Benchmarks/results/.
"""
import datetime
import glob
import json
import os
import platform
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
US = os.path.join(ROOT, ".build/release/understudy")
VENV = os.environ.get("PEERS", os.path.join(ROOT, ".build/peers"))
PYTHON = os.path.join(VENV, "bin/python")
WORK = os.path.join(ROOT, ".build/bench")
THREADS = os.environ.get("THREADS", "2")
ROUNDS = int(os.environ.get("ROUNDS", "3"))
TORCH = ["torch==2.15.0", "transformers"] if os.environ.get("TORCH") else []
PACKAGES = ["llama-cpp-python==0.3.36", "tokenizers==0.23.3"]


def run(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, text=True, **more).stdout


def prepare():
    os.makedirs(WORK, exist_ok=True)
    if not os.path.exists(PYTHON):
        run(sys.executable, "-m", "venv", VENV)
    missing = run(PYTHON, "-c", "import importlib.util as u; print([n for n in ('llama_cpp', 'tokenizers') if not u.find_spec(n)])")
    if missing.strip() != "[]":
        print("installing", *PACKAGES, "(compiles llama.cpp)", flush=True)
        run(PYTHON, "-m", "pip", "install", "--quiet", *PACKAGES)
    inspected = json.loads(run(US, "models", "inspect", "smollm2-135m-instruct", "--json"))
    q4_1 = inspected["path"]
    q4_0 = os.path.join(WORK, "q4_0.gguf")
    if not os.path.exists(q4_0):
        run(US, "models", "quantize", q4_1, "--type", "q4_0", "--output", q4_0)
    text = os.path.join(WORK, "mixed.txt")
    if not os.path.exists(text):
        # English, code, and scripts of several kinds.
        folder = os.path.dirname(os.__file__)
        parts, size = [], 0
        for path in sorted(glob.glob(folder + "/**/*.py", recursive=True)):
            try:
                # The name of a special token: the peer takes it for that token in any text, ours does not.
                parts.append(open(path, encoding="utf8").read(40000).replace("<filename>", "<name>"))
            except (OSError, UnicodeDecodeError):
                continue
            size += len(parts[-1])
            if size > 9_000_000:
                break
        other = "สวัสดีครับ 中文文本，以及数字 12345 🙂 Привет, как дела? naïve café — “quotes” 日本語のテキスト\n"
        parts.append(other * (1_000_000 // len(other.encode())))
        open(text, "w", encoding="utf8", newline="").write("".join(parts))
    return q4_1, q4_0, text


def ours(model, key, **options):
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return json.loads(run(US, "benchmark", "inference", "--model", model, "--threads", THREADS, "--repetitions", "1",
                          "--json", *arguments))[key]


def theirs(model, what, count):
    return float(run(PYTHON, os.path.join(ROOT, "Benchmarks/peers.py"), model, what, str(count), THREADS))


def compare(name, own, other, unit="tokens/s"):
    pairs = [(own(), other()) for _ in range(ROUNDS)]
    a, b = (statistics.median(side) for side in zip(*pairs))
    row = dict(name=name, unit=unit, ours=round(a, 1), peer=round(b, 1), ratio=round(a / b, 2))
    print(f"{name:44} {a:10.1f} {b:10.1f}  {a / b:6.2f} x", flush=True)
    return row


def tokenizer(model, text):
    folder = os.path.join(WORK, "tokenizer")
    run(US, "models", "export", model, "--format", "huggingface", "--output", folder)
    script = (
        "import os; os.environ['RAYON_NUM_THREADS']='1'\nimport sys, time\nfrom tokenizers import Tokenizer\n"
        "t = Tokenizer.from_file(sys.argv[1] + '/tokenizer.json'); s = open(sys.argv[2], encoding='utf8', newline='').read()\n"
        "a = time.perf_counter(); n = len(t.encode(s, add_special_tokens=False).ids); b = time.perf_counter()\n"
        "print(len(s.encode()) / 1e6 / (b - a), n)")

    def own():
        figures = json.loads(run(US, "benchmark", "tokenizer", "--model", model, "--input", text, "--json"))
        counts.add(figures["tokens"])
        return figures["megabytesPerSecond"]

    def other():
        speed, count = run(PYTHON, "-c", script, folder, text).split()
        counts.add(int(count))
        return float(speed)

    counts = set()
    row = compare("tokenizer, 10 MB of mixed text, one thread", own, other, "MB/s")
    assert len(counts) == 1, f"different numbers of tokens: {counts}"
    return row


def serving(model):
    server = os.environ.get("LLAMA_SERVER")
    if not server:
        return []
    load = os.path.join(ROOT, "Benchmarks/serve_load.py")
    commands = [
        (8391, [US, "serve", "--model", model, "--port", "8391", "--threads", THREADS]),
        (8392, [server, "-m", model, "-t", THREADS, "-tb", THREADS, "-np", "16", "-c", "8192", "--port", "8392"])]
    running = [subprocess.Popen(c, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _, c in commands]
    time.sleep(8)
    try:
        figures = {}
        for round_ in range(ROUNDS):
            for port, _ in commands:
                result = json.loads(run(sys.executable, load, f"http://127.0.0.1:{port}/v1", "--requests", "2",
                                        "--seed", str(round_)))
                figures.setdefault(port, []).append(result)
    finally:
        for process in running:
            process.terminate()
    rows = []
    for name, key in [("served, 16 clients of 64 + 64, tokens/s out", "tokens_per_second"),
                      ("served, time to first token p50 (ms)", "first_token_p50")]:
        a, b = (statistics.median(f[key] for f in figures[port]) for port, _ in commands)
        rows.append(dict(name=name, ours=a, peer=b, ratio=round(a / b, 3)))
        print(f"{name:44} {a:10.1f} {b:10.1f}  {a / b:6.3f} x", flush=True)
    return rows


def training():
    """Whole updates in fp32 and, where the processor multiplies them, in bf16 and in int16, for which the peer has nothing but
    fp32. Its compiled form takes a minute or more to make, which is not counted."""
    if not TORCH:
        return []
    if subprocess.run([PYTHON, "-c", "import torch, transformers"], capture_output=True).returncode:
        run(PYTHON, "-m", "pip", "install", "--quiet", *TORCH)
    peer = [PYTHON, os.path.join(ROOT, "Benchmarks/training_peers.py")]
    flags = open("/proc/cpuinfo").read().split()
    precisions = [("fp32", [])] + [("bf16", ["--bf16"])] * ("avx512_bf16" in flags) + [("int16", [])] * ("avx2" in flags)
    rows = []
    for label, model, more in [("reference MoE, 16 × 64", "reference-moe", []),
                               ("SmolLM2-135M, 4 × 64", "smollm2-135m", ["--batch", "4"]),
                               ("SmolLM2-135M, LoRA of rank 16, 4 × 64", "smollm2-135m", ["--batch", "4", "--lora", "16"])]:
        for precision, of_peer in precisions:
            def own():
                figures = json.loads(run(US, "benchmark", "training", "--model", model, "--threads", THREADS, "--updates", "5",
                                         "--json", *more, "--precision", precision))
                shares.append(figures["shareOfPeak"])
                return figures["tokensPerSecond"]

            for form, compiled in [("eager", []), ("compiled", ["--compile"])]:
                if form == "compiled" and model != "reference-moe":
                    continue
                shares = []
                name = {"fp32": "training", "int16": "training, int16 against fp32"}.get(precision, f"training, {precision}")
                rows.append(compare(f"{name}, {label}, PyTorch {form}", own,
                                    lambda: float(run(*peer, model, "--threads", THREADS, *more, *of_peer, *compiled))))
                # Of the multiply-add peak in fp32.
                if precision != "bf16":
                    rows[-1]["shareOfPeak"] = round(statistics.median(shares), 2)
    return rows


def main():
    q4_1, q4_0, text = prepare()
    print(f"{'':44} {'ours':>10} {'peer':>10}")
    rows = []
    for label, model in [("Q4_1", q4_1), ("Q4_0", q4_0)]:
        rows.append(compare(f"prefill 512, {label}", lambda: ours(model, "prefillTokensPerSecond", prompt=512, generate=1),
                            lambda: theirs(model, "prefill", 512)))
        rows.append(compare(f"decode 128, one stream, {label}",
                            lambda: ours(model, "decodeTokensPerSecond", prompt=1, generate=128),
                            lambda: theirs(model, "decode", 128)))
    for sequences in (8, 16):
        rows.append(compare(f"decode, {sequences} together, Q4_1",
                            lambda: ours(q4_1, "decodeTokensPerSecond", prompt=1, generate=64, batch=sequences),
                            lambda: theirs(q4_1, "batch", sequences)))
    rows.append(tokenizer(q4_1, text))
    rows += serving(q4_1)
    rows += training()
    figures = json.loads(run(US, "benchmark", "inference", "--model", q4_1, "--threads", THREADS, "--json"))
    processor = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
                     platform.processor())
    machine = dict(processor=processor, cores=os.cpu_count(), threads=int(THREADS), instructionSet=figures["instructionSet"],
                   python=platform.python_version(), peers=PACKAGES + TORCH,
                   commit=run("git", "rev-parse", "--short", "HEAD", cwd=ROOT).strip())
    lines = [f"# {datetime.date.today()}, {processor}, {THREADS} threads, {figures['instructionSet']}", "",
             f"`make bench` at {machine['commit']}, medians of {ROUNDS} interleaved rounds; peers: {', '.join(PACKAGES + TORCH)}.", "",
             "| | ours | peer | ratio |", "|---|---|---|---|"]
    lines += [f"| {r['name']} | {r['ours']} | {r['peer']} | {r['ratio']} |" for r in rows]
    lines += ["", f"Opened in {figures['loadMilliseconds']:.0f} ms; resident after 512 + 128 tokens "
              f"{figures['residentMegabytes']:.0f} MB; the file has {os.path.getsize(q4_1) / 1e6:.0f} MB."]
    folder = os.path.join(ROOT, "Benchmarks/results")
    os.makedirs(folder, exist_ok=True)
    name = os.path.join(folder, f"{datetime.date.today()}-{figures['instructionSet']}-{THREADS}-threads")
    open(name + ".md", "w").write("\n".join(lines) + "\n")
    json.dump(dict(machine=machine, rows=rows, figures={k: v for k, v in figures.items() if k != "model"}),
              open(name + ".json", "w"), indent=1)
    print("\n".join(lines[-1:]) + f"\nwritten to {os.path.relpath(name, ROOT)}.md")


if __name__ == "__main__":
    main()
