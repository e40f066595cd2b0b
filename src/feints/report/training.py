"""How students came to be, out of a run folder: funnels, training curves, rounds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from feints.curate.funnel import Funnel, FunnelStep
from feints.evaluate.calibration import RankerCheck
from feints.evaluate.exam import score
from feints.evaluate.rounds import RoundReport
from feints.evaluate.vote_curve import VotePoint
from feints.records import Answer, Score
from feints.runs import RunFolder
from feints.tables import read_table

Exams = Mapping[tuple[str, str, int], Sequence[Answer]]
"""Answers by arm, problem set and training seed."""
_FUNNEL = "-funnel"


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """What was measured at one optimiser step; None where nothing was."""

    step: int
    """Optimiser steps done."""
    loss: float | None = None
    """Training loss as the method defines it."""
    right_logprob: float | None = None
    """Mean log-probability per token of right targets."""
    wrong_logprob: float | None = None
    """Mean log-probability per token of wrong targets."""
    right_key: float | None = None
    """The same over key tokens of right targets alone."""
    wrong_key: float | None = None
    """The same over key tokens of wrong targets."""
    validation: float | None = None
    """Loss on the validation split of train."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One training run."""

    arm: str
    """The solver it made, or had a part in."""
    seed: int
    """Training seed."""
    name: str = ""
    """Which of the students of this solver: a stage or a round; "" where there is one only."""
    points: tuple[CurvePoint, ...] = ()
    """In the order of steps."""

    @property
    def label(self) -> str:
        """The solver, and which of its students."""
        return f"{self.arm}, {self.name}" if self.name else self.arm


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteLine:
    """Accuracy of one kind of vote against what it draws; a single point is a solver as it was examined."""

    label: str
    """The solver, and the vote."""
    points: tuple[VotePoint, ...]
    """From few samples to many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FurtherFunnel:
    """The funnel of a further stage, a round, or another arm."""

    title: str
    """Whose."""
    steps: tuple[FunnelStep, ...]
    """From the first to the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankerRow:
    """How good the scores of a ranker are."""

    arm: str
    """Whose ranker."""
    seed: int
    """Training seed."""
    check: RankerCheck
    """On rationales it was not trained on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round of an arm with one training seed."""

    arm: str
    """Which arm."""
    seed: int
    """Training seed."""
    brought: RoundReport
    """Its exam, what the teacher was asked, and what became of it."""
    within: str = ""
    """The round of another method, or the member, that it belongs to."""
    scores: tuple[Score, ...] = ()
    """Of the student at its end on the test sets, where the recipe wants such exams."""


def funnels(run: RunFolder, arms: Sequence[str]) -> tuple[tuple[FunnelStep, ...], tuple[FurtherFunnel, ...]]:
    """The first funnel of the first arm, and all others in the order of arms; equal ones once."""
    found: dict[tuple[FunnelStep, ...], str] = {}
    for arm in arms:
        for path, entry in run.outputs("3_dropped"):
            if entry.get("arm") == arm and entry["label"].endswith(_FUNNEL):
                steps = Funnel(tuple(read_table(path, FunnelStep))).steps
                found.setdefault(steps, _title(arm, entry, entry["label"].removesuffix(_FUNNEL)))
    if not found:
        return (), ()
    first, *others = found.items()
    return first[0], tuple(FurtherFunnel(title=title, steps=steps) for steps, title in others)


def curves(run: RunFolder) -> Iterator[Curve]:
    """Every training of the run."""
    for path, entry in run.outputs("4_student"):
        metrics = path / "training" / "metrics.jsonl"
        if metrics.is_file():
            lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
            name = ", ".join(_parts(entry.get("within"), entry.get("name")))
            yield Curve(arm=entry["arm"], seed=entry["seed"], name=name, points=tuple(map(_point, lines)))


def rounds(run: RunFolder, arms: Sequence[str], sets: Sequence[str]) -> tuple[Round, ...]:
    """Every round of every arm, with the exams taken at its end."""
    exams = {
        (entry["arm"], entry["seed"], entry.get("within"), entry["set"]): path
        for path, entry in run.outputs("5_answers")
        if entry.get("name")
    }
    found = []
    for path, entry in run.outputs("6_report"):
        if "round" not in entry:
            continue
        arm, seed = entry["arm"], entry["seed"]
        within = str(entry.get("within", "")).rpartition("/")[0]
        taken = [(name, exams.get((arm, seed, entry.get("within"), name))) for name in sets]
        scores = tuple(score(read_table(file, Answer), arm, name, seed) for name, file in taken if file)
        found += [
            Round(arm=arm, seed=seed, brought=brought, within=within, scores=scores)
            for brought in read_table(path, RoundReport)
        ]
    return tuple(sorted(found, key=lambda row: (arms.index(row.arm), row.seed, row.within, row.brought.round)))


def rankers(run: RunFolder) -> tuple[RankerRow, ...]:
    """What was found of every ranker."""
    return tuple(
        RankerRow(arm=entry["arm"], seed=entry["seed"], check=check)
        for path, entry in run.outputs("6_report")
        if entry["label"].endswith(f"-ranker-seed{entry.get('seed')}")
        for check in read_table(path, RankerCheck)
    )


def votes(run: RunFolder, exams: Exams, main: str) -> tuple[VoteLine, ...]:
    """The curves that were kept, and every solver as it was examined, first seed, on the main problem set."""
    curves = [
        VoteLine(label=f"{entry['arm']}: {vote}", points=tuple(point for point in points if point.vote == vote))
        for path, entry in run.outputs("6_report")
        if entry.get("votes")
        for points in [read_table(path, VotePoint)]
        for vote in dict.fromkeys(point.vote for point in points)
    ]
    firsts: dict[str, Sequence[Answer]] = {}
    for (arm, of, _), answers in exams.items():
        if of == main:
            firsts.setdefault(arm, answers)
    if not curves and all(len(answer.samples) < 2 for answers in firsts.values() for answer in answers):
        return ()
    single = [VoteLine(label=arm, points=(_as_examined(answers),)) for arm, answers in firsts.items()]
    return (*curves, *single)


def _as_examined(answers: Sequence[Answer]) -> VotePoint:
    """One point: mean samples and tokens of a problem, and the accuracy with its interval."""
    found = score(answers, "", "", 0)
    drawn = [max(1, len(answer.samples)) for answer in answers]
    return VotePoint(
        vote="as examined",
        k=max(drawn),
        samples=sum(drawn) / len(drawn),
        tokens=found.tokens / len(answers),
        accuracy=found.accuracy,
        low=found.low,
        high=found.high,
        agreement=1.0,
        problems=found.counted,
    )


def _title(arm: str, entry: dict[str, Any], label: str) -> str:
    """The arm, its round, and the name of the lesson in it, each once."""
    return ", ".join([arm, *_parts(entry.get("within"), label.removeprefix(arm).removeprefix("-"))])


def _parts(*names: str | None) -> list[str]:
    """Names as words, each once."""
    return list(dict.fromkeys(part.replace("_", " ") for name in names if name for part in name.split("/")))


def _point(line: dict[str, Any]) -> CurvePoint:
    if line["kind"] == "validation":
        return CurvePoint(step=line["step"], validation=line["loss"])
    return CurvePoint(
        step=line["step"],
        loss=line["loss"],
        right_logprob=line.get("logprob_right"),
        wrong_logprob=line.get("logprob_wrong"),
        right_key=line.get("logprob_right_key"),
        wrong_key=line.get("logprob_wrong_key"),
    )
