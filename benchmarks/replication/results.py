"""Recorded results: per arm one small JSON file, a bit per problem, set and seed, with what the arm took."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, TypeAdapter

from feints.errors import DataError
from feints.evaluate.stats import Interval, seed_bootstrap
from feints.records import Answer, Judgement, Problem
from feints.report.expense import expenses
from feints.runs import RunFolder, atomic
from feints.tables import read_table
from replication.jobs import HERE, Job

RECORDED = HERE / "results"
NOT_RECORDED = {"seeds": True, "baselines": True, "ledger": True, "task": {"longer": True, "unseen": True}}
"""Left out of a group's recorded recipe: arms and further sets may grow, each with a file or an entry of its own."""
Flag = Callable[[Problem, Answer], bool]


def arm_file(group: str, regime: str, arm: str) -> Path:
    """Where an arm's results are recorded."""
    return RECORDED / regime / group / f"{arm}.json"


def recipe_file(group: str, regime: str) -> Path:
    """Where the settings are recorded that all arms of a group were run with."""
    return RECORDED / regime / f"{group}.json"


def by_this_recipe(job: Job) -> bool:
    """Whether nothing is recorded of the job's group, or it was run with the settings of today."""
    path = recipe_file(job.group, job.regime)
    if not path.is_file():
        return not arm_file(job.group, job.regime, "any").parent.is_dir()
    return unchanged(json.loads(path.read_text(encoding="utf-8")), job.group_recipe, NOT_RECORDED)


def unchanged(recorded: Any, today: Any, without: Mapping[str, Any] | None = None) -> bool:
    """Whether every recorded setting stands as it did, and one that did not exist then at its default.

    A default that has been changed is a change, a setting that has been added is none. `without`: as in `NOT_RECORDED`.
    """
    if not isinstance(today, BaseModel) or not isinstance(recorded, dict):
        return bool(recorded == TypeAdapter(Any).dump_python(today, mode="json"))
    left_out = without or {}
    fields = {name: field for name, field in type(today).model_fields.items() if left_out.get(name) is not True}
    return recorded.keys() <= fields.keys() and all(
        unchanged(recorded[name], getattr(today, name), left_out.get(name))
        if name in recorded
        else getattr(today, name) == field.get_default(call_default_factory=True)
        for name, field in fields.items()
    )


def collect(job: Job, misread: Flag) -> list[str]:
    """Record every arm of a job that has sat all its exams; returns the names of those newly recorded.

    Raises:
        DataError: results of another recipe are recorded already, so that seeds would not be comparable.
    """
    if not (job.folder / "manifest.json").is_file():
        return []
    run = RunFolder(job.folder)
    problems = {entry["set"]: read_table(path, Problem) for path, entry in run.outputs("0_problems") if "set" in entry}
    exams: dict[str, dict[str, dict[str, Path]]] = {}
    for path, entry in run.outputs("5_answers"):
        exams.setdefault(entry["arm"], {}).setdefault(entry.get("name", ""), {})[entry["set"]] = path
    took = {row.arm: row for row in expenses(run)} if "teacher" in run.manifest else {}
    new = []
    for arm, taken in exams.items():
        if taken.get("", {}).keys() != problems.keys():
            continue
        found = {name or "end": _bits(problems, paths, misread) for name, paths in taken.items()}
        row = {
            "commit": run.manifest["commit"],
            "date": run.manifest["created"],
            "machine": run.manifest["machine"],
            "command": job.command(problems),
            "exams": found,
            "expense": {k: v for k, v in asdict(took[arm]).items() if k not in ("arm", "seed")} if arm in took else {},
        }
        if record(job, arm, row):
            new.append(arm)
    return new


