"""llama.cpp through llama-cpp-python's low-level interface: python3 peers.py MODEL prefill|decode|batch N THREADS

Prints tokens/s. A figure made this way equals llama.cpp's own bench tool's.
"""
import ctypes
import random
import sys
import time

import llama_cpp as l

model_path, what, count, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])


@l.llama_log_callback
def silent(level, text, data):
    pass


l.llama_log_set(silent, ctypes.c_void_p(0))
l.llama_backend_init()
model = l.llama_model_load_from_file(model_path.encode(), l.llama_model_default_params())
parameters = l.llama_context_default_params()
parameters.n_ctx, parameters.n_batch, parameters.n_ubatch = 8192 if what == "batch" else 1024, 512, 512
parameters.n_threads = parameters.n_threads_batch = threads
parameters.n_seq_max = count if what == "batch" else 1
context = l.llama_init_from_model(model, parameters)
draw = random.Random(1)


def decode(rows):
    """rows: (token, position, sequence, wants logits)"""
    batch = l.llama_batch_init(len(rows), 0, 1)
    batch.n_tokens = len(rows)
    for i, (token, position, sequence, wants) in enumerate(rows):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, position, 1, wants
        batch.seq_id[i][0] = sequence
    assert l.llama_decode(context, batch) == 0
    l.llama_get_logits(context)
    l.llama_batch_free(batch)


def token():
    return draw.randrange(100, 40000)


def once():
    l.llama_memory_clear(l.llama_get_memory(context), True)
    if what == "prefill":
        rows = [(token(), p, 0, p == count - 1) for p in range(count)]
        start = time.perf_counter()
        decode(rows)
        return count / (time.perf_counter() - start)
    sequences = count if what == "batch" else 1
    steps = 64 if what == "batch" else count
    decode([(token(), 0, s, True) for s in range(sequences)])
    start = time.perf_counter()
    for p in range(steps):
        decode([(token(), p + 1, s, True) for s in range(sequences)])
    return steps * sequences / (time.perf_counter() - start)


once()
print(sorted(once() for _ in range(3))[1])
