"""A teacher behind an endpoint that has a bad day, and a client that is killed:
python3 endpoint_soak.py PATH_OF_UNDERSTUDY [--requests 100000] [--kills 20] [--folder DIR]

The simulator answers with 10 % of 429, 5 % of 5xx, 2 % broken streams, 1 % malformed JSON and 1 % hangs. `understudy label`
is killed with SIGKILL at random moments and started again. At the end every input must have exactly one answer in the
workspace, nothing may have been answered twice but what a kill cut off in flight, the account must hold at least what a
provider would have billed, and the memory of the last, longest run must not have grown.
"""
import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request

parser = argparse.ArgumentParser()
parser.add_argument("understudy")
parser.add_argument("--requests", type=int, default=100_000)
parser.add_argument("--kills", type=int, default=20)
parser.add_argument("--folder")
parser.add_argument("--latency", default="lognormal:0.01,0.5")
parser.add_argument("--usd", type=float, default=1000)
arguments = parser.parse_args()
program = os.path.abspath(arguments.understudy)
folder = arguments.folder or tempfile.mkdtemp(prefix="understudy-endpoint-")
draw = random.Random(1)

words = "card refund transfer lost late fee limit account top up cash rate abroad why please help".split()
with open(f"{folder}/inputs.jsonl", "w") as file:
    for number in range(arguments.requests):
        text = f"{number} " + " ".join(draw.choice(words) for _ in range(8))
        file.write(json.dumps({"input": text}) + "\n")
with open(f"{folder}/gold.jsonl", "w") as file:
    for number in range(20):
        text = f"gold {number} " + " ".join(draw.choice(words) for _ in range(8))
        file.write(json.dumps({"input": text, "output": "abc"[number % 3]}) + "\n")

simulator = subprocess.Popen(
    [program, "teacher-simulator", "--port", "0", "--rule", "choice:a,b,c", "--429", "0.10", "--5xx", "0.05", "--broken",
     "0.02", "--malformed", "0.01", "--hangs", "0.01", "--retry-after", "0.2", "--hang-seconds", "5", "--latency",
     arguments.latency, "--chatty", "0.1"], stderr=subprocess.PIPE, text=True)
address = simulator.stderr.readline().split()[-1]
with open(f"{folder}/task.yaml", "w") as file:
    file.write(f"""name: soak
output: {{kind: label, labels: [a, b, c]}}
data: {{inputs: inputs.jsonl, gold: gold.jsonl}}
teacher:
  endpoint: {{url: "{address}", model: simulated, stream: true, seconds: 1, concurrency: 64, examples: 2}}
  budget: {{usd: {arguments.usd}}}
""")
database = f"{folder}/.understudy/workspace.sqlite"


def query(text):
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30) as connection:
        return connection.execute(text).fetchall()


def count():
    try:
        return query("select count(*) from answers")[0][0]
    except sqlite3.Error:
        return 0


def resident(pid):
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("VmRSS"):
                return int(line.split()[1]) // 1024
    return 0


def start():
    return subprocess.Popen([program, "label", folder, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


began = time.time()
try:
    # Each kill comes after a random share of what a twenty-fifth of all answers takes.
    for kill in range(arguments.kills):
        target = count() + draw.randrange(1, max(2, arguments.requests // (arguments.kills + 5)))
        client = start()
        while client.poll() is None and count() < target:
            time.sleep(0.05)
        time.sleep(draw.random() * 0.05)
        client.send_signal(signal.SIGKILL)
        client.wait()
        print(f"kill {kill + 1}: {count()} answers, {time.time() - began:.0f} s", file=sys.stderr)
    client = start()
    memory = []
    while client.poll() is None:
        try:
            memory.append((count(), resident(client.pid)))
        except (FileNotFoundError, ProcessLookupError):
            pass
        time.sleep(1)
    outcome = json.loads(client.stdout.read())
    statistics = json.load(urllib.request.urlopen(address.removesuffix("/v1") + "/simulator/statistics"))
finally:
    simulator.terminate()

answers, distinct = query("select count(*), count(distinct request) from answers")[0]
open_calls = query("select count(*) from calls where state = 'open'")[0][0]
booked = query("select total(usd) from calls")[0][0]
billed = (statistics["promptTokens"] * 2.4 + statistics["completionTokens"] * 9.6) / 1e6
# The last quarter is when everything is read back for the summary: the asking itself is before.
asking = [megabytes for done, megabytes in memory if done < arguments.requests * 0.995] or [0]
early, late = asking[min(len(asking) - 1, len(asking) // 5)], asking[-1]
result = {
    "requests": arguments.requests, "kills": arguments.kills, "seconds": round(time.time() - began),
    "answersStored": answers, "answeredByServer": statistics["answered"], "answeredAgain": statistics["answeredAgain"],
    "cutOffByKills": open_calls, "faults": statistics["faults"], "attempts": statistics["requests"],
    "mostInFlight": statistics["mostInFlight"], "usdBooked": round(booked, 4), "usdBilled": round(billed, 4),
    "budget": arguments.usd, "megabytesEarly": early, "megabytesLate": late, "outcome": outcome,
}
print(json.dumps(result, indent=2))
failures = []
if answers != arguments.requests or distinct != answers or outcome["answers"] != arguments.requests:
    failures.append("not every input has exactly one answer")
if statistics["answeredAgain"] > open_calls:
    failures.append("something was paid twice that no kill had cut off")
if booked > arguments.usd or billed > booked * 1.001:
    failures.append("the account is not above the bill and below the budget")
if late > early * 1.1 + 8:
    failures.append("memory has grown")
print("FAILED: " + "; ".join(failures) if failures else "ok: each answered once, nothing paid twice, budget kept, memory flat")
sys.exit(bool(failures))
