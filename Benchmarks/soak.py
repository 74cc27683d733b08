"""Random clients on `understudy serve` for a while: python3 soak.py PATH_OF_UNDERSTUDY MODEL [--minutes 20] [--clients 32]

Requests of many kinds, a third of them given up at a random moment. Every whole answer must be the one that the same request
had when it was alone. Memory must not grow, and at the end no page of the cache may be held.
"""
import argparse
import asyncio
import json
import random
import re
import subprocess
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("understudy")
parser.add_argument("model")
parser.add_argument("--minutes", type=float, default=20)
parser.add_argument("--clients", type=int, default=32)
arguments = parser.parse_args()
draw = random.Random(1)
words = "bank card money refund invoice the a is why when lost found please help me with payment 12 345 é 漢字 🙂".split()
system = " ".join(draw.choice(words) for _ in range(120))


def request(number):
    text = " ".join(draw.choice(words) for _ in range(draw.randrange(1, 200)))
    body = {"messages": [{"role": "system", "content": system}] * (number % 2) + [{"role": "user", "content": text}],
            "max_tokens": draw.randrange(1, 80), "temperature": [0, 1][number % 3 == 0], "seed": number, "stream": True}
    if number % 5 == 0:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "x", "schema": {
            "type": "object", "properties": {"kind": {"enum": ["card", "refund"]}, "note": {"type": "string", "maxLength": 20}},
            "required": ["kind", "note"], "additionalProperties": False}}}
    if number % 7 == 0:
        body["stop"] = ["the", "e "]
    if number % 11 == 0:
        body["repetition_penalty"] = 1.1
    return json.dumps(body).encode()


async def ask(port, body, parts=None):
    """The answer's text; None when it was given up after so many parts."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                     b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        status = await reader.readline()
        assert b" 200 " in status, (status, await reader.read())
        text, seen, finished = "", 0, False
        while line := await reader.readline():
            if line.startswith(b"data: {"):
                chunk = json.loads(line[6:])
                assert "error" not in chunk, chunk
                for choice in chunk["choices"]:
                    text += choice["delta"].get("content") or ""
                    finished |= choice.get("finish_reason") is not None
                seen += 1
                if parts is not None and seen >= parts:
                    return None
            if line.startswith(b"data: [DONE]"):
                assert finished
                return text
        raise AssertionError("the stream broke off")
    finally:
        writer.close()


async def health(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    return json.loads(text[text.index("{"):text.rindex("}") + 1])["statistics"]


def resident(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read()).group(1)) // 1000


async def main():
    server = subprocess.Popen(
        [arguments.understudy, "serve", "--model", arguments.model, "--port", "0", "--cache-megabytes", "200"],
        stderr=subprocess.PIPE, text=True)
    line = server.stderr.readline()
    port = int(re.search(r":(\d+)/v1", line).group(1))
    try:
        bodies = [request(n) for n in range(60)]
        expected = [await ask(port, body) for body in bodies]
        print(f"{len(set(expected))} different answers; {resident(server.pid)} MB", flush=True)
        end = time.time() + 60 * arguments.minutes
        counts = {"whole": 0, "given up": 0}

        async def client(number):
            own = random.Random(number)
            while time.time() < end:
                which = own.randrange(len(bodies))
                if own.random() < 0.35:
                    await ask(port, bodies[which], own.randrange(1, 20))
                    counts["given up"] += 1
                else:
                    text = await ask(port, bodies[which])
                    assert text == expected[which], (which, text, expected[which])
                    counts["whole"] += 1

        async def watch():
            sizes = []
            while time.time() < end:
                await asyncio.sleep(min(60, max(0.1, end - time.time())))
                sizes.append(resident(server.pid))
                print(counts, f"{sizes[-1]} MB", await health(port), flush=True)
            return sizes

        *_, sizes = await asyncio.gather(*(client(n) for n in range(arguments.clients)), watch())
        await asyncio.sleep(2)
        last = await health(port)
        assert last["pagesInUse"] == 0 and last["running"] == 0 and last["waiting"] == 0, last
        assert await ask(port, bodies[0]) == expected[0]
        half = sizes[len(sizes) // 2:]
        assert max(half) <= 1.1 * min(half) + 10, sizes
        print("passed:", counts, f"memory {sizes[0]} to {sizes[-1]} MB")
    finally:
        server.terminate()
        server.wait()

asyncio.run(main())
sys.exit(0)
