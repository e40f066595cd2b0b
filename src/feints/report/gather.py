"""Read a run folder into what the page and the table show; changes nothing in it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from feints.curate.funnel import Funnel, FunnelStep
from feints.evaluate.exam import by_level, by_topic, compare, compare_seeds, score, scores_by_group
from feints.records import Answer, Example, Judgement, Problem, Rationale, Score, Verdict
from feints.report.contents import (
    Arm,
    ArmRole,
    ComparisonRow,
    Curve,
    CurvePoint,
    GroupScore,
    Judged,
    RunContents,
    Sample,
    Spend,
    WeightedExample,
)
from feints.runs import RunFolder, read_table

SHOWN_PROBLEMS = 6
SHOWN_OF_EACH = 2
SHOWN_EXAMPLES = 3
Exams = dict[tuple[str, str, int], list[Answer]]
"""Answers by arm, problem set and training seed, in the order the exams were taken."""


def gather(folder: Path) -> RunContents:
    """Everything a report shows of the run in `folder`.

    Raises:
        DataError: `folder` is not a run, or the run has not ended.
        VersionError, StorageError: another version wrote it, or a file is damaged.
    """
    run = RunFolder.open(folder)
    facts = run.manifest
    arms = tuple(
        Arm(name=arm["name"], role=ArmRole(arm["role"]), explanation=arm["explanation"]) for arm in facts["arms"]
    )
    exams = _exams(run)
    judged = _judged(run)
    scores = [score(answers, arm, name, seed) for (arm, name, seed), answers in exams.items()]
    scores.sort(key=lambda s: facts["sets"].index(s.problem_set))
    topics, levels = _groups(run, exams, str(facts["sets"][0]))
    return RunContents(
        name=str(facts["name"]),
        created=str(facts["created"]),
        commit=str(facts["commit"]),
        profile=str(facts.get("profile", "clean")),
        machine=str(facts["machine"]),
        seeds=tuple(facts["seeds"]),
        recipe=yaml.safe_dump(facts["recipe"], sort_keys=False, allow_unicode=True),
        arms=arms,
        scores=tuple(scores),
        comparisons=tuple(_comparisons(exams, arms, facts["sets"])),
        funnel=_funnel(run, arms[0].name),
        spend=_spend(judged, str(facts["teacher"]), facts["recipe"]),
        samples=_samples(run, judged),
        examples=_weighted(run, arms),
        curves=tuple(_curves(run)),
        by_topic=topics,
        by_level=levels,
        notes=tuple(facts["notices"]),
    )


def _exams(run: RunFolder) -> Exams:
    return {
        (entry["arm"], entry["set"], entry["seed"]): read_table(path, Answer)
        for path, entry in run.outputs("5_answers")
        if not entry.get("name")  # those of a solver on the way
    }


def _judged(run: RunFolder) -> list[Judged]:
    """Every rationale of the run with its verdict."""
    verdicts = {v.rationale_id: v for path, _ in run.outputs("2_verdicts") for v in read_table(path, Verdict)}
    rationales = {r.id: r for path, _ in run.outputs("1_rationales") for r in read_table(path, Rationale)}
    return [Judged(rationale=r, verdict=verdicts[r.id]) for r in rationales.values() if r.id in verdicts]


# ---------------------------------------------------------------------------------------------------- comparisons


def _comparisons(exams: Exams, arms: Sequence[Arm], sets: Sequence[str]) -> Iterable[ComparisonRow]:
    """The method against every other arm, then the control against the floor, on every set."""
    pairs = [(arms[0], other) for other in arms[1:]]
    pairs += [(a, b) for a in arms[1:] if a.role is ArmRole.CONTROL for b in arms if b.role is ArmRole.FLOOR]
    for name in sets:
        for a, b in pairs:
            runs_a = [answers for (arm, of, _), answers in exams.items() if (arm, of) == (a.name, name)]
            runs_b = [answers for (arm, of, _), answers in exams.items() if (arm, of) == (b.name, name)]
            if runs_a and runs_b:
                yield _compared(a.name, b.name, name, runs_a, runs_b)


def _compared(
    a: str, b: str, name: str, runs_a: Sequence[Sequence[Answer]], runs_b: Sequence[Sequence[Answer]]
) -> ComparisonRow:
    if len(runs_a) == len(runs_b) == 1:
        one = compare(runs_a[0], runs_b[0])
        return ComparisonRow(
            a=a,
            b=b,
            problem_set=name,
            difference=one.difference,
            low=one.low,
            high=one.high,
            p=one.p_value,
            both=one.both_right,
            only_a=one.only_a,
            only_b=one.only_b,
            neither=one.neither,
            problems=one.n,
            seeds=1,
            how="exact McNemar test; paired bootstrap over problems; one training seed, whose luck is not in it",
        )
    many = compare_seeds(runs_a, runs_b)
    pairs = [compare(runs_a[i % len(runs_a)], runs_b[i % len(runs_b)]) for i in range(max(len(runs_a), len(runs_b)))]
    return ComparisonRow(
        a=a,
        b=b,
        problem_set=name,
        difference=many.difference,
        low=many.low,
        high=many.high,
        p=None,
        both=sum(pair.both_right for pair in pairs),
        only_a=sum(pair.only_a for pair in pairs),
        only_b=sum(pair.only_b for pair in pairs),
        neither=sum(pair.neither for pair in pairs),
        problems=many.n,
        seeds=len(pairs),
        how="bootstrap over training seeds and problems together",
    )


def _groups(run: RunFolder, exams: Exams, main: str) -> tuple[tuple[GroupScore, ...], tuple[GroupScore, ...]]:
    """Scores by topic and by level on the main problem set, first seed of each arm."""
    problems = next(read_table(path, Problem) for path, entry in run.outputs("0_problems") if entry.get("set") == main)
    found: dict[str, list[GroupScore]] = {"topic": [], "level": []}
    seen: set[str] = set()
    for (arm, name, seed), answers in exams.items():
        if name != main or arm in seen:
            continue
        seen.add(arm)
        for kind, group in (("topic", by_topic), ("level", by_level)):
            rows = scores_by_group(problems, answers, group, arm, main, seed)
            if len(rows) > 1:
                found[kind] += [GroupScore(group=key, score=_renamed(value, main)) for key, value in rows.items()]
    return tuple(found["topic"]), tuple(found["level"])


def _renamed(value: Score, problem_set: str) -> Score:
    """The score of a group filed under its problem set; the group's name stands beside it."""
    return Score(**{**{name: getattr(value, name) for name in Score.__dataclass_fields__}, "problem_set": problem_set})


