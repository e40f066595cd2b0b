"""Rows a second of our checkers against a plain math-verify loop: same rows, same run, one process and the pool.

    python benchmarks/verify_speed.py [--data FOLDER] [--rows N] [--rounds N] [--json FILE]

Rows come from the answer-check triples (responses.jsonl.gz, math_pairs.jsonl). The baseline is what a careful user
writes: `verify(parse(gold), parse(text))` once per row, gold wrapped in dollar signs, in an environment that holds
math-verify alone. Sides take turns so that a busy machine slows all; ratios are those of a round. Workers are started
before the clock.
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

from board import figures
from feints.records import AnswerKind, Choice, Finish, Problem
from feints.verify import judge
from feints.verify.pool import CheckerPool
from peers.checker import MathVerify

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


def in_process(items: list[Item]) -> None:
    """Our checkers and, for what they leave open, the second opinion, all in this process."""
    from feints.verify.symbolic import second_opinion

    for problem, text, thinking, finish in items:
        case = judge.judge(problem, text, thinking=thinking, finish=finish)
        if isinstance(case, judge.Open):
            judge.settle(case, second_opinion(case.gold.text, case.finding.extracted or "", case.finding.evidence))


def rate(run: Callable[[list[Item]], object], items: list[Item]) -> float:
    """Rows a second of one run."""
    started = time.perf_counter()
    run(items)
    return len(items) / (time.perf_counter() - started)


def compare(name: str, items: list[Item], rounds: int, peer: MathVerify) -> list[figures.Figure]:
    """Rows a second of one sort of rows, all sides in turn in every round."""
    speeds: dict[str, list[float]] = {way: [] for way in ("plain", "one process", "pool of 1", "pool")}
    peer.keep([(problem.answer, text) for problem, text, _, _ in items])
    with CheckerPool() as pool, CheckerPool(workers=1) as single:
        pool.warm_up()
        single.warm_up()
        in_process(items[:20])
        peer.seconds()
        for _ in range(rounds):
            speeds["plain"].append(len(items) / peer.seconds())
            speeds["one process"].append(rate(in_process, items))
            speeds["pool of 1"].append(rate(single.check_all, items))
            speeds["pool"].append(rate(pool.check_all, items))
    ways = {"one process": "one process", "pool of 1": "a worker", "pool": f"workers on {pool.workers} cores"}
    return [
        figures.Figure(
            what=f"{len(items):,} rows, {name}; {said}",
            unit="rows/s",
            better="more",
            sides={figures.OURS: speeds[way], peer.name: speeds["plain"]},
        )
        for way, said in ways.items()
    ]


def main() -> int:
    """Print a line per kind of row."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data" / "answer_check"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--rows", type=int, default=600, help="rows of each kind")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="where to write the figures")
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        print(f"no such folder: {arguments.data}; give --data", file=sys.stderr)
        return 1
    logging.disable(logging.CRITICAL)
    found: list[figures.Figure] = []
    with MathVerify() as peer:
        for name, rows in load(arguments.data).items():
            step = max(1, len(rows) // arguments.rows)
            for figure in compare(name, rows[::step][: arguments.rows], arguments.rounds, peer):
                found.append(figure)
                print(figures.line(figure), flush=True)
    figures.write(arguments.json, found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