def record(job: Job, arm: str, row: dict[str, Any]) -> bool:
    """Merge the row of one seed into the file of its arm; False where it says the same already."""
    path = arm_file(job.group, job.regime, arm)
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    recipe = recipe_file(job.group, job.regime)
    if not by_this_recipe(job):
        raise DataError(f"{path.parent} holds results of another recipe ({recipe}); move both away and run again")
    seeds = {**known.get("seeds", {}), str(job.seed): row}
    whole = {"arm": arm, "group": job.group, "regime": job.regime}
    whole["seeds"] = dict(sorted(seeds.items()))
    if whole == known:
        return False
    if not recipe.is_file():
        _write(recipe, job.group_recipe.model_dump(mode="json", exclude=NOT_RECORDED))
    _write(path, whole)
    return True


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write a file of results whole: whoever kills this may run it again."""
    with atomic(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _bits(problems: dict[str, list[Problem]], paths: dict[str, Path], misread: Flag) -> dict[str, dict[str, Any]]:
    """Of each set: bits of right, of judged and of misread answers in the order of problems; tokens written."""
    found = {}
    for of, path in paths.items():
        answers = read_table(path, Answer)
        asked = {problem.id: problem for problem in problems[of]}
        flags = {
            "right": [answer.judgement is Judgement.CORRECT for answer in answers],
            "judged": [answer.judgement is not Judgement.NOT_CHECKED for answer in answers],
            "misread": [misread(asked[answer.problem_id], answer) for answer in answers],
        }
        found[of] = {
            "problems": len(answers),
            **{name: packed(values) for name, values in flags.items()},
            "tokens": sum(answer.tokens for answer in answers),
        }
    return found


def packed(flags: Sequence[bool]) -> str:
    """Flags as hexadecimal digits, the first flag the highest bit."""
    return np.packbits(np.array(flags, dtype=bool)).tobytes().hex()


def unpacked(text: str, count: int) -> np.ndarray:
    """The flags back, as floats."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), dtype=np.uint8))[:count].astype(float)


def load(group: str, regime: str, arm: str) -> dict[str, Any] | None:
    """What is recorded of an arm, or None."""
    path = arm_file(group, regime, arm)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def flags_of(found: dict[str, Any], of: str, what: str = "right", exam: str = "end") -> dict[int, np.ndarray]:
    """By seed, the flags of an arm on one set; seeds that did not sit this exam are absent.

    Raises:
        DataError: an answer could not be judged: arms are compared problem by problem, and it is not a wrong one.
    """
    rows = {}
    for seed, row in found["seeds"].items():
        taken = row["exams"].get(exam, {}).get(of)
        if taken:
            unjudged = taken["problems"] - int(unpacked(taken["judged"], taken["problems"]).sum())
            if unjudged:
                raise DataError(f"{found['group']}/{found['arm']}, seed {seed}: {unjudged} answers could not be judged")
            rows[int(seed)] = unpacked(taken[what], taken["problems"])
    return rows


def accuracy(found: dict[str, Any], of: str) -> Interval | None:
    """Share an arm solves of one set, with its interval over seeds and problems; None where it was not asked."""
    flags = list(flags_of(found, of).values())
    if not flags:
        return None
    return interval(np.array(flags), np.zeros((1, len(flags[0]))))


def interval(first: np.ndarray, second: np.ndarray) -> Interval:
    """Mean of the first above that of the second, over seeds and problems, both [seeds, problems].

    README, page and figure ask for the same ones; each is drawn once.
    """
    return _interval(first.tobytes(), second.tobytes(), first.shape[1])


@cache
def _interval(first: bytes, second: bytes, problems: int) -> Interval:
    sides = (np.frombuffer(side, dtype=np.float64).reshape(-1, problems) for side in (first, second))
    return seed_bootstrap(*sides, 0)


def mean_expense(found: dict[str, Any], *names: str) -> tuple[float, int]:
    """Mean over the seeds of the sum of what is named, and of how many seeds it is known."""
    took = [row["expense"] for row in found["seeds"].values() if row["expense"]]
    return (float(np.mean([sum(one.get(name, 0) for name in names) for one in took])) if took else 0.0), len(took)
