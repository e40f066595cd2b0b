"""Training on a GPU: SFT, KRSL, NAT and NCE of Qwen2-shaped students beside TRL's SFTTrainer, and the loss's memory.

    python benchmarks/gpu.py [--sizes 0.5B 1.5B] [--rounds 3] [--steps 8] [--json FILE]
    python benchmarks/gpu.py --tiny [--no-trl]    # the same path in seconds on a CPU: proves that it runs

Random weights (float32, bf16 arithmetic), the vocabulary of Qwen2. Each measurement is a process of its own, sides in
turn; speed counts real tokens after a warm-up step. Model FLOP utilisation counts what the method needs: 6 FLOP a
parameter and token where all weights learn, 4 where the base is frozen, 2 more for NCE's teacher; the head on target
tokens only; attention as causal; over the card's dense bf16 peak. Without CUDA it says so and exits with 3.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from board import environments, figures
from training.cases import PROMPT_SHARE, WARM, make_examples, make_pairs

GPU = {"vocabulary": 151_936, "lengths": (200, 800), "batch": 64}
SIZES: dict[str, dict[str, Any]] = {
    "0.5B": {**GPU, "hidden": 896, "inner": 4864, "layers": 24, "heads": 14, "kv": 2},
    "1.5B": {**GPU, "hidden": 1536, "inner": 8960, "layers": 28, "heads": 12, "kv": 2},
    "tiny": {
        "vocabulary": 300, "lengths": (10, 30), "batch": 4, "hidden": 32, "inner": 64, "layers": 2, "heads": 2, "kv": 1
    },
}  # fmt: skip
OURS, TRL = ("sft", "krsl", "nat", "nce"), ("grouped@8", "packed", "packed+chunked")
FLOPS = {"sft": 6, "krsl": 6, "nat": 4, "nce": 8}
"""A parameter and token; TRL's are those of sft."""
PEAKS = {"H200": 989, "H100": 989, "A100": 312, "L40S": 362, "A10G": 70, "L4": 121, "4090": 165, "3090": 71}
"""Dense bf16 TFLOP a second of cards, by a piece of their name."""
LOSSES = ("in pieces", "all logits")
LOSS_TOKENS = 8192


