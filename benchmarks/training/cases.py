"""What both sides of a training benchmark learn: cases, examples, pairs, students, and what one process reports."""

from __future__ import annotations

import random
import resource
from collections.abc import Callable
from typing import Any

CASES: dict[str, dict[str, Any]] = {
    "large": {"vocabulary": 32_000, "hidden": 256, "inner": 704, "layers": 4, "heads": 4, "lengths": (60, 300)},
    "nano": {"vocabulary": 512, "hidden": 128, "inner": 384, "layers": 4, "heads": 4, "lengths": (40, 160)},
}
BATCH, WARM, PROMPT_SHARE = 16, 1, 0.4
"""Texts of an optimiser step, steps before the clock, the share of a text that is its prompt."""
CHANGED, BETA = 0.15, 0.1
"""Share of the tokens in which a wrong text differs from the right one; how far DPO may leave its reference."""


def make_examples(case: dict[str, Any], count: int, seed: int) -> list[tuple[list[int], list[int]]]:
    """Texts of a Markov chain over a Zipf vocabulary: something to learn, 40 % of it prompt."""
    import numpy as np

    random = np.random.default_rng(seed)
    vocabulary = case["vocabulary"]
    shares = 1.0 / np.arange(10, vocabulary)
    shares /= shares.sum()
    successor = np.random.default_rng(7).permutation(np.arange(10, vocabulary))
    examples = []
    for _ in range(count):
        low, high = case["lengths"]
        length = int(np.clip(random.lognormal(np.log((low * high) ** 0.5), 0.5), low, high))
        drawn = random.choice(np.arange(10, vocabulary), size=length, p=shares)
        for place in range(1, length):
            if random.random() < 0.5:
                drawn[place] = successor[drawn[place - 1] - 10]
        cut = int(length * PROMPT_SHARE)
        examples.append((drawn[:cut].tolist(), [*drawn[cut:-1].tolist(), 2]))
    return examples


def make_pairs(case: dict[str, Any], count: int, seed: int) -> list[tuple[list[int], list[int], list[int]]]:
    """Prompts with a right text, and a wrong one that differs from it in a share of the tokens."""
    draw, pairs = random.Random(seed), []
    for prompt, right in make_examples(case, count, seed):
        wrong = [t if draw.random() > CHANGED else draw.randrange(10, case["vocabulary"]) for t in right[:-1]]
        pairs.append((prompt, right, [*wrong, right[-1]]))
    return pairs


def make_model(case: dict[str, Any]) -> Any:
    """A Llama-style student with random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=case["vocabulary"],
            hidden_size=case["hidden"],
            intermediate_size=case["inner"],
            num_hidden_layers=case["layers"],
            num_attention_heads=case["heads"],
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )


def held_out_loss(model: Any, case: dict[str, Any]) -> float:
    """Nats per target token of 64 unseen texts."""
    import torch

    model.eval()
    total = tokens = 0.0
    with torch.no_grad():
        for prompt, target in make_examples(case, 64, 99):
            ids = torch.tensor([prompt + target])
            logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].float()
            total += float(torch.nn.functional.cross_entropy(logits, ids[0, len(prompt) :], reduction="sum"))
            tokens += len(target)
    return total / tokens


def preference(model: Any, case: dict[str, Any], beta: float) -> float:
    """The loss of preference optimisation on 32 unseen pairs, against the student as it began; log 2 when untrained."""
    import torch

    def told(student: Any, prompt: list[int], target: list[int]) -> Any:
        ids = torch.tensor([prompt + target])
        logits = student(input_ids=ids).logits[0, len(prompt) - 1 : -1].float()
        return -torch.nn.functional.cross_entropy(logits, ids[0, len(prompt) :], reduction="sum")

    reference, total = make_model(case).eval(), 0.0
    model.eval()
    with torch.no_grad():
        pairs = make_pairs(case, 32, 99)
        for prompt, right, wrong in pairs:
            gains = [told(model, prompt, text) - told(reference, prompt, text) for text in (right, wrong)]
            total -= float(torch.nn.functional.logsigmoid(beta * (gains[0] - gains[1])))
    return total / len(pairs)


def measured(tokens: int, marks: list[tuple[float, float]], loss: Callable[[], float]) -> dict[str, float]:
    """What one process reports: its speed after the warm-up step, its peak, then the loss on unseen texts."""
    wall, work = (marks[-1][0] - marks[WARM - 1][0], marks[-1][1] - marks[WARM - 1][1])
    counted = tokens * (len(marks) - WARM) / len(marks)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "tokens_per_second": counted / wall,
        "tokens_per_cpu_second": counted / work,
        "peak_mib": peak,
        "loss": loss(),
        "steps": len(marks),
    }
