"""Stage 2 as the bench does it: a verdict on every rationale, and word of problems asked to the maximum in vain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from rich.progress import track

from feints.records import Judgement, Problem, Rationale, Verdict, content_hash
from feints.runs import Stored
from feints.verify.fingerprint import code_hash

if TYPE_CHECKING:
    from feints.bench import Bench

STAGE = "2_verdicts"
JUDGED_AT_ONCE = 5000
"""Rows between two looks at the progress bar; the workers wait for the hardest row of each."""


def judge(bench: Bench, label: str, rationales: Stored[Rationale]) -> Stored[Verdict]:
    """See `Bench.judge`."""
    verdicts = _table(bench, label, rationales)
    _notice_short(bench, label, rationales, verdicts)
    return verdicts


def read_attempts(
    bench: Bench, label: str, attempts: Stored[Rationale], problems: Sequence[Problem]
) -> Stored[Verdict]:
    """See `Bench.read_attempts`."""
    address = content_hash("attempted", [asdict(problem) for problem in problems])
    attempted = replace(bench, problems=replace(bench.problems, rows=tuple(problems), address=address))
    return _table(attempted, label, attempts, gold="unknown")


def _table(bench: Bench, label: str, rationales: Stored[Rationale], **about: Any) -> Stored[Verdict]:
    """The verdicts, read where they are known; `about` goes into the manifest."""

    def make() -> list[Verdict]:
        rows = list(rationales)
        starts = range(0, len(rows), JUDGED_AT_ONCE)
        verdicts: list[Verdict] = []
        for start in track(starts, f"judging {label}", console=bench.console, disable=len(starts) < 3):
            part = rows[start : start + JUDGED_AT_ONCE]
            verdicts += _judged(bench, part)
        return verdicts

    depends = [rationales.address, bench.problems.address, code_hash()]
    return bench.run.table(STAGE, label, Verdict, depends, make, **about)


def _judged(bench: Bench, rows: Sequence[Rationale]) -> list[Verdict]:
    """Verdicts in the order of the rows; those of one form are judged together."""
    found: dict[str, Verdict] = {}
    for form in dict.fromkeys(row.form for row in rows):
        own = [row for row in rows if row.form is form]
        items = [(bench.by_id[row.problem_id], row.text, row.thinking, row.finish) for row in own]
        judged = bench.pool.check_all(items, form)
        found |= {row.id: replace(verdict, rationale_id=row.id) for row, verdict in zip(own, judged, strict=True)}
    return [found[row.id] for row in rows]


def _notice_short(bench: Bench, label: str, rationales: Stored[Rationale], verdicts: Stored[Verdict]) -> None:
    """Say how many problems were asked to the maximum in vain; from the tables alone, so a rerun says it too."""
    adaptive = (bench.sampled.get(rationales.address) or bench.sampling).adaptive
    if adaptive is None:
        return
    found: dict[tuple[str, str | None], Counter[Judgement]] = {}
    for row, verdict in zip(rationales, verdicts, strict=True):
        found.setdefault((row.problem_id, row.parent), Counter())[verdict.value] += 1
    short = sum(
        counts.total() >= adaptive.maximum
        and (counts[Judgement.CORRECT] < adaptive.wanted_right or counts[Judgement.WRONG] < adaptive.wanted_wrong)
        for counts in found.values()
    )
    if short:
        bench.notices.append(f"{label}: {short:,} problems reached the maximum of {adaptive.maximum} samples")