def qwen(case: dict[str, Any]) -> Any:
    """A random student."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    shape = Qwen2Config(
        vocab_size=case["vocabulary"],
        hidden_size=case["hidden"],
        intermediate_size=case["inner"],
        num_hidden_layers=case["layers"],
        num_attention_heads=case["heads"],
        num_key_value_heads=case["kv"],
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return Qwen2ForCausalLM(shape)


def write_student(case: dict[str, Any], folder: Path) -> None:
    """The student with a tokenizer of words."""
    from training.theirs import word_tokenizer

    qwen(case).save_pretrained(folder)
    word_tokenizer(case["vocabulary"]).save_pretrained(folder)


def examples_of(method: str, case: dict[str, Any], steps: int, tokenizer_hash: str) -> list[Any]:
    """What a method learns: texts, or pairs of which the key tokens count."""
    from dataclasses import replace

    from feints.curate.keysteps import key_steps
    from training.ours import example, pair_examples

    if method != "krsl":
        found = [example(n, *texts) for n, texts in enumerate(make_examples(case, case["batch"] * steps, 1))]
    else:
        pairs = make_pairs(case, case["batch"] // 2 * steps, 1)
        found = []
        for both, (prompt, right, wrong) in zip(_twos(pair_examples(pairs)), pairs, strict=True):
            for one, mask, weight in zip(both, key_steps(right, wrong), (1.0, -0.025), strict=True):
                keyed = (*[0.0] * len(prompt), *(weight if key else 0.0 for key in mask.tolist()))
                found.append(replace(one, weights=keyed))
    return [replace(one, tokenizer_hash=tokenizer_hash) for one in found]


def _twos(items: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(items[::2], items[1::2], strict=True))


def learner(method: str, folder: Path, device: str) -> tuple[Any, Any]:
    """The student of a method before training, and what NCE needs beside it."""
    from feints.train.assistants import NatStudent, neg_student
    from feints.train.disagreement import Teacher
    from feints.train.settings import StudentSettings
    from feints.train.student import Student

    settings = StudentSettings(model=str(folder))
    if method in ("sft", "krsl"):
        return Student.load(settings, device=device), None
    neg, nat = folder / "neg", folder / "nat"
    if not neg.exists():
        neg_student(settings, seed=1).save(neg, merge=False)
    beside = NatStudent.beside(settings, neg, width=128, seed=0, device=device)
    if method == "nat":
        return beside, None
    if not nat.exists():
        beside.save(nat)
    del beside
    return Student.load(settings, device=device), Teacher(nat)


def run_ours(method: str, case: dict[str, Any], steps: int, folder: Path) -> dict[str, float]:
    """Train with feints."""
    import torch

    from feints.train.disagreement import Disagreement, scored, self_distillation
    from feints.train.loop import fit
    from feints.train.losses import weighted_nll
    from feints.train.losses_edit import krsl
    from feints.train.settings import TrainSettings

    device = "cuda" if torch.cuda.is_available() else "cpu"
    student, teacher = learner(method, folder, device)
    examples = examples_of(method, case, steps, student.renderer.tokenizer_hash)
    loss = krsl() if method == "krsl" else weighted_nll()
    if teacher is not None:
        how = Disagreement()
        examples = scored(student, teacher, examples, how, device=device)
        loss = self_distillation(teacher, how, stored=True)
    settings = TrainSettings(
        batch_examples=case["batch"],
        micro_tokens=16_384,
        learning_rate=1e-4,
        schedule="constant",
        clip_norm=1.0,
        precision="bf16",
        checkpoint_seconds=1e9,
    )
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    marks: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        fit(
            student, examples, loss, settings, Path(scratch), on_step=lambda _: marks.append(now()), show_progress=False
        )
    tokens = sum(len(one.prompt_ids) + len(one.target_ids) for one in examples)
    return found(tokens, marks)


def run_trl(setting: str, case: dict[str, Any], steps: int) -> dict[str, float]:
    """Train with TRL."""
    import torch

    from training import theirs

    device = {"use_cpu": not torch.cuda.is_available(), "bf16": True, "learning_rate": 1e-4}
    common = theirs.common
    theirs.common = lambda micro, **more: {**common(micro, **more), **device}
    _, tokens, marks = theirs.sft(case, setting, steps, model=qwen(case))
    return found(tokens, [clock for clock, _ in marks])


def now() -> float:
    """The clock, once the GPU has done what it was given."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def found(tokens: int, marks: list[float]) -> dict[str, float]:
    """What one training reports."""
    steps = len(marks) - WARM
    return {"tokens_per_second": tokens * steps / len(marks) / (marks[-1] - marks[WARM - 1]), "peak_mib": peak()}


