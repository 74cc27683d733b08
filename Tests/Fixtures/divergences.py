#!/usr/bin/env python3
"""Writes Tests/TrainingTests/divergences.json: distillation losses and their gradients by the logits, by PyTorch in float64.

    python3 Tests/Fixtures/divergences.py

Needs torch. The student's logits are 2 sin(1.3 i + 0.4); the teacher's probabilities are the softmax of 2 cos(0.9 i), all
of them or the five most probable and the rest as one tail.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F

VOCABULARY = 16


def coarse(log_p, tokens):
    """Log-probabilities of the named tokens and of all others together."""
    if len(tokens) == VOCABULARY:
        return log_p[tokens]
    others = [i for i in range(VOCABULARY) if i not in tokens]
    return torch.cat([log_p[tokens], torch.logsumexp(log_p[others], 0, keepdim=True)])


def loss(kind, beta, temperature, teacher, student):
    log_q = F.log_softmax(teacher / temperature, 0)
    log_p = F.log_softmax(student / temperature, 0)
    kl = lambda a, b: F.kl_div(b, a, reduction="sum", log_target=True)
    if kind == "cross_entropy":
        value = -(log_q.exp() * log_p).sum()
    elif kind == "forward_kl":
        value = kl(log_q, log_p)
    elif kind == "reverse_kl":
        value = kl(log_p, log_q)
    else:
        log_m = (beta * log_q.exp() + (1 - beta) * log_p.exp()).log()
        value = beta * kl(log_q, log_m) + (1 - beta) * kl(log_p, log_m)
    return temperature**2 * value


def main():
    place = torch.arange(VOCABULARY, dtype=torch.float64)
    log_q = F.log_softmax(2 * torch.cos(0.9 * place), 0)
    cases = []
    for count in (5, VOCABULARY):
        tokens = torch.topk(log_q, count).indices.tolist()
        for kind, beta in (("cross_entropy", 0.5), ("forward_kl", 0.5), ("reverse_kl", 0.5), ("jsd", 0.5), ("jsd", 0.1)):
            for temperature in (1.0, 2.0):
                z = (2 * torch.sin(1.3 * place + 0.4)).requires_grad_()
                teacher = coarse(log_q, tokens)
                value = loss(kind, beta, temperature, teacher, coarse(F.log_softmax(z, 0), tokens))
                value.backward()
                cases.append({
                    "kind": kind, "beta": beta, "temperature": temperature, "tokens": tokens,
                    "probabilities": teacher[:count].exp().tolist(), "loss": value.item(), "gradient": z.grad.tolist(),
                })
    path = Path(__file__).parent.parent / "TrainingTests" / "divergences.json"
    path.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
    print(f"{path.name}: {len(cases)} cases")


main()
