"""PyTorch on the same training: python3 training_peers.py MODEL [--lora R] [--compile] [--bf16] [--batch N] [--length N]

MODEL is reference-moe or smollm2-135m: Transformers' models with random weights, AdamW, loss on all tokens; fp32, or automatic
mixed precision with bfloat16. Prints the median tokens/s of whole updates.
"""
import argparse
import statistics
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2MoeConfig, Qwen2MoeForCausalLM

parser = argparse.ArgumentParser()
parser.add_argument("model", choices=["reference-moe", "smollm2-135m"])
parser.add_argument("--lora", type=int, default=0)
parser.add_argument("--compile", action="store_true")
parser.add_argument("--bf16", action="store_true")
parser.add_argument("--batch", type=int, default=16)
parser.add_argument("--length", type=int, default=64)
parser.add_argument("--updates", type=int, default=5)
parser.add_argument("--threads", type=int, default=2)
options = parser.parse_args()
torch.set_num_threads(options.threads)
torch.manual_seed(1)

if options.model == "reference-moe":
    model = Qwen2MoeForCausalLM(Qwen2MoeConfig(
        vocab_size=8192, hidden_size=576, num_hidden_layers=6, num_attention_heads=9, num_key_value_heads=3,
        num_experts=8, moe_intermediate_size=192, num_experts_per_tok=2, shared_expert_intermediate_size=192,
        intermediate_size=192, tie_word_embeddings=True, max_position_embeddings=512))
else:
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=49152, hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
        intermediate_size=1536, tie_word_embeddings=True, max_position_embeddings=512))


class Adapted(torch.nn.Module):
    """A linear layer with a low-rank adapter beside its frozen weight."""

    def __init__(self, base, rank):
        super().__init__()
        self.base = base
        self.a = torch.nn.Parameter(torch.randn(rank, base.in_features) / base.in_features ** 0.5)
        self.b = torch.nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + 2 * (x @ self.a.T) @ self.b.T


if options.lora:
    for p in model.parameters():
        p.requires_grad_(False)
    for layer in model.model.layers:
        for part in (layer.self_attn, layer.mlp):
            for name, child in list(part.named_children()):
                if isinstance(child, torch.nn.Linear):
                    setattr(part, name, Adapted(child, options.lora))

model.train()
run = torch.compile(model) if options.compile else model
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-4, weight_decay=0.05)
times = []
for update in range(options.updates + 2):
    tokens = torch.randint(0, model.config.vocab_size, (options.batch, options.length))
    start = time.perf_counter()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.bf16):
        loss = run(input_ids=tokens, labels=tokens).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if update >= 2:
        times.append(time.perf_counter() - start)
print(options.batch * options.length / statistics.median(times))
