"""Rows a second of our checkers against a plain math-verify loop: same rows, same run, one process and the pool.

    python benchmarks/verify_speed.py [--data FOLDER] [--rows N] [--rounds N]

Rows come from the answer-check triples (responses.jsonl.gz, math_pairs.jsonl). The baseline is what a careful user
writes: `verify(parse(gold), parse(text))` once per row, gold wrapped in dollar signs. Rounds alternate between the two
so that a busy machine slows both; the best round of each counts. Workers are started before the clock.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

from math_verify import parse, verify

from feints.records import AnswerKind, Choice, Finish, Problem
from feints.verify import judge
from feints.verify.pool import CheckerPool

Item = tuple[Problem, str, str, Finish]
KINDS = {
    "number": AnswerKind.NUMBER,
    "option": AnswerKind.CHOICE,
    "yesno": AnswerKind.BOOLEAN,
    "latex": AnswerKind.LATEX,
}


def load(folder: Path) -> dict[str, list[Item]]:
    """Rows of the two files as (problem, text, thinking, finish): the fast kinds and LaTeX."""
    rows: dict[str, list[Item]] = {"number, option, yes/no": [], "latex": []}
    with gzip.open(folder / "responses.jsonl.gz", "rt", encoding="utf-8") as file:
        responses = [json.loads(line) for line in file]
    pairs = [json.loads(line) for line in (folder / "math_pairs.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in responses + pairs:
        kind = KINDS.get(row.get("answer_type", "latex"))
        if kind is None:
            continue
        options = tuple(Choice(label=o["label"], text=o["text"]) for o in row.get("options") or ())
        problem = Problem(
            id=row["id"],
            question=row.get("question") or "",
            answer=row["gold"],
            answer_kind=kind,
            task="speed",
            split="test",
            choices=options,
        )
        name = "latex" if kind is AnswerKind.LATEX else "number, option, yes/no"
        rows[name].append((problem, row["response"], "", Finish.UNKNOWN))
    return rows


def plain_loop(items: list[Item]) -> None:
    """The baseline."""
    for problem, text, _, _ in items:
        gold = parse(f"${problem.answer}$", parsing_timeout=None)
        verify(gold, parse(text, parsing_timeout=None), timeout_seconds=None)


def in_process(items: list[Item]) -> None:
    """Our checkers and, for what they leave open, the second opinion, all in this process."""
    from feints.verify.symbolic import second_opinion

    for problem, text, thinking, finish in items:
        case = judge.judge(problem, text, thinking=thinking, finish=finish)
        if isinstance(case, judge.Open):
            judge.settle(case, second_opinion(case.gold.text, case.finding.extracted or "", case.finding.evidence))


def best(run: Callable[[list[Item]], object], items: list[Item]) -> float:
    """Rows a second of one run."""
    started = time.perf_counter()
    run(items)
    return len(items) / (time.perf_counter() - started)


def main() -> int:
    """Print a line per kind of row."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data" / "answer_check"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--rows", type=int, default=600, help="rows of each kind")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        print(f"no such folder: {arguments.data}; give --data", file=sys.stderr)
        return 1
    logging.disable(logging.CRITICAL)
    for name, rows in load(arguments.data).items():
        step = max(1, len(rows) // arguments.rows)
        items = rows[::step][: arguments.rows]
        with CheckerPool() as one, CheckerPool(workers=1) as single:
            one.warm_up()
            single.warm_up()
            plain_loop(items[:20])
            in_process(items[:20])
            speeds: dict[str, float] = {"plain": 0.0, "process": 0.0, "worker": 0.0, "pool": 0.0}
            for _ in range(arguments.rounds):
                for key, run in (
                    ("plain", plain_loop),
                    ("process", in_process),
                    ("worker", single.check_all),
                    ("pool", one.check_all),
                ):
                    speeds[key] = max(speeds[key], best(run, items))
        print(
            f"{name}: {len(items)} rows; plain math-verify {speeds['plain']:.0f} rows/s; "
            f"ours in one process {speeds['process']:.0f} rows/s, {speeds['process'] / speeds['plain']:.1f}x; "
            f"pool of 1 {speeds['worker']:.0f} rows/s, {speeds['worker'] / speeds['plain']:.1f}x; "
            f"pool of {one.workers} {speeds['pool']:.0f} rows/s, {speeds['pool'] / speeds['plain']:.1f}x"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
