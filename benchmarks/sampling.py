"""Samples per second of the local source against a plain `model.generate` loop, in one run on one machine.

    python benchmarks/sampling.py [--prompts 250] [--samples 4] [--threads 2] [--rounds 3] [--json FILE]
    python benchmarks/sampling.py --student FOLDER     # an exam: lab problems, that student's own ends and lengths

The plain loop takes the requests in the order given, pads each batch to its longest prompt and waits for
its longest text, as an examination loop written in ten lines does. Both sides write the same number of
texts of the same prompts under the same limits; greedy and sampled, one and several samples per prompt. The third side
is the continuous batching of transformers (`generate_batch`), where it runs on this machine. Sides alternate,
`--rounds` times, so that a busy machine slows all; ratios are those of a round.
"""

from __future__ import annotations

import argparse
import copy
import time
import warnings
from typing import Any

import numpy as np
import torch
from transformers import ContinuousBatchingConfig, GenerationConfig, LlamaConfig, LlamaForCausalLM

from board import figures
from feints.generate.decode import Manner, Row, decode, samples_a_prompt
from feints.generate.lanes import open_lanes

PAD = 0
CONTINUOUS = "continuous batching"


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


def continuous(model: Any, rows: list[Row], manner: Manner) -> int:
    """Tokens written by the continuous batching of transformers.

    Raises:
        RuntimeError: it did not answer every request.
    """
    drawn: dict[str, Any] = {"do_sample": False}
    if manner.temperature:
        drawn = {"do_sample": True, "temperature": manner.temperature, "top_p": manner.top_p}
    settings = GenerationConfig(
        max_new_tokens=rows[0].limit, pad_token_id=PAD, eos_token_id=sorted(manner.stop_ids) or None, **drawn
    )
    # Room for as many texts at once as ours takes; its own guess is made from the memory of a GPU.
    room = ContinuousBatchingConfig(num_blocks=512, max_batch_tokens=2048, use_cuda_graph=False)
    found = model.generate_batch(
        [list(row.prompt) for row in rows], generation_config=settings, continuous_batching_config=room
    )
    texts = [one.generated_tokens for one in found.values()]
    if len(texts) != len(rows) or not all(texts):
        raise RuntimeError(f"{sum(map(bool, texts))} of {len(rows)} requests answered")
    return sum(map(len, texts))


def ours(model: Any, rows: list[Row], manner: Manner, width: int) -> int:
    """Tokens written by the local source's loop."""
    ordered = sorted(rows, key=lambda row: (-len(row.prompt), row.prompt))
    lanes = open_lanes(model, min(width, len(rows)), PAD, seq2seq=False, samples=samples_a_prompt(rows))
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
) -> list[figures.Figure]:
    """Print one case: all sides in turn, every round; texts per second on the clock and per second of computing."""
    ours(model, rows[:8], manner, 8)
    ways: dict[str, Any] = {figures.OURS: lambda: ours(model, rows, manner, width)}
    ways |= {f"generate, batches of {batch}": lambda b=batch: plain(model, rows, manner, b) for batch in batches}
    # A copy, since continuous batching changes how the model attends.
    paged, remarks = copy.deepcopy(model), {}
    try:
        continuous(paged, rows[:8], manner)
        ways[CONTINUOUS] = lambda: continuous(paged, rows, manner)
    except Exception as error:  # whatever it raises where it cannot run is what is to be said of it
        remarks[CONTINUOUS] = f"does not run here: {type(error).__name__}: {str(error).splitlines()[0]}"[:160]
    clock: dict[str, list[float]] = {CONTINUOUS: []}
    computing: dict[str, list[float]] = {CONTINUOUS: []}
    for _ in range(rounds):
        for way, run in ways.items():
            seconds, busy, _tokens = measure(run)
            clock.setdefault(way, []).append(len(rows) / seconds)
            computing.setdefault(way, []).append(len(rows) / busy)
    what = f"{name}, {len(rows):,} texts"
    found = [
        figures.Figure(what=what, unit="texts/s", better="more", sides=clock, remarks=remarks),
        figures.Figure(
            what=f"{what}, by computing time", unit="texts/s", better="more", sides=computing, remarks=remarks
        ),
    ]
    for figure in found:
        print(figures.line(figure), flush=True)
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--student", help="folder of a student; the exam of a round instead of made-up cases")
    parser.add_argument("--prompts", type=int, default=250)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--limit", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 192])
    parser.add_argument("--json", help="where to write the figures")
    return parser.parse_args()


def main() -> None:
    """Print every case."""
    arguments = _arguments()
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
        found = compare(f"exam, {arguments.samples} a problem at temperature 1", model, rows, drawn, *given)
        greedy = Manner(temperature=0.0, top_p=1.0, stop_ids=ends)
        figures.write(
            arguments.json, found + compare("exam, greedy", model, rows[:: arguments.samples], greedy, *given)
        )
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
    found = []
    for name, (samples, limit, manner) in cases.items():
        count = arguments.prompts * arguments.samples // samples
        found += compare(name, model, requests(count, samples, limit), manner, *given)
    figures.write(arguments.json, found)


if __name__ == "__main__":
    main()