# --------------------------------------------------------------------------------------------- funnel, bill, texts


def _funnel(run: RunFolder, arm: str) -> tuple[FunnelStep, ...]:
    for path, entry in run.outputs("3_dropped"):
        if entry.get("arm") == arm and entry["label"].endswith("-funnel"):
            return Funnel(tuple(read_table(path, FunnelStep))).steps
    return ()


def _spend(judged: Sequence[Judged], teacher: str, recipe: dict[str, Any]) -> Spend | None:
    # What a student wrote in an exam of its own costs no teacher.
    judged = [row for row in judged if row.rationale.author == teacher]
    if not judged:
        return None
    counts = Counter(row.verdict.value for row in judged)
    prices = recipe["teacher"]["prices"]
    price = prices.get(recipe["teacher"]["model"])
    return Spend(
        teacher=teacher,
        requests=len(judged),
        prompt_tokens=sum(row.rationale.prompt_tokens for row in judged),
        completion_tokens=sum(row.rationale.completion_tokens for row in judged),
        money=sum(row.rationale.cost for row in judged) if price else None,
        currency=price["currency"] if price else "",
        right=counts[Judgement.CORRECT],
        wrong=counts[Judgement.WRONG],
        no_answer=counts[Judgement.NO_ANSWER],
        not_checked=counts[Judgement.NOT_CHECKED],
    )


def _samples(run: RunFolder, judged: Sequence[Judged]) -> tuple[Sample, ...]:
    """The first problems that have both right and wrong rationales."""
    problems = {
        p.id: p for path, entry in run.outputs("0_problems") if "set" not in entry for p in read_table(path, Problem)
    }
    piles: dict[str, dict[Judgement, list[Judged]]] = {}
    for row in judged:
        piles.setdefault(row.rationale.problem_id, {}).setdefault(row.verdict.value, []).append(row)
    mixed = [name for name, pile in piles.items() if Judgement.CORRECT in pile and Judgement.WRONG in pile]
    return tuple(
        Sample(
            problem=problems[name],
            right=tuple(piles[name][Judgement.CORRECT][:SHOWN_OF_EACH]),
            wrong=tuple(piles[name][Judgement.WRONG][:SHOWN_OF_EACH]),
        )
        for name in mixed[:SHOWN_PROBLEMS]
    )


def _weighted(run: RunFolder, arms: Sequence[Arm]) -> tuple[WeightedExample, ...]:
    """A few training examples of the method's arm, token by token, where the student's tokenizer can be read."""
    if find_spec("tokenizers") is None:
        return ()
    from tokenizers import Tokenizer  # noqa: PLC0415  part of the train extra; the report stands without it

    method = arms[0].name
    students = [path for path, entry in run.outputs("4_student") if entry["arm"] == method]
    tables = [
        path
        for path, entry in run.outputs("3_examples")
        if entry.get("arm") == method and entry["label"].endswith("-train")
    ]
    files = [path / "student" / "tokenizer.json" for path in students]
    if not tables or not files or not files[0].is_file():
        return ()
    tokenizer = Tokenizer.from_file(str(files[0]))
    return tuple(
        WeightedExample(
            title=f"{method}, {example.problem_id}",
            role=example.role,
            tokens=tuple(
                tokenizer.decode([i], skip_special_tokens=False) for i in (*example.prompt_ids, *example.target_ids)
            ),
            weights=example.weights,
            prompt_length=len(example.prompt_ids),
        )
        for example in read_table(tables[0], Example)[:SHOWN_EXAMPLES]
    )


def _curves(run: RunFolder) -> Iterable[Curve]:
    for path, entry in run.outputs("4_student"):
        metrics = path / "training" / "metrics.jsonl"
        if metrics.is_file():
            lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
            yield Curve(
                arm=entry["arm"], seed=entry["seed"], name=entry.get("name", ""), points=tuple(map(_point, lines))
            )


def _point(line: dict[str, Any]) -> CurvePoint:
    if line["kind"] == "validation":
        return CurvePoint(step=line["step"], validation=line["loss"])
    return CurvePoint(
        step=line["step"],
        loss=line["loss"],
        right_logprob=line.get("logprob_right"),
        wrong_logprob=line.get("logprob_wrong"),
    )
