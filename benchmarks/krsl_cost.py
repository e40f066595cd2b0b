"""What a step of KRSL costs against a step of plain fine-tuning on the same tokens, and one of DPO beside them.

    python benchmarks/krsl_cost.py [--case large|nano] [--pairs N] [--steps N] [--rounds N] [--threads N]

The same pairs, packed into the same rows, forward and backward, no optimiser: plain fine-tuning learns every target
token of both texts, KRSL the key tokens (one in eight here), DPO asks a frozen reference as well. Rounds alternate
between the three; a ratio is that of one round, the median of all rounds is printed.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from feints.curate.keysteps import key_steps
from feints.records import Example, Role
from feints.train.batch import Batcher
from feints.train.losses import Loss, weighted_nll
from feints.train.losses_edit import dpo, krsl
from feints.train.rows import Layout

CASES: dict[str, dict[str, int]] = {
    "large": {"vocabulary": 32_000, "hidden": 256, "layers": 4, "prompt": 80, "target": 160},
    "nano": {"vocabulary": 512, "hidden": 128, "layers": 5, "prompt": 60, "target": 80},
}
CHANGED = 0.1


def make_pairs(case: dict[str, int], count: int) -> list[Example]:
    """Right and wrong texts that differ in one token of ten."""
    draw = torch.Generator().manual_seed(0)

    def some(size: int) -> list[int]:
        return torch.randint(5, case["vocabulary"], (size,), generator=draw).tolist()

    found: list[Example] = []
    for number in range(count):
        prompt, right = some(case["prompt"]), some(case["target"])
        wrong = [t if torch.rand((), generator=draw) > CHANGED else some(1)[0] for t in right]
        masks = key_steps(right, wrong)
        for role, text, mask, weight in ((Role.RIGHT, right, masks[0], 1.0), (Role.WRONG, wrong, masks[1], -0.025)):
            found.append(
                Example(
                    id=f"{number} {role}",
                    problem_id=str(number),
                    rationale_id="",
                    prompt_ids=tuple(prompt),
                    target_ids=tuple(text),
                    weights=(*[0.0] * len(prompt), *(weight if key else 0.0 for key in mask.tolist())),
                    tokenizer_hash="benchmark",
                    group=str(number),
                    role=role,
                )
            )
    return found


def make_model(case: dict[str, int]) -> Any:
    """A Llama-style student with random weights."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=case["vocabulary"],
        hidden_size=case["hidden"],
        intermediate_size=case["hidden"] * 11 // 4,
        num_hidden_layers=case["layers"],
        num_attention_heads=4,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config)


def seconds(model: Any, batcher: Batcher, loss: Loss, steps: int) -> float:
    """Time of one step."""
    step = batcher.whole()
    started = time.perf_counter()
    for _ in range(steps):
        model.zero_grad()
        for numbers in step.micro:
            terms = loss(model, batcher.batch(numbers), step.counts)
            sum(terms.values(), torch.zeros(())).backward()
    return (time.perf_counter() - started) / steps


def main() -> None:
    """Print seconds a step and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, default="large")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    case = CASES[arguments.case]
    pairs, model = make_pairs(case, arguments.pairs), make_model(case)
    reference = copy.deepcopy(model)
    layout = Layout(rows="packed", micro_tokens=4096, seq2seq=False, pad_id=0)
    whole = [
        Example(**{**{name: getattr(e, name) for name in e.__slots__}, "weights": _whole(e)})  # the same tokens, all
        for e in pairs
    ]
    sides = {
        "sft": (Batcher(whole, layout), weighted_nll()),
        "krsl": (Batcher(pairs, layout), krsl()),
        "dpo": (Batcher(pairs, layout), dpo(lambda: reference)),
    }
    for batcher, loss in sides.values():
        seconds(model, batcher, loss, 1)
    rounds = [
        {name: seconds(model, *side, arguments.steps) for name, side in sides.items()} for _ in range(arguments.rounds)
    ]
    share = sum(w != 0 for e in pairs for w in e.weights) / sum(len(e.target_ids) for e in pairs)
    tokens = sides["krsl"][0].tokens()
    print(f"{arguments.case}: {arguments.pairs} pairs, {tokens:,} tokens a step, {share:.0%} of target tokens are key")
    for name in sides:
        own = statistics.median(found[name] for found in rounds)
        ratio = statistics.median(found[name] / found["sft"] for found in rounds)
        print(f"{name:>5}: {own * 1000:7.1f} ms a step, {tokens / own:,.0f} tokens/s, {ratio:.2f} x plain fine-tuning")


def _whole(example: Example) -> tuple[float, ...]:
    return (0.0,) * len(example.prompt_ids) + (1.0,) * len(example.target_ids)


if __name__ == "__main__":
    main()
