#!/usr/bin/env python3
"""Writes Tests/TrainingTests/{qwen2_moe,llama}.json: what PyTorch and Transformers make of a tiny Qwen2-MoE and a tiny llama.

    python3 Tests/Fixtures/training_reference.py

Needs torch and transformers. Weights come from a formula that the test computes, too: value i of tensor t, in the order
of ModelConfiguration.tensors, is a · sin(1.7 (t + 1) + 0.61 i), with a = 0.2, and 1 + half of it for norms.
"""

import json
import math
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, Qwen2MoeConfig, Qwen2MoeForCausalLM

VOCABULARY, WIDTH, LAYERS, HEADS, KEYS, EXPERTS, ACTIVE, UNIT = 40, 32, 2, 4, 2, 4, 2, 16
FEED_FORWARD = 48  # of the llama
TOKENS = [[1, 5, 9, 13, 7, 30, 2, 11], [3, 3, 21, 38, 0, 17]]


def tensors(experts: bool) -> list[tuple[str, list[int]]]:
    """Canonical names and shapes, in ModelConfiguration's order."""
    names = [("model.embed_tokens.weight", [VOCABULARY, WIDTH])]
    keys = WIDTH // HEADS * KEYS
    for layer in range(LAYERS):
        p = f"model.layers.{layer}."
        names.append((p + "input_layernorm.weight", [WIDTH]))
        for name, rows in (("q", WIDTH), ("k", keys), ("v", keys)):
            names.append((p + f"self_attn.{name}_proj.weight", [rows, WIDTH]))
            if experts:
                names.append((p + f"self_attn.{name}_proj.bias", [rows]))
        names.append((p + "self_attn.o_proj.weight", [WIDTH, WIDTH]))
        names.append((p + "post_attention_layernorm.weight", [WIDTH]))
        networks = [(p + "mlp.", FEED_FORWARD)]
        if experts:
            names.append((p + "mlp.gate.weight", [EXPERTS, WIDTH]))
            networks = [(p + f"mlp.experts.{e}.", UNIT) for e in range(EXPERTS)] + [(p + "mlp.shared_expert.", UNIT)]
        for q, unit in networks:
            names.append((q + "gate_proj.weight", [unit, WIDTH]))
            names.append((q + "up_proj.weight", [unit, WIDTH]))
            names.append((q + "down_proj.weight", [WIDTH, unit]))
        if experts:
            names.append((p + "mlp.shared_expert_gate.weight", [1, WIDTH]))
    names.append(("model.norm.weight", [WIDTH]))
    if not experts:
        names.append(("lm_head.weight", [VOCABULARY, WIDTH]))
    return names


def views(model: PreTrainedModel, gradients: bool) -> dict[str, torch.Tensor]:
    """The model's tensors (or their gradients) by canonical name; the experts' are slices of stacked ones."""
    result = {}
    for name, parameter in model.named_parameters():
        value = parameter.grad if gradients else parameter.data
        if name.endswith("mlp.experts.gate_up_proj"):
            for e in range(EXPERTS):
                stem = name.removesuffix("gate_up_proj") + f"{e}."
                result[stem + "gate_proj.weight"] = value[e, :UNIT]
                result[stem + "up_proj.weight"] = value[e, UNIT:]
        elif name.endswith("mlp.experts.down_proj"):
            for e in range(EXPERTS):
                result[name.removesuffix("down_proj") + f"{e}.down_proj.weight"] = value[e]
        else:
            result[name] = value
    return result


COMMON = dict(
    vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
    num_key_value_heads=KEYS, rms_norm_eps=1e-5, max_position_embeddings=64, attn_implementation="eager",
    rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
)


def write(file: str, model: PreTrainedModel, experts: bool) -> None:
    model = model.float()
    own = views(model, gradients=False)
    for t, (name, shape) in enumerate(tensors(experts)):
        count = math.prod(shape)
        values = [0.2 * math.sin(1.7 * (t + 1) + 0.61 * i) for i in range(count)]
        if name.endswith("norm.weight"):
            values = [1 + value / 2 for value in values]
        own[name].copy_(torch.tensor(values, dtype=torch.float32).reshape(shape))

    def loss_and_logits() -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The mean over all targets of both sequences."""
        logits = [model(input_ids=torch.tensor([row[:-1]])).logits[0] for row in TOKENS]
        targets = torch.cat([torch.tensor(row[1:]) for row in TOKENS])
        return torch.nn.functional.cross_entropy(torch.cat(logits), targets), logits

    loss, logits = loss_and_logits()
    loss.backward()
    gradients = {}
    for name, value in views(model, gradients=True).items():
        flat = value.reshape(-1)
        gradients[name] = {"norm": flat.norm().item(), "first": flat[:6].tolist()}
    decays = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decays, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}], lr=5e-3,
        betas=(0.9, 0.99), eps=1e-8,
    )
    model.zero_grad()
    losses = []
    for _ in range(10):
        loss, _ = loss_and_logits()
        losses.append(loss.item())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    reference = {
        "tokens": TOKENS, "logits": torch.cat(logits).reshape(-1).tolist(), "loss": losses[0],
        "gradients": gradients, "losses": losses,
    }
    rounded = json.loads(json.dumps(reference), parse_float=lambda text: float(f"{float(text):.7g}"))
    path = Path(__file__).parent.parent / "TrainingTests" / file
    path.write_text(json.dumps(rounded) + "\n")
    print(f"{path.name}: loss {losses[0]:.5f} to {losses[-1]:.5f}")


def main() -> None:
    write("qwen2_moe.json", Qwen2MoeForCausalLM(Qwen2MoeConfig(
        num_experts=EXPERTS, num_experts_per_tok=ACTIVE, moe_intermediate_size=UNIT,
        shared_expert_intermediate_size=UNIT, intermediate_size=80, tie_word_embeddings=True, norm_topk_prob=False,
        **COMMON,
    )), experts=True)
    write("llama.json", LlamaForCausalLM(LlamaConfig(
        intermediate_size=FEED_FORWARD, tie_word_embeddings=False, **COMMON,
    )), experts=False)


main()
