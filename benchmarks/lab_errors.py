"""Kinds of errors of every arm of lab runs, on problems with irrelevant facts; two arms held against each other."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from feints.evaluate.error_kinds import ErrorKind, error_shares
from feints.evaluate.stats import seed_bootstrap
from feints.lab.reader import read
from feints.lab.teacher_diagnosis import error_kind
from feints.records import Answer, Judgement, Problem
from feints.runs import RunFolder
from feints.tables import read_table

Exam = tuple[list[Problem], dict[int, list[Answer]]]
"""Problems in order, and for each training seed their answers."""


def main() -> None:
    """Print a line per arm, seeds pooled, then the paired difference of two arms in misunderstandings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders of lab recipes with one test set in common")
    parser.add_argument("--set", default="test", help="which test set")
    parser.add_argument("--all", action="store_true", help="problems without irrelevant facts too")
    parser.add_argument("--against", nargs=2, metavar=("A", "B"), help="two arms to hold against each other")
    arguments = parser.parse_args()
    exams = gather(arguments.runs, arguments.set, arguments.all)
    for arm, (problems, seeds) in sorted(exams.items()):
        executed = any(form in arm for form in ("pot", "eot", "sat", "etd"))
        pooled = [p for _ in seeds for p in problems], [a for answers in seeds.values() for a in answers]
        shares = error_shares(arm, *_named_apart(*pooled), label, executed=executed)
        failures = shares[0].failures
        shown = ", ".join(
            f"{one.kind} {one.errors} ({one.share:.1%}, {one.low:.1%} to {one.high:.1%})"
            for one in shares
            if one.errors
        )
        print(f"{arm}: {len(seeds)} seeds x {len(problems)} problems, {failures} wrong: {shown}")
    if arguments.against:
        one, other = (flags(exams[arm]) for arm in arguments.against)
        found = seed_bootstrap(one, other, 0)
        print(
            f"misunderstandings per problem, {arguments.against[0]} minus {arguments.against[1]}: "
            f"{found.difference:+.1%}, 95 % {found.low:+.1%} to {found.high:+.1%} (seeds and problems resampled)"
        )


def gather(runs: Sequence[Path], of: str, everything: bool) -> dict[str, Exam]:
    """The exams of every arm on one test set, reduced to problems with irrelevant facts."""
    problems: dict[str, Problem] = {}
    answers: dict[str, dict[int, list[Answer]]] = defaultdict(dict)
    for folder in runs:
        run = RunFolder.open(folder)
        for path, _ in run.outputs("0_problems"):
            problems |= {problem.id: problem for problem in read_table(path, Problem)}
        for path, entry in run.outputs("5_answers"):
            if entry["set"] == of and not entry.get("name"):
                answers[entry["arm"]][entry["seed"]] = read_table(path, Answer)
    found = {}
    for arm, seeds in answers.items():
        first = next(iter(seeds.values()))
        kept = [
            answer.problem_id for answer in first if everything or read(problems[answer.problem_id].question).irrelevant
        ]
        by_seed = {seed: [a for a in own if a.problem_id in set(kept)] for seed, own in seeds.items()}
        found[arm] = [problems[name] for name in kept], by_seed
    return found


def label(problem: Problem, answer: Answer) -> ErrorKind:
    """What the world itself knows to be wrong with a rationale, in words or in lines."""
    return ErrorKind(error_kind(read(problem.question), answer.text))


def flags(exam: Exam) -> list[list[float]]:
    """Whether each answer is a misunderstanding, [seeds, problems]."""
    problems, seeds = exam
    return [
        [
            float(answer.judgement is not Judgement.CORRECT and label(problem, answer) is ErrorKind.MISUNDERSTANDING)
            for problem, answer in zip(problems, answers, strict=True)
        ]
        for answers in seeds.values()
    ]


def _named_apart(problems: list[Problem], answers: list[Answer]) -> tuple[list[Problem], list[Answer]]:
    """Problems of several seeds under ids of their own."""
    return (
        [replace(problem, id=f"{place}") for place, problem in enumerate(problems)],
        [replace(answer, problem_id=f"{place}") for place, answer in enumerate(answers)],
    )


if __name__ == "__main__":
    main()
