"""Read a run folder into what the page and the table show; changes nothing in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml

from feints.evaluate import stats
from feints.evaluate.exam import by_level, by_topic, compare, compare_seeds, right_overlap, score, scores_by_group
from feints.generate.budget import Price
from feints.generate.source import Usage
from feints.records import Answer, Judgement, Problem, Rationale, Score, Verdict, of_teacher
from feints.report import texts, training
from feints.report.contents import Arm, ArmRole, ComparisonRow, GroupScore, Judged, OverlapRow, RunContents, Spend
from feints.report.expense import expenses
from feints.runs import RunFolder
from feints.tables import read_table

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
    names = [arm.name for arm in arms]
    exams = _exams(run)
    rationales, judged = _judged(run)
    problems = texts.training_problems(run)
    lessons = [texts.Lessons(run, name) for name in names]
    funnel, further = training.funnels(run, names)
    scores = [score(answers, arm, name, seed) for (arm, name, seed), answers in exams.items()]
    scores.sort(key=lambda s: facts["sets"].index(s.problem_set))
    topics, levels = _groups(run, exams, str(facts["sets"][0]))
    apart: list[str] = []
    comparisons = tuple(adjusted(tuple(_comparisons(exams, arms, facts["sets"], apart))))
    overlaps = tuple(_overlaps(exams, arms, str(facts["sets"][0]), apart))
    return RunContents(
        **_head(facts),
        arms=arms,
        scores=tuple(scores),
        comparisons=comparisons,
        overlaps=overlaps,
        rankers=training.rankers(run),
        funnel=funnel,
        further_funnels=further,
        spend=_spend(rationales, judged, str(facts["teacher"]), facts["recipe"], _unanswered(run)),
        expenses=expenses(run),
        samples=texts.samples(problems, judged),
        examples=lessons[0].weighted(),
        pairs=next((pairs for lesson in lessons if (pairs := lesson.key_pairs(problems))), ()),
        key_shares=tuple(share for lesson in lessons for share in lesson.key_share()),
        rounds=training.rounds(run, names, facts["sets"]),
        votes=training.votes(run, exams, str(facts["sets"][0])),
        curves=tuple(training.curves(run)),
        by_topic=topics,
        by_level=levels,
        notes=tuple(facts["notices"]),
        warnings=tuple(dict.fromkeys(apart)),
    )


def _head(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What stands above all tables: whose run it is, and how it was made."""
    return {
        "name": str(facts["name"]),
        "created": str(facts["created"]),
        "commit": str(facts["commit"]),
        "profile": str(facts.get("profile", "not noted")),
        "machine": str(facts["machine"]),
        "seeds": tuple(facts["seeds"]),
        "recipe": yaml.safe_dump(facts["recipe"], sort_keys=False, allow_unicode=True),
    }


def _exams(run: RunFolder) -> Exams:
    return {
        (entry["arm"], entry["set"], entry["seed"]): read_table(path, Answer)
        for path, entry in run.outputs("5_answers")
        if not entry.get("name")  # those of a solver on the way
    }


def _judged(run: RunFolder) -> tuple[list[Rationale], list[Judged]]:
    """Every rationale of the run, and those that have a verdict with it."""
    verdicts = {
        verdict.rationale_id: verdict
        for path, entry in run.outputs("2_verdicts")
        if entry.get("gold") != "unknown"  # attempts, held against a stand-in
        for verdict in read_table(path, Verdict)
    }
    rationales = {r.id: r for path, _ in run.outputs("1_rationales") for r in read_table(path, Rationale)}
    judged = [Judged(rationale=r, verdict=verdicts[r.id]) for r in rationales.values() if r.id in verdicts]
    return list(rationales.values()), judged


# ---------------------------------------------------------------------------------------------------- comparisons


def _comparisons(exams: Exams, arms: Sequence[Arm], sets: Sequence[str], apart: list[str]) -> Iterable[ComparisonRow]:
    """The method against every other arm, then the control against the floor, on every set.

    What has no problem judged on both sides is said in `apart` instead.
    """
    pairs = [(arms[0], other) for other in arms[1:]]
    pairs += [(a, b) for a in arms[1:] if a.role is ArmRole.CONTROL for b in arms if b.role is ArmRole.FLOOR]
    for name in sets:
        for a, b in pairs:
            runs_a = [answers for (arm, of, _), answers in exams.items() if (arm, of) == (a.name, name)]
            runs_b = [answers for (arm, of, _), answers in exams.items() if (arm, of) == (b.name, name)]
            if runs_a and runs_b and comparable((*runs_a, *runs_b), f"{a.name} and {b.name} on {name}", apart):
                yield _compared(a.name, b.name, name, runs_a, runs_b)


