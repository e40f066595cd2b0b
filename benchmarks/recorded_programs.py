"""Execute the recorded programs of Program-of-Thoughts: share run, right, by kind of failure, time, disagreements."""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from feints.records import AnswerKind, Choice, Finish, Form, Judgement, Problem
from feints.verify.executed import conclude
from feints.verify.execution import Execution, Limits, to_number
from feints.verify.executor import Executor
from feints.verify.judge import Open

PRELUDE = "import math\n"
SYMBOLIC = """\
from sympy import Symbol, simplify, symbols, Eq
from sympy import solve as _solve
def solve(equations, *names):
    found = _solve(equations, *names)
    return found
def solve_it(equations, names):
    found = _solve(equations, names, dict=True)
    return found[0] if found else {n: None for n in (names if isinstance(names, (list, tuple)) else [names])}
def floatify(x):
    return float(x)
"""
"""What the authors' own runner put before their few-shot programs."""


def main() -> None:
    """Print a line per data set and method, then how we differ from the recorded judgement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=Path, help="program_of_thoughts.jsonl.gz")
    parser.add_argument("--limit", type=int, help="at most so many programs of each kind")
    parser.add_argument("--only", nargs="*", help="data sets, such as gsm8k svamp; all unless given")
    parser.add_argument("--seconds", type=float, default=5.0, help="limit of one program")
    parser.add_argument("--list", type=Path, help="write the disagreements here as JSON Lines")
    arguments = parser.parse_args()
    groups = read(arguments.records, arguments.limit, arguments.only)
    disagreements: list[dict[str, Any]] = []
    with Executor(Limits(seconds=arguments.seconds)) as executor:
        executor.run(Form.POT, "ans = 1")
        for name, group in groups.items():
            disagreements += show(executor, name, group)
            readings(name, group)
    kinds = Counter((row["recorded"], row["ours"]) for row in disagreements)
    print(f"\n{len(disagreements)} disagreements with the recorded judgement:", dict(kinds))
    if arguments.list:
        arguments.list.write_text("".join(json.dumps(row) + "\n" for row in disagreements), encoding="utf-8")


def read(path: Path, limit: int | None, only: list[str] | None) -> dict[str, list[tuple[Problem, dict[str, Any]]]]:
    """Programs with their problems, by data set and method."""
    groups: dict[str, list[tuple[Problem, dict[str, Any]]]] = defaultdict(list)
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if only and row["dataset"] not in only:
                continue
            options = tuple(Choice(label=one["label"], text=one["text"]) for one in row["options"] or ())
            problem = Problem(
                id=row["id"],
                question=row["question"],
                answer=row["answer"],
                answer_kind=AnswerKind.CHOICE if options else AnswerKind.NUMBER,
                task=row["dataset"],
                split="test",
                choices=options,
            )
            for sample in row["samples"]:
                group = groups[f"{row['dataset']}, {sample['method']}"]
                if sample["method"] != "CoT" and (limit is None or len(group) < limit):
                    group.append((problem, sample))
    return {name: group for name, group in groups.items() if group}


def show(executor: Executor, name: str, group: list[tuple[Problem, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Run a group and print its line; the disagreements."""
    began = time.perf_counter()
    runs = executor.run_all(Form.POT, [with_prelude(sample["text"]) for _, sample in group])
    seconds = time.perf_counter() - began
    failures = Counter(run.failure.value for run in runs if run.failure)
    places = Counter(run.ran_in for run in runs)
    found, judged, lenient = [], Counter[Judgement](), 0
    recorded = Counter(sample["correct"] for _, sample in group)
    for (problem, sample), run in zip(group, runs, strict=True):
        verdict = conclude(problem, run, Form.POT, Finish.STOP)
        assert not isinstance(verdict, Open)
        judged[verdict.value] += 1
        lenient += verdict.lenient is Judgement.CORRECT
        ours = {Judgement.CORRECT: True, Judgement.NOT_CHECKED: None}.get(verdict.value, False)
        if sample["correct"] is not None and ours != sample["correct"]:
            found.append(
                {
                    "problem": problem.id,
                    "method": sample["method"],
                    "gold": problem.answer,
                    "recorded": sample["correct"],
                    "recorded_answer": sample["pred"],
                    "recorded_value": sample.get("program_value"),
                    "ours": verdict.value.value,
                    "value": run.value,
                    "ran_in": run.ran_in,
                    "reason": verdict.reason,
                    "program": sample["text"],
                }
            )
    ran = sum(run.value is not None for run in runs)
    print(
        f"{name}: {len(group)} programs, {ran / len(group):.1%} left a value, "
        f"{judged[Judgement.CORRECT] / len(group):.1%} right, {lenient / len(group):.1%} leniently "
        f"(recorded {recorded[True] / len(group):.1%}); "
        f"{seconds:.1f} s, {len(group) / seconds:.0f} a second; {dict(places)}; "
        f"failures {dict(failures.most_common())}; {len(found)} disagreements"
    )
    return found


def readings(name: str, group: list[tuple[Problem, dict[str, Any]]]) -> None:
    """Of options: our strict and lenient reading of the values the authors' own runs left, beside their judgement.

    They had a language model name the "closest option" to question and value, and took A (few-shot) or nothing
    (zero-shot) where a program left no value; a rule of ours can only come near that.
    """
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for problem, sample in group:
        if not problem.choices or sample["correct"] is None:
            return
        value = sample.get("program_value")
        if value in (None, "", "None"):
            seen["no value"]["recorded"] += sample["correct"]
            seen["no value"]["all"] += 1
            continue
        verdict = conclude(problem, Execution(value=str(value)), Form.POT, Finish.STOP)
        if isinstance(verdict, Open):
            continue
        kind = "one option has the value" if " is option " in verdict.reason else "not one option has the value"
        kind = kind if to_number(str(value)) is not None else "the value is no number"
        seen[kind]["all"] += 1
        seen[kind]["recorded"] += sample["correct"]
        seen[kind]["strict"] += verdict.value is Judgement.CORRECT
        seen[kind]["lenient"] += verdict.lenient is Judgement.CORRECT
        seen[kind]["lenient as recorded"] += (verdict.lenient is Judgement.CORRECT) == sample["correct"]
    for kind, counts in seen.items():
        print(f"    {name}, recorded values, {kind}: " + ", ".join(f"{what} {n}" for what, n in counts.items()))


def with_prelude(program: str) -> str:
    """A program with what its authors put before it; none where it imports for itself."""
    if program.startswith("import "):
        return program
    symbolic = any(word in program for word in ("Symbol", "solve_it", "simplify"))
    return PRELUDE + (SYMBOLIC if symbolic else "") + program


if __name__ == "__main__":
    main()
