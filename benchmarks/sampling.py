"""Samples per second of the local source against a plain `model.generate` loop, in one run on one machine.

    python benchmarks/sampling.py [--student FOLDER] [--prompts 250] [--samples 4] [--threads 2]

The plain loop takes the requests in the order given, pads each batch to its longest prompt and waits for
its longest text, as an examination loop written in ten lines does. Both sides write the same number of
texts of the same prompts under the same limits; greedy and sampled, one and several samples per prompt.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from feints.generate.decode import Manner, Row, decode
from feints.generate.lanes import open_lanes

PAD = 0


def nano_like() -> Any:
    """A random model of the size of feints-nano."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=1024,
        hidden_size=128,
        intermediate_size=344,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).eval()


def requests(prompts: int, samples: int, limit: int) -> list[Row]:
    """Prompts of 30 to 150 ids, `samples` of each."""
    rng = np.random.default_rng(0)
    made = [tuple(rng.integers(1, 1000, rng.integers(30, 150)).tolist()) for _ in range(prompts)]
    return [Row(prompt=prompt, key=rng.integers(2**62), limit=limit) for prompt in made for _ in range(samples)]


@torch.inference_mode()
def plain(model: Any, rows: list[Row], manner: Manner, batch: int) -> int:
    """Tokens written by a plain loop over `model.generate`."""
    tokens = 0
    drawn: dict[str, Any] = {"do_sample": False}
    if manner.temperature:
        drawn = {"do_sample": True, "temperature": manner.temperature, "top_p": manner.top_p, "top_k": 0}
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        longest = max(len(row.prompt) for row in part)
        ids = torch.tensor([(PAD,) * (longest - len(row.prompt)) + row.prompt for row in part])
        mask = torch.tensor([[0] * (longest - len(row.prompt)) + [1] * len(row.prompt) for row in part])
        stops = sorted(manner.stop_ids) or None
        out = model.generate(
            ids, attention_mask=mask, max_new_tokens=part[0].limit, pad_token_id=PAD, eos_token_id=stops, **drawn
        )
        written = out[:, longest:]
        tokens += int((written != PAD).sum())
    return tokens


def ours(model: Any, rows: list[Row], manner: Manner, width: int) -> int:
    """Tokens written by the local source's loop."""
    ordered = sorted(rows, key=lambda row: (-len(row.prompt), row.prompt))
    lanes = open_lanes(model, min(width, len(rows)), PAD, seq2seq=False)
    return sum(len(row.ids) for ended in decode(lanes, ordered, manner) for _, row in ended)


def measure(what: Any, *given: Any) -> tuple[float, float, int]:
    """Seconds on the clock, seconds of computing, tokens."""
    clock, computing = time.perf_counter(), time.process_time()
    tokens = what(*given)
    return time.perf_counter() - clock, time.process_time() - computing, tokens


def main() -> None:
    """Print one line per case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=250)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--limit", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 192])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    model = nano_like()
    print(
        f"{sum(p.numel() for p in model.parameters()):,} parameters, {arguments.threads} threads, seconds: clock (cpu)"
    )
    # Random weights never mean to stop: with these ids texts end after about 80 tokens, unevenly, as real ones do.
    stops = frozenset(range(1000, 1013))
    cases = {
        "greedy, 100 tokens each": (1, 100, Manner(temperature=0.0, top_p=1.0, stop_ids=frozenset())),
        "sampled, uneven lengths": (1, arguments.limit, Manner(temperature=1.0, top_p=1.0, stop_ids=stops)),
        f"sampled, {arguments.samples} a prompt": (
            arguments.samples,
            arguments.limit,
            Manner(temperature=1.0, top_p=0.95, stop_ids=stops),
        ),
    }
    for name, (samples, limit, manner) in cases.items():
        count = arguments.prompts * arguments.samples // samples
        rows = requests(count, samples, limit)
        ours(model, rows[:8], manner, 8)
        clock, computing, tokens = measure(ours, model, rows, manner, arguments.width)
        print(f"{name}: {len(rows)} texts; ours {clock:.1f} ({computing:.1f}), {tokens / clock:,.0f} tokens/s")
        for batch in arguments.batches:
            other, other_computing, written = measure(plain, model, rows, manner, batch)
            print(
                f"    generate in batches of {batch}: {other:.1f} ({other_computing:.1f}), "
                f"{written / other:,.0f} tokens/s; texts per second ours/theirs = {other / clock:.2f} "
                f"(cpu {other_computing / computing:.2f})"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
