"""Load on an OpenAI-style server: python3 serve_load.py URL [--clients 16] [--requests 4] [--prompt 64] [--generate 64] [--seed N]

Each client sends its requests one after another, streamed, prompts as token numbers drawn at random; end tokens are
forbidden, so that every answer has its full length. Prints one JSON object: tokens/s out, time to first token and between
tokens (ms). Only the standard library, so that the client takes little of the machine.
"""
import argparse
import asyncio
import json
import random
import time
import urllib.parse

parser = argparse.ArgumentParser()
parser.add_argument("url")
parser.add_argument("--clients", type=int, default=16)
parser.add_argument("--requests", type=int, default=4)
parser.add_argument("--prompt", type=int, default=64)
parser.add_argument("--generate", type=int, default=64)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--forbidden", default="0,2")
arguments = parser.parse_args()
place = urllib.parse.urlparse(arguments.url)


async def ask(draw):
    body = json.dumps({
        "prompt": [draw.randrange(100, 40000) for _ in range(arguments.prompt)], "max_tokens": arguments.generate,
        "temperature": 0, "stream": True, "cache_prompt": False,
        "logit_bias": {token: -100 for token in arguments.forbidden.split(",")}}).encode()
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    start = time.perf_counter()
    writer.write(f"POST {place.path}/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                 f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    times = []
    status = await reader.readline()
    assert b" 200 " in status, status + await reader.read()
    while line := await reader.readline():
        if line.startswith(b"data: {") and b'"text":""' not in line.replace(b": ", b":"):
            times.append(time.perf_counter() - start)
        if line.startswith(b"data: [DONE]"):
            break
    writer.close()
    return times


async def client(number):
    draw = random.Random(1000 * arguments.seed + number)
    return [await ask(draw) for _ in range(arguments.requests)]


async def main():
    start = time.perf_counter()
    answers = [a for c in await asyncio.gather(*(client(n) for n in range(arguments.clients))) for a in c]
    seconds = time.perf_counter() - start
    first = sorted(a[0] for a in answers)
    gaps = sorted(b - a for answer in answers for a, b in zip(answer, answer[1:]))
    def at(values, share):
        return round(1000 * values[min(len(values) - 1, int(share * len(values)))], 1) if values else None
    print(json.dumps({
        "tokens_per_second": round(len(answers) * arguments.generate / seconds, 1), "answers": len(answers),
        "chunks": sum(len(a) for a in answers), "first_token_p50": at(first, 0.5), "first_token_p95": at(first, 0.95),
        "gap_p50": at(gaps, 0.5), "gap_p95": at(gaps, 0.95)}))

asyncio.run(main())
