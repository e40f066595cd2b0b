"""Sort rationales into right, wrong and rejected by their strict verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from feints.errors import DataError
from feints.records import Dropped, Finish, Judgement, Problem, Rationale, Verdict

STEP = "sort"


@dataclass(frozen=True, slots=True, kw_only=True)
class Piles:
    """Every rationale is in exactly one of the three."""

    right: tuple[Rationale, ...]
    """Reach the gold answer, by problem, then sample index, then id."""
    wrong: tuple[Rationale, ...]
    """Reach another answer: the only texts that may be learnt from as wrong."""
    rejected: tuple[Dropped, ...]
    """Neither: no answer, refused, cut, malformed, not checked or a repeated row."""

    def pile(self, name: str) -> tuple[Rationale, ...]:
        """The pile called "right" or "wrong"."""
        return {"right": self.right, "wrong": self.wrong}[name]


def sort_piles(problems: Iterable[Problem], rationales: Iterable[Rationale], verdicts: Iterable[Verdict]) -> Piles:
    """Put each rationale on one pile; the order of the rows given changes nothing.

    Args:
        problems: what was asked; their order is the order of the piles.
        rationales: each answers one of the problems.
        verdicts: one for every rationale.

    Raises:
        DataError: a rationale without verdict or of an unknown problem, or two verdicts that contradict each other.
    """
    place = {problem.id: number for number, problem in enumerate(problems)}
    verdict_of = _verdicts_by_id(verdicts)
    rows = list(rationales)
    _refuse_strangers(rows, place, verdict_of)
    rows.sort(key=lambda row: (place[row.problem_id], row.sample_index, row.id))
    right: list[Rationale] = []
    wrong: list[Rationale] = []
    rejected: list[Dropped] = []
    seen: set[str] = set()
    for row in rows:
        reason = (
            "repeated row: same id as another rationale" if row.id in seen else reject_reason(row, verdict_of[row.id])
        )
        seen.add(row.id)
        if reason is not None:
            rejected.append(Dropped(item_id=row.id, step=STEP, reason=reason))
        elif verdict_of[row.id].value is Judgement.CORRECT:
            right.append(row)
        else:
            wrong.append(row)
    return Piles(right=tuple(right), wrong=tuple(wrong), rejected=tuple(rejected))


def reject_reason(rationale: Rationale, verdict: Verdict) -> str | None:
    """Why a rationale may be learnt from neither as right nor as wrong; None if it may.

    The reasons are few and fixed, so that a funnel can count them; the verdict's own reason stays in its table.
    """
    if rationale.finish is Finish.REFUSAL:
        return "refused"
    if rationale.finish is Finish.MALFORMED:
        return "malformed reply"
    if verdict.value is Judgement.NOT_CHECKED:
        return "not checked"
    if verdict.value is Judgement.NO_ANSWER:
        return "cut before an answer" if rationale.finish is Finish.LENGTH else "no answer"
    if rationale.finish is Finish.LENGTH and _ends_in_answer(rationale.text, verdict.extracted):
        return "cut at its answer"
    return None


def _ends_in_answer(text: str, extracted: str | None) -> bool:
    # A text cut right behind "The answer is 12" may have been about to say 125: neither right nor wrong.
    # A closing mark behind the answer ("12.", "\\boxed{12}") shows that it was complete.
    return bool(extracted) and text.rstrip().endswith(str(extracted).strip())


def _verdicts_by_id(verdicts: Iterable[Verdict]) -> dict[str, Verdict]:
    found: dict[str, Verdict] = {}
    for verdict in verdicts:
        earlier = found.setdefault(verdict.rationale_id, verdict)
        if earlier.value is not verdict.value:
            raise DataError(
                f"rationale {verdict.rationale_id!r} has two verdicts, {earlier.value} and {verdict.value}; "
                "judge it once, with one checker, and sort again"
            )
    return found


def _refuse_strangers(rows: Iterable[Rationale], problems: Mapping[str, int], verdicts: Mapping[str, Verdict]) -> None:
    for row in rows:
        if row.problem_id not in problems:
            raise DataError(
                f"rationale {row.id!r} answers problem {row.problem_id!r}, which is not among the {len(problems)} "
                "problems given; sort it together with the problems it was made for"
            )
        if row.id not in verdicts:
            raise DataError(f"rationale {row.id!r} has no verdict; run the verify stage on it first")
