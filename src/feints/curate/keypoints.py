"""Key points of a reply: read out, grounded in the question, accepted or left out with a reason (KPDD)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from feints.curate.choice import Chosen
from feints.records import Dropped, Problem, Rationale
from feints.verify.quantities import plain, read_numbers

STEP = "key points"
CORE_HEAD, INFORMATION_HEAD, SOLUTION_HEAD = "Core question:", "Useful information:", "Solution:"
CONSTANTS = frozenset(map(Fraction, (0, 1, 2, 7, 10, 12, 24, 30, 52, 60, 100, 365, 1000)))
"""Figures that need no source: of days, months, dozens, per cent and metres."""
_CORE = re.compile(r"\bcore question\W{0,4}:\W{0,4}", re.IGNORECASE)
_INFORMATION = re.compile(r"(?:useful|problem[- ]solving|relevant|key) information\W{0,4}:", re.IGNORECASE)
_SOLUTION = re.compile(r"\b(?:solution|program|code|equations|constraints)\W{0,4}:[*_]{0,2}", re.IGNORECASE)
"""Heads of the three fields, however they are dressed; searched one after the other, so that no text takes long."""
_DIGITS = re.compile(r"[0-9]{1,400}(?:\.[0-9]{1,400})?")
_MARKER = re.compile(r"^[ \t]*(?:\(?\d{1,2}[.)]|[-*•])\s+", re.MULTILINE)

_GIVEN_AWAY = re.compile(
    r"\b(?:final )?answer (?:is|=)|\banswer\W{0,3}[:=]|####|\\boxed|^[ \t]*ans[ \t]*=|\bsolve\(",
    re.IGNORECASE | re.MULTILINE,
)
"""What states an answer; where a later stage read it in its prompt, there would be nothing left to learn (KPDD-P3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPoints:
    """The fields of one accepted reply; together with its problem they give the examples of every stage."""

    rationale_id: str
    """The reply."""
    problem_id: str
    """The problem it answers."""
    core: str
    """Core question."""
    information: str
    """Problem-solving information, item by item."""
    solution: str
    """The solution, in words or to be executed."""

    @property
    def fields(self) -> dict[str, str]:
        """Text of each field by name."""
        return {"core": self.core, "information": self.information, "solution": self.solution}


def read_fields(text: str) -> dict[str, str] | None:
    """Core question, information and solution of a labelled reply; None where a label is missing."""
    core = _CORE.search(text)
    information = _INFORMATION.search(text, core.end()) if core else None
    solution = _SOLUTION.search(text, information.end()) if information else None
    if core is None or information is None or solution is None:
        return None
    return {
        "core": _undressed(text[core.end() : information.start()]),
        "information": _undressed(text[information.end() : solution.start()]),
        "solution": text[solution.end() :].strip(),
    }


def _undressed(field: str) -> str:
    """A field without the marks that dress the next field's head."""
    field = field.rstrip()
    marks = len(field) - len(field[-3:].rstrip("*#_")) - len(field[:-3])
    return field[: len(field) - marks].strip()


def unseen_figures(told: str, question: str) -> list[str]:
    """Figures of key points that neither the question, in digits or words, nor `CONSTANTS` hold."""
    seen = {value for value, _ in _figures(question)} | CONSTANTS
    return [text for value, text in _figures(_MARKER.sub("", told)) if value not in seen]


def _figures(text: str) -> list[tuple[Fraction, str]]:
    """Figures of a text, those included that touch letters (5x, A99) and so are no quantities of their own."""
    shown = plain(text)
    found = read_numbers(shown)
    read = {place for quantity in found for place in range(quantity.start, quantity.end)}
    touching = [match for match in _DIGITS.finditer(shown) if match.start() not in read]
    return [(quantity.value, quantity.text) for quantity in found] + [(Fraction(m[0]), m[0]) for m in touching]


def accept(problem: Problem, row: Rationale, fields: Mapping[str, str] | None, *, grounding: bool) -> KeyPoints | str:
    """The key points of a reply whose solution was judged right, or why they are not taken.

    The verdict on the solution is the other half of the filter; one filter decides all fields (KPDD-A5).

    Args:
        problem: what was asked.
        row: the reply.
        fields: what was read out of it, None where it could not be read.
        grounding: whether every figure of core question and information must stand in the question.
    """
    if fields is None:
        return "its fields could not be read"
    empty = [name for name in ("core", "information", "solution") if not fields[name].strip()]
    if empty:
        return f"empty {', '.join(empty)}"
    told = f"{fields['core']}\n{fields['information']}"
    if _GIVEN_AWAY.search(told) or fields["solution"].strip() in told:
        return "its key points give the answer away"
    shown = " ".join((problem.question, *(choice.text for choice in problem.choices)))
    for name, told in {"core question": fields["core"], "information": fields["information"]}.items():
        if grounding and unseen_figures(told, shown):
            return f"its {name} holds a figure that the question does not"
    return KeyPoints(
        rationale_id=row.id,
        problem_id=row.problem_id,
        core=fields["core"],
        information=fields["information"],
        solution=fields["solution"],
    )


def accept_all(
    problems: Mapping[str, Problem],
    chosen: Chosen,
    fields: Mapping[str, Mapping[str, str] | None],
    *,
    grounding: bool,
) -> tuple[Chosen, dict[str, KeyPoints]]:
    """What is left of a choice after `accept`, and the key points by rationale; each reply left out has its reason.

    Args:
        problems: by id.
        chosen: replies whose solution was judged right.
        fields: what was read out of each, by rationale.
        grounding: see `accept`.
    """
    found: dict[str, KeyPoints] = {}
    dropped: list[Dropped] = []
    for row in chosen.piles.right:
        one = accept(problems[row.problem_id], row, fields[row.id], grounding=grounding)
        if isinstance(one, str):
            dropped.append(Dropped(item_id=row.id, step=STEP, reason=one))
        else:
            found[row.id] = one
    kept = tuple(row for row in chosen.piles.right if row.id in found)
    return replace(
        chosen,
        piles=replace(chosen.piles, right=kept),
        funnel=chosen.funnel.step("with sound key points", len(kept), dropped),
        dropped=(*chosen.dropped, *dropped),
    ), found


def without_head(text: str, head: str) -> str:
    """A field without the label that a teacher may repeat before it."""
    return re.sub(rf"^\W*{re.escape(head.rstrip(':'))}\W*", "", text.strip(), flags=re.IGNORECASE)


def one_text(fields: Mapping[str, str], names: Sequence[str]) -> str:
    """Fields as one text, each under its head, as `read_fields` reads them."""
    heads = {"core": f"{CORE_HEAD} ", "information": f"{INFORMATION_HEAD}\n", "solution": f"{SOLUTION_HEAD}\n"}
    return "\n".join(f"{heads[name]}{fields[name]}" for name in names)
