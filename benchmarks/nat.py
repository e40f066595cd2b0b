"""NAT beside plain LoRA: seconds to generate, seconds to train, peak memory, at hidden size 896 or any other.

    python benchmarks/nat.py                         # Qwen2-0.5B's width, 4 of its 24 layers
    python benchmarks/nat.py --layers 24 --rounds 3  # the whole shape, random weights (about 2 GiB)
    python benchmarks/nat.py --device cuda --dtype bfloat16 --layers 24

Both answer the same requests and learn the same examples with the same low-rank additions (rank 8, query and value).
Sides alternate (A B B A) in one process; the ratio printed is the median of NAT over LoRA of the same round. On a
CPU the seconds are those of computing, so that a busy machine counts little. Peak memory is of a process of its own
each. "merged" is LoRA added into the weights, which NAT cannot be.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SIDES = ("lora", "nat", "nat_zeros", "merged")
VOCABULARY, CHARACTERS = 8_192, "abcdefghijklmnopqrstuvwxyz 0123456789+-=."


def seconds_now(device: str) -> float:
    """Of computing on a CPU, of the clock on a GPU, which works beside the process."""
    if device == "cpu":
        return time.process_time()
    import torch

    torch.cuda.synchronize()
    return time.perf_counter()


def resident() -> float:
    """MiB of this process at its peak; unlike getrusage it forgets the process that started it."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 2**10


def write_student(folder: Path, options: argparse.Namespace) -> None:
    """A student of Qwen2's shape with random weights and a tokenizer of characters."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    words = {"<pad>": 0, "<unk>": 1, "</s>": 2, **{letter: 3 + n for n, letter in enumerate(CHARACTERS)}}
    words |= {f"<{n}>": n for n in range(len(words), VOCABULARY)}
    backend = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    backend.decoder = decoders.Fuse()
    torch.manual_seed(0)
    heads = max(1, options.hidden // 64)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=options.hidden,
        intermediate_size=options.hidden * 4864 // 896,
        num_hidden_layers=options.layers,
        num_attention_heads=heads,
        num_key_value_heads=2 if heads % 2 == 0 else 1,
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=2,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>", eos_token="</s>"
    ).save_pretrained(folder)


def learner(side: str, folder: Path, options: argparse.Namespace) -> Any:
    """The student of one side before training, its additions off their start so that nothing is skipped."""
    import torch

    from feints.train.assistants import NatStudent, neg_student
    from feints.train.settings import StudentSettings
    from feints.train.student import merged_copy

    settings = StudentSettings(model=str(folder), dtype=options.dtype)
    if side in ("lora", "merged"):
        student = neg_student(settings, seed=0, device=options.device, released=True)
        if side == "merged":
            student.model = merged_copy(student.model)
        return student
    neg = None
    if side == "nat":
        neg = folder / "neg"
        if not neg.exists():
            neg_student(settings, seed=1, released=True).save(neg, merge=False)
    student = NatStudent.beside(settings, neg, width=options.width, seed=0, device=options.device, released=True)
    with torch.no_grad():
        for name, value in student.model.named_parameters():
            if name.endswith("pos.b"):
                value.normal_(0, 0.02)
    return student


def generate(student: Any, options: argparse.Namespace) -> float:
    """Seconds to write the same number of tokens in the same rows."""
    from feints.generate.local import LocalSettings, LocalSource
    from feints.generate.source import Request, Sampling

    source = LocalSource(student.model.eval(), student.renderer, "bench", LocalSettings(rows=options.rows))
    source.renderer.__dict__["stop_ids"] = frozenset({-1})  # nobody stops early, so both write equally much
    sampling = Sampling(temperature=0.0, max_tokens=options.tokens)
    requests = [Request(prompt=f"{n} + {n} = ? {'so ' * (n % 7)}", sampling=sampling) for n in range(options.rows)]
    started = seconds_now(options.device)
    written = sum(done.usage.completion_tokens for part in source.decode_all(requests) for _, done in part)
    assert written == options.rows * options.tokens
    return seconds_now(options.device) - started


def train(student: Any, options: argparse.Namespace) -> float:
    """Seconds of the optimiser steps, the first one left out."""
    from feints.records import Example
    from feints.train.loop import fit
    from feints.train.losses import weighted_nll
    from feints.train.settings import TrainSettings

    examples = [
        Example(
            id=str(n),
            problem_id=str(n),
            rationale_id="",
            prompt_ids=tuple(3 + (n + k) % 40 for k in range(40)),
            target_ids=tuple(3 + (n * k) % 40 for k in range(100)),
            weights=(0.0,) * 40 + (1.0,) * 100,
            tokenizer_hash=student.renderer.tokenizer_hash,
        )
        for n in range(8)
    ]
    precision = "bf16" if options.dtype == "bfloat16" else "fp32"
    settings = TrainSettings(max_steps=options.steps + 1, batch_examples=8, precision=precision, checkpoint_seconds=1e9)
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        fit(
            student,
            examples,
            weighted_nll(),
            settings,
            Path(scratch),
            on_step=lambda _: ends.append(seconds_now(options.device)),
            show_progress=False,
        )
    return ends[-1] - ends[0]


def peak(side: str, task: str, folder: Path, options: argparse.Namespace) -> float:
    """MiB at the peak of a process that does one task on one side, above the interpreter with its libraries."""
    words = [sys.executable, __file__, "--child", side, task, str(folder), json.dumps(vars(options))]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def child(side: str, task: str, folder: str, given: str) -> None:
    """The process whose memory is measured."""
    import torch

    options = argparse.Namespace(**json.loads(given))
    from feints.train import assistants, loop  # noqa: F401  loaded before memory is read

    before = resident()
    student = learner(side, Path(folder), options)
    (generate if task == "generate" else train)(student, options)
    if options.device == "cuda":
        print(torch.cuda.max_memory_allocated() / 2**20)
    else:
        print(resident() - before)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hidden", type=int, default=896)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=128, help="of the integrate units")
    parser.add_argument("--rows", type=int, default=16, help="texts written side by side")
    parser.add_argument("--tokens", type=int, default=64, help="new tokens of each")
    parser.add_argument("--steps", type=int, default=4, help="optimiser steps of 1,120 tokens")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--no-memory", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "student"
        write_student(folder, options)
        seconds: dict[tuple[str, str], list[float]] = {}
        for turn in range(options.rounds):
            for side in SIDES if turn % 2 == 0 else SIDES[::-1]:
                for task, work in (("generate", generate), ("train", train)):
                    if (side, task) != ("merged", "train"):
                        seconds.setdefault((side, task), []).append(work(learner(side, folder, options), options))
        print(
            f"hidden {options.hidden}, {options.layers} layers, unit {options.width}, {options.device} {options.dtype}"
        )
        for task, amount in (("generate", options.rows * options.tokens), ("train", options.steps * 1120)):
            for side in SIDES:
                if (side, task) not in seconds:
                    continue
                own, base = seconds[side, task], seconds["lora", task]
                ratio = statistics.median(a / b for a, b in zip(own, base, strict=True))
                speed = amount / statistics.median(own)
                memory = "" if options.no_memory else f"  peak {peak(side, task, folder, options):7.0f} MiB"
                print(f"{task:9} {side:10} {speed:9.0f} tokens/s  {ratio:5.2f} x the time of LoRA{memory}")


if __name__ == "__main__":
    if "--child" in sys.argv:
        child(*sys.argv[2:6])
    else:
        main()