def peak() -> float:
    """MiB at the peak: of tensors on a GPU, else of the process."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**10


def run_loss(way: str, case: dict[str, Any]) -> dict[str, float]:
    """MiB that the loss of one forward and backward pass takes above hidden states and head."""
    import torch

    from feints.train.head import Head

    cuda = torch.cuda.is_available()
    tokens, device = (LOSS_TOKENS, "cuda") if cuda else (64, "cpu")
    linear = torch.nn.Linear(case["hidden"], case["vocabulary"], bias=False, device=device, dtype=torch.bfloat16)
    hidden = torch.randn(tokens, case["hidden"], device=device, dtype=torch.bfloat16, requires_grad=True)
    wanted = torch.randint(0, case["vocabulary"], (tokens,), device=device)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    before = peak()
    if way == "in pieces":
        Head(linear, None, 1.0).nll(hidden, wanted).sum().backward()
    else:
        torch.nn.functional.cross_entropy(linear(hidden).float(), wanted, reduction="sum").backward()
    now()
    return {"loss_mib": max(0.0, peak() - before)}


def utilisation(method: str, case: dict[str, Any], speed: float, peak_flops: float) -> float:
    """Model FLOP utilisation in per cent."""
    hidden, layers = case["hidden"], case["layers"]
    width = hidden // case["heads"] * case["kv"]
    body = layers * (2 * hidden * hidden + 2 * hidden * width + 3 * hidden * case["inner"])
    head = hidden * case["vocabulary"] * (1 - PROMPT_SHARE)
    length = (case["lengths"][0] * case["lengths"][1]) ** 0.5
    attention = layers * hidden * length  # 2 products of 2 FLOP over half of the square, by weight matrices' count
    return 100 * FLOPS[method] * (body + head + attention) * speed / peak_flops


def child(side: str, what: str, size: str, folder: str, steps: int) -> dict[str, float]:
    """One measurement in a process of its own."""
    python = str(environments.install("trl")) if side == "trl" else sys.executable
    command = [python, "-W", "ignore", __file__, "--side", side, what, size, folder, str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    if done.returncode:
        raise SystemExit(f"{side} {what} {size} failed:\n{done.stderr[-3000:]}")
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"{size} {side} {what}: {result}", flush=True)
    return result


def compare(size: str, rounds: int, steps: int, with_trl: bool, peak_flops: float) -> list[figures.Figure]:
    """All sides of one size in turn, every round."""
    case = SIZES[size]
    speeds: dict[str, list[float]] = {}
    peaks: dict[str, list[float]] = {}
    sides = [("ours", method) for method in OURS] + [("trl", setting) for setting in TRL if with_trl]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "student"
        write_student(case, folder)
        for _ in range(rounds):
            for side, what in sides:
                result = child(side, what, size, str(folder), steps)
                speeds.setdefault(f"{side} {what}", []).append(result["tokens_per_second"])
                peaks.setdefault(f"{side} {what}", []).append(result["peak_mib"])
        losses = {way: [child("loss", way, size, str(folder), steps)["loss_mib"]] for way in LOSSES}
    found_figures = []
    for method in OURS:
        beside = {f"TRL {setting}": f"trl {setting}" for setting in TRL if with_trl}
        names = {figures.OURS: f"ours {method}", **beside}
        used = {
            name: [utilisation(method if name == figures.OURS else "sft", case, one, peak_flops) for one in speeds[key]]
            for name, key in names.items()
        }
        # Only plain fine-tuning is the same work on both sides; the others stand beside it to be read.
        same = method == "sft"
        for what, unit, better, values in (
            ("speed", "tokens/s", "more", {name: speeds[key] for name, key in names.items()}),
            ("model FLOP utilisation", "%", "more", used if peak_flops else {}),
            ("peak memory", "MiB", "less", {name: peaks[key] for name, key in names.items()}),
        ):
            if values:
                told = f"{method.upper()}, {size}: {what}"
                found_figures.append(
                    figures.Figure(what=told, unit=unit, better=better if same else "", sides=values)  # type: ignore[arg-type]
                )
    told = f"memory of the loss, {size}, vocabulary {case['vocabulary']:,}"
    sides_of_loss = {figures.OURS: losses["in pieces"], "all logits at once": losses["all logits"]}
    return [*found_figures, figures.Figure(what=told, unit="MiB", better="less", sides=sides_of_loss)]


def card(given: float) -> tuple[float, str]:
    """FLOP a second at the peak (0 where it is not known), and the name of the card."""
    import torch

    name = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no card"
    known = next((tera for piece, tera in PEAKS.items() if piece in name), 0)
    return (given or known) * 1e12, name


def main() -> int:
    """Run all sizes, or say why not."""
    if "--side" in sys.argv:
        side, what, size, folder, steps = sys.argv[sys.argv.index("--side") + 1 :]
        case = SIZES[size]
        run = {
            "ours": lambda: run_ours(what, case, int(steps), Path(folder)),
            "trl": lambda: run_trl(what, case, int(steps)),
            "loss": lambda: run_loss(what, case),
        }[side]
        print(json.dumps(run()))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["0.5B", "1.5B"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--peak-tflops", type=float, default=0.0, help="dense bf16 peak of a card that is not known")
    parser.add_argument("--tiny", action="store_true", help="one round of three steps of a tiny student, anywhere")
    parser.add_argument("--no-trl", action="store_true", help="our side alone")
    parser.add_argument("--json", help="where to write the figures")
    given = parser.parse_args()
    import torch

    if given.tiny:
        given.sizes, given.rounds, given.steps = ["tiny"], 1, 3
    elif not torch.cuda.is_available():
        print("there is no CUDA device on this machine.")
        return 3
    peak_flops, name = card(given.peak_tflops)
    found_figures: list[figures.Figure] = []
    for size in given.sizes:
        found_figures += compare(size, given.rounds, given.steps, not given.no_trl, peak_flops)
    for figure in found_figures:
        print(figures.line(figure))
    note = f"Card: {name}, dense bf16 peak taken as {peak_flops / 1e12:g} TFLOP/s; {given.steps} steps a run."
    figures.write(given.json, found_figures, notes=[note])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