def adjusted(rows: Sequence[ComparisonRow]) -> Iterable[ComparisonRow]:
    """The rows with p values adjusted for how many comparisons of one set are asked at once (Holm 1979)."""
    for name in dict.fromkeys(row.problem_set for row in rows):
        of_set = [row for row in rows if row.problem_set == name]
        tested = [row.p for row in of_set if row.p is not None]
        adjusted = iter(stats.holm(tested))
        for row in of_set:
            if row.p is None or len(tested) < 2:
                yield row
            else:
                how = f"{row.how} p is adjusted for the {len(tested)} comparisons of this set (Holm)."
                yield replace(row, p=next(adjusted), how=how)


def comparable(runs: Sequence[Sequence[Answer]], who: str, apart: list[str]) -> bool:
    """Whether some problem was judged in every run; if not, `apart` says so."""
    judged = [{one.problem_id for one in run if one.judgement is not Judgement.NOT_CHECKED} for run in runs]
    if not set.intersection(*judged):
        apart.append(f"{who} are not compared: no problem was judged for both")
        return False
    return True


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
            how="Exact McNemar test; paired bootstrap over problems; one training seed, whose luck is not in it.",
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
        how="Bootstrap over training seeds and problems together; the four counts are sums over seeds.",
    )


def _overlaps(exams: Exams, arms: Sequence[Arm], main: str, apart: list[str]) -> Iterable[OverlapRow]:
    """Every two trained arms on the main set; the untrained student solves too little to overlap with anyone."""
    firsts: dict[str, list[Answer]] = {}
    for (arm, of, _), answers in exams.items():
        if of == main:
            firsts.setdefault(arm, answers)
    for a, b in combinations([arm.name for arm in arms if arm.role is not ArmRole.FLOOR and arm.name in firsts], 2):
        if comparable((firsts[a], firsts[b]), f"{a} and {b} on {main}", apart):
            yield OverlapRow(a=a, b=b, found=right_overlap(firsts[a], firsts[b]))


def _groups(run: RunFolder, exams: Exams, main: str) -> tuple[tuple[GroupScore, ...], tuple[GroupScore, ...]]:
    """Scores by topic and by level on the main problem set, of every arm and training seed."""
    problems = next(read_table(path, Problem) for path, entry in run.outputs("0_problems") if entry.get("set") == main)
    found: dict[str, list[GroupScore]] = {"topic": [], "level": []}
    for (arm, name, seed), answers in exams.items():
        if name != main:
            continue
        for kind, group in (("topic", by_topic), ("level", by_level)):
            rows = scores_by_group(problems, answers, group, arm, main, seed)
            if len(rows) > 1:
                found[kind] += [GroupScore(group=key, score=_renamed(value, main)) for key, value in rows.items()]
    return tuple(found["topic"]), tuple(found["level"])


def _renamed(value: Score, problem_set: str) -> Score:
    """The score of a group filed under its problem set; the group's name stands beside it."""
    return Score(**{**{name: getattr(value, name) for name in Score.__dataclass_fields__}, "problem_set": problem_set})


# ------------------------------------------------------------------------------------------------------- the bill


def _unanswered(run: RunFolder) -> tuple[int, int, float]:
    """Requests, tokens and money of attempts that were paid and brought nothing usable."""
    by_key: dict[str, tuple[int, int, float]] = {}
    for _, entry in run.outputs("1_rationales"):
        by_key |= entry.get("unanswered", {})
    noted = by_key.values()
    return sum(one[0] for one in noted), sum(one[1] for one in noted), sum(one[2] for one in noted)


def _spend(
    rationales: Sequence[Rationale],
    judged: Sequence[Judged],
    teacher: str,
    recipe: dict[str, Any],
    unanswered: tuple[int, int, float],
) -> Spend | None:
    # What a student wrote in an exam of its own costs no teacher; labels and new problems are paid, never judged; a
    # reply that two equal problems share, or that stands in several tables, is paid once.
    paid = {row.ledger_key or row.id: row for row in rationales if of_teacher(row, teacher)}.values()
    if not paid:
        return None
    counts = Counter(row.verdict.value for row in judged if of_teacher(row.rationale, teacher))
    given = recipe["teacher"]["prices"].get(recipe["teacher"]["model"])
    price = Price(**given) if given else None
    sent, received = sum(row.prompt_tokens for row in paid), sum(row.completion_tokens for row in paid)
    usage = Usage(prompt_tokens=sent, completion_tokens=received)
    return Spend(
        teacher=teacher,
        requests=len(paid) + unanswered[0],
        prompt_tokens=sent,
        completion_tokens=received,
        unanswered_tokens=unanswered[1],
        money=price.cost(usage) + unanswered[2] if price else None,
        currency=price.currency if price else "",
        right=counts[Judgement.CORRECT],
        wrong=counts[Judgement.WRONG],
        no_answer=counts[Judgement.NO_ANSWER],
        not_checked=counts[Judgement.NOT_CHECKED],
    )
