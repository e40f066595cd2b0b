"""Training beside TRL's SFTTrainer and DPOTrainer: tokens per second, peak memory and final loss, in one run.

    python benchmarks/train_speed.py [--task sft|dpo] [--case large|nano] [--rounds 3] [--steps 20] [--json FILE]

TRL is installed into .bench/trl, or is that of another interpreter (`--trl PYTHON`). Every measurement is a process of
its own, sides alternate, and the ratio is paired: ours over TRL's best setting of the same round. Both train the same
model on the same examples, with the same examples an optimiser step, for the same steps; speed counts real tokens
(padding is nobody's merit) after a warm-up step; both final losses are measured by the same function on the same
held-out examples.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

from board import environments, figures
from training import ours, theirs
from training.cases import CASES

TRL_SETTINGS = {"sft": ("padded@2", "grouped@4", "grouped", "packed"), "dpo": ("padded@2", "padded@4", "padded")}
"""Its ways of making rows; after the @ the rows (pairs) of one forward pass, accumulated to the same batch."""
BEST = "TRL, its best"
MEASURES = {
    "tokens_per_second": ("speed", "tokens/s", "more"),
    "tokens_per_cpu_second": ("speed by computing time", "tokens/s", "more"),
    "peak_mib": ("peak memory", "MiB", "less"),
    "loss": ("loss on unseen texts", "nats", ""),
}


def child(side: str, setting: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Run one side in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads), "TOKENIZERS_PARALLELISM": "false"}
    python = arguments.trl if side == "trl" else sys.executable
    command = [python, "-W", "ignore", __file__, "--side", side, "--setting", setting]
    for name in ("task", "case", "steps", "threads", "micro_tokens"):
        command += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{side} {setting} failed:\n{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def compare(arguments: argparse.Namespace) -> list[figures.Figure]:
    """All sides in turn, every round; TRL's best of a round is chosen for each measure by itself."""
    settings = arguments.trl_settings.split(",") if arguments.trl_settings else TRL_SETTINGS[arguments.task]
    rounds: list[dict[str, dict[str, float]]] = []
    for number in range(arguments.rounds):
        rounds.append({figures.OURS: child("ours", arguments.rows, arguments)})
        for setting in settings:
            rounds[-1][f"TRL {setting}"] = child("trl", setting, arguments)
        for name, found in rounds[-1].items():
            print(number, f"{name:14}", {key: round(value, 3) for key, value in found.items()}, flush=True)
    found_figures = []
    for key, (what, unit, better) in MEASURES.items():
        sides = {name: [one[name][key] for one in rounds] for name in rounds[0]}
        if better:
            pick = max if better == "more" else min
            sides[BEST] = [pick(value[key] for name, value in one.items() if name != figures.OURS) for one in rounds]
        whole = f"{arguments.task.upper()}, {arguments.case}: {what}"
        found_figures.append(figures.Figure(what=whole, unit=unit, better=better, sides=sides))  # type: ignore[arg-type]
    return found_figures


def main() -> None:
    """Alternate the sides and print paired ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TRL_SETTINGS, default="sft")
    parser.add_argument("--case", choices=CASES, default="large")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--trl", default="", help="an interpreter that has trl; .bench/trl unless given")
    parser.add_argument("--trl-settings", default="", help="ways of making rows, separated by commas; all unless given")
    parser.add_argument("--rows", default="packed")
    parser.add_argument("--micro-tokens", type=int, default=0)
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--side", choices=("ours", "trl"), help=argparse.SUPPRESS)
    parser.add_argument("--setting", default="packed", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        given = (arguments.task, CASES[arguments.case], arguments.setting, arguments.steps, arguments.threads)
        mine = arguments.side == "ours"
        print(json.dumps(ours.run(*given, arguments.micro_tokens) if mine else theirs.run(*given)))
        return
    arguments.trl = arguments.trl or str(environments.install("trl"))
    found = compare(arguments)
    for figure in found:
        print(figures.line(figure))
    figures.write(arguments.json, found)


if __name__ == "__main__":
    main()
