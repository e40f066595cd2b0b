"""Small programs a second in the warm sandbox on one core, beside a plain subprocess per program, in one run."""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from board import figures
from feints.records import Form
from feints.verify.confined import confinement, run_confined
from feints.verify.execution import Execution, Limits
from feints.verify.executor import Executor

TARGET = 1500
"""Small programs a second on one core that the sandbox is meant to reach."""
WARM, PLAIN = "sandbox (monty, warm)", "plain subprocess"


def main() -> None:
    """Print rates, the median of several rounds each, and the ratio of the sandbox to a plain subprocess."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=5000, help="programs a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, interleaved")
    parser.add_argument("--plain", type=int, default=60, help="programs a round for the slow ways")
    parser.add_argument("--json", help="where to write the figures")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):  # the sandbox's process inherits it, so both share the core
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    texts, equations = programs(arguments.programs), programs(arguments.programs // 10)
    rates: dict[str, list[float]] = {}
    with Executor(Limits()) as executor:
        for _ in range(arguments.rounds):
            note(rates, WARM, lambda: executor.run_all(Form.POT, texts), texts)
            few = texts[: arguments.plain]
            note(rates, PLAIN, lambda few=few: [plain(text) for text in few], few)
            if not confinement().missing:
                note(rates, "sandlock, a process each", lambda few=few: [run_confined(t, Limits()) for t in few], few)
            note(rates, "equations (sympy)", lambda: executor.run_all(Form.EOT, equations), equations)
            solved = [f"{text}\nsolve(ans)" for text in equations]
            note(rates, "constraints (z3)", lambda solved=solved: executor.run_all(Form.SAT, solved), solved)
    beside = rates.pop(PLAIN)
    found = [
        figures.Figure(what=name, unit="programs/s", better="more", sides={figures.OURS: rounds, PLAIN: beside})
        for name, rounds in rates.items()
    ]
    for figure in found:
        print(figures.line(figure))
    warm = statistics.median(rates[WARM])
    print(f"target {TARGET:,} small programs a second on one core: {'reached' if warm >= TARGET else 'missed'}")
    figures.write(arguments.json, found)


def note(
    rates: dict[str, list[float]], name: str, run: Callable[[], Sequence[Execution]], texts: Sequence[str]
) -> None:
    """One round of one way, every value checked; the very first, which starts processes, is not counted."""
    if name not in rates:
        rates[name] = []
        run()
    began = time.perf_counter()
    found = run()
    seconds = time.perf_counter() - began
    if not all(one.value is not None for one in found):
        raise SystemExit(f"{name}: {next(one for one in found if one.value is None)}")
    rates[name].append(len(texts) / seconds)


def programs(count: int) -> list[str]:
    """Programs as teachers write them: four to eight lines of arithmetic, a comment each."""
    rng, found = random.Random(0), []
    for _ in range(count):
        lines = [f"apples = {rng.randint(2, 99)}"]
        for place in range(rng.randint(3, 7)):
            before = lines[-1].partition(" ")[0]
            lines += [f"# step {place}", f"step_{place} = {before} {rng.choice('+-*')} {rng.randint(2, 99)}"]
        found.append("\n".join([*lines, f"ans = {lines[-1].partition(' ')[0]}"]))
    return found


def plain(program: str) -> Execution:
    """The way without a sandbox: an interpreter for each program."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"{program}\nprint(ans)"], capture_output=True, text=True, timeout=5
    )
    return Execution(value=done.stdout.strip() or None)


if __name__ == "__main__":
    main()
