"""Logits of small random models of every family, by Transformers, as Tests/InferenceTests/families.json.

Weights come from a formula (see `values`) that the tests repeat, so that only logits are kept.
Needs torch and transformers. Run: python3 Tests/Fixtures/families.py
"""
import json
import os
import tempfile

import numpy as np
import torch
import transformers as t

torch.set_num_threads(1)
VOCABULARY = 272
TOKENS = [5, 260, 17, 99, 3, 3, 201, 44, 150, 8, 61, 7, 130, 12, 255, 90, 1, 31, 77, 240, 18, 2]


def values(name, count):
    """SplitMix64 of the FNV-1a hash of the name plus the place, from -1 to 1, scaled."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + (np.arange(count, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    unit = (z >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)
    return unit


def scaled(name, shape, gemma):
    x = values(name, int(np.prod(shape)))
    if name.endswith("norm.weight"):
        return np.float32(0.25) * x + np.float32(0 if gemma else 1)
    return np.float32(0.25) * x


COMMON = dict(
    vocab_size=VOCABULARY, hidden_size=64, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
    intermediate_size=96, max_position_embeddings=256, rms_norm_eps=1e-5, tie_word_embeddings=False,
    bos_token_id=None, eos_token_id=None, pad_token_id=None)


def config(kind, **changes):
    return kind(**{**COMMON, **changes})


FAMILIES = {
    "llama": config(t.LlamaConfig),
    "llama with Llama 3 scaling": config(
        t.LlamaConfig, rope_theta=500000.0, max_position_embeddings=512,
        rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                          original_max_position_embeddings=32)),
    "qwen2": config(t.Qwen2Config, tie_word_embeddings=True),
    "qwen3": config(t.Qwen3Config, head_dim=24),
    "gemma3": config(
        t.Gemma3TextConfig, num_hidden_layers=7, head_dim=24, sliding_window=8, query_pre_attn_scalar=20,
        tie_word_embeddings=True, rope_theta=1e6, rope_local_base_freq=1e4),
    "mixtral": config(t.MixtralConfig, num_local_experts=4, num_experts_per_tok=2),
    "qwen2_moe": config(
        t.Qwen2MoeConfig, num_experts=6, num_experts_per_tok=2, moe_intermediate_size=32,
        shared_expert_intermediate_size=64, norm_topk_prob=False),
    "qwen3_moe": config(
        t.Qwen3MoeConfig, head_dim=24, num_experts=6, num_experts_per_tok=2, moe_intermediate_size=32,
        norm_topk_prob=True),
    "granitemoeshared": config(
        t.GraniteMoeSharedConfig, num_local_experts=4, num_experts_per_tok=2, shared_intermediate_size=64,
        embedding_multiplier=6.0, residual_multiplier=0.5, attention_multiplier=0.125, logits_scaling=3.0,
        tie_word_embeddings=True),
}

result = {"tokens": TOKENS, "families": []}
for name, configuration in FAMILIES.items():
    with torch.no_grad():
        model = t.AutoModelForCausalLM.from_config(configuration, attn_implementation="eager", dtype=torch.float32).eval()
        with tempfile.TemporaryDirectory() as folder:
            # The names are those of the file, not of the module: newer versions stack experts in memory.
            from safetensors import safe_open
            from safetensors.numpy import save_file
            model.save_pretrained(folder)
            path = os.path.join(folder, "model.safetensors")
            tensors = {}
            with safe_open(path, "np") as file:
                for key in file.keys():
                    tensors[key] = scaled(key, file.get_slice(key).get_shape(), "gemma" in name).reshape(
                        file.get_slice(key).get_shape())
            save_file(tensors, path, metadata={"format": "pt"})
            model = t.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
            written = json.load(open(os.path.join(folder, "config.json")))
        logits = model(torch.tensor([TOKENS])).logits[0]
    result["families"].append(dict(
        name=name, config=json.dumps(written), tensors=[[k, list(v.shape)] for k, v in sorted(tensors.items())],
        logits=[[float(np.float32(x)) for x in logits[p].tolist()] for p in (9, len(TOKENS) - 1)]))
    print(name, float(logits.abs().max()), "transformers", t.__version__)



for family in result["families"]:
    family["logits"] = [[float(f"{x:.6g}") for x in row] for row in family["logits"]]
path = os.path.join(os.path.dirname(__file__), "../InferenceTests/families.json")
with open(path, "w") as file:
    json.dump(result, file, separators=(",", ":"))
print(os.path.getsize(path), "bytes")
