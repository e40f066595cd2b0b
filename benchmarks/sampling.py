"""Samples per second of the local source against a plain `model.generate` loop, in one run on one machine.

    python benchmarks/sampling.py [--prompts 250] [--samples 4] [--threads 2] [--rounds 3]
    python benchmarks/sampling.py --student FOLDER     # an exam: lab problems, that student's own ends and lengths

The plain loop takes the requests in the order given, pads each batch to its longest prompt and waits for
its longest text, as an examination loop written in ten lines does. Both sides write the same number of
texts of the same prompts under the same limits; greedy and sampled, one and several samples per prompt.
Sides alternate, `--rounds` times, so that a busy machine slows both; the ratio is the median over rounds.
"""

from __future__ import annotations

import argparse
import statistics
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
        ids = torch.tensor([(PAD,) * (longest - len(row.prompt)) + row.prompt for row in part], device=model.device)
        mask = (torch.arange(longest)[None] >= torch.tensor([[longest - len(row.prompt)] for row in part])).long()
        stops = sorted(manner.stop_ids) or None
        out = model.generate(
            ids,
            attention_mask=mask.to(model.device),
            max_new_tokens=part[0].limit,
            pad_token_id=PAD,
            eos_token_id=stops,
            **drawn,
        )
        written = out[:, longest:]
        tokens += int((written != PAD).sum())
    return tokens


def ours(model: Any, rows: list[Row], manner: Manner, width: int) -> int:
    """Tokens written by the local source's loop."""
    ordered = sorted(rows, key=lambda row: (-len(row.prompt), row.prompt))
    lanes = open_lanes(model, min(width, len(rows)), PAD, seq2seq=False)
    return sum(len(row.ids) for ended in decode(lanes, ordered, manner) for _, row in ended)


def exam(folder: str, prompts: int) -> tuple[Any, list[tuple[int, ...]], frozenset[int]]:
    """A student with the ids of lab problems put to it, and the ids that end its texts."""
    from feints.generate.local import LocalSource
    from feints.generate.prompt import STUDENT
    from feints.lab.world import problems

    source = LocalSource.from_folder(folder, device=None)
    asked = [source.renderer.prompt_ids(STUDENT.messages(p)) for p in problems("train", prompts)]
    return source.model, [tuple(ids) for ids in asked], source.renderer.stop_ids


def measure(what: Any, *given: Any) -> tuple[float, float, int]:
    """Seconds on the clock, seconds of computing, tokens."""
    clock, computing = time.perf_counter(), time.process_time()
    tokens = what(*given)
    return time.perf_counter() - clock, time.process_time() - computing, tokens


def compare(
    name: str, model: Any, rows: list[Row], manner: Manner, width: int, batches: list[int], rounds: int
) -> None:
    """Print one case: both sides in turn, every round; ratios of texts per second."""
    ours(model, rows[:8], manner, 8)
    clocks: list[tuple[float, float]] = []
    theirs: dict[int, list[tuple[float, float]]] = {batch: [] for batch in batches}
    for _ in range(rounds):
        clock, computing, tokens = measure(ours, model, rows, manner, width)
        clocks.append((clock, computing))
        for batch in batches:
            other, other_computing, written = measure(plain, model, rows, manner, batch)
            theirs[batch].append((other, other_computing))
    best = min(clock for clock, _ in clocks)
    print(f"{name}: {len(rows)} texts, {tokens:,} tokens; ours {best:.1f} s, {len(rows) / best:,.0f} texts/s")
    for batch, seconds in theirs.items():
        ratio, computed = (
            statistics.median(other[side] / own[side] for other, own in zip(seconds, clocks, strict=True))
            for side in (0, 1)
        )
        least = min(clock for clock, _ in seconds)
        print(
            f"    generate in batches of {batch}: {least:.1f} s, {len(rows) / least:,.0f} texts/s; "
            f"texts per second ours/theirs = {ratio:.2f} (by computing time {computed:.2f})"
        )
        sys.stdout.flush()


def main() -> None:
    """Print every case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--student", help="folder of a student; the exam of a round instead of made-up cases")
    parser.add_argument("--prompts", type=int, default=250)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--limit", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 192])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    given = (arguments.width, arguments.batches, arguments.rounds)
    if arguments.student:
        model, asked, ends = exam(arguments.student, arguments.prompts)
        rng = np.random.default_rng(0)
        rows = [
            Row(prompt=ids, key=int(rng.integers(2**62)), limit=arguments.limit)
            for ids in asked
            for _ in range(arguments.samples)
        ]
        print(
            f"{arguments.student}: {model.num_parameters():,} parameters on {model.device}, {arguments.threads} threads"
        )
        drawn = Manner(temperature=1.0, top_p=1.0, stop_ids=ends)
        compare(f"exam, {arguments.samples} a problem at temperature 1", model, rows, drawn, *given)
        greedy = Manner(temperature=0.0, top_p=1.0, stop_ids=ends)
        compare("exam, greedy", model, rows[:: arguments.samples], greedy, *given)
        return
    model = nano_like()
    print(f"{model.num_parameters():,} parameters, {arguments.threads} threads")
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
        compare(name, model, requests(count, samples, limit), manner, *given)


if __name__ == "__main__":
    main()
