"""From what a run left to a verdict: a value against the gold answer, a failure as the mistake it is."""

from __future__ import annotations

from fractions import Fraction

from feints.records import AnswerKind, Finish, Form, Judgement, Problem, Verdict
from feints.verify.execution import Execution, Failure
from feints.verify.gold import Gold, parse_gold
from feints.verify.judge import Open, judge
from feints.verify.quantities import plain, read_numbers

TOLERANCE = Fraction(1, 1000)
"""Largest difference from the gold number, as KPDD-A8 has it; of a gold below 1 in size, the same share of it."""
_NOISE = Fraction(1, 10**12)
"""Share of a large gold number that floats may be off by."""
_CHECKER = {Form.POT: "program", Form.EOT: "equations", Form.SAT: "constraints"}


def conclude(problem: Problem, execution: Execution, form: Form, finish: Finish) -> Verdict | Open:
    """The verdict on an executed rationale; `Open` where its value must be compared by a second checker.

    A failure is wrong and says its kind first ("time: no end within 5 s"); a text with nothing to run, a refusal and
    what the token limit cut are no answer; what this machine could not run is not checked.

    Raises:
        DataError: the gold answer cannot be read.
    """
    gold, checker = parse_gold(problem), _CHECKER[form]
    if execution.value is None:
        return _failed(execution, checker, finish)
    number = execution.number
    if gold.quantity is not None and gold.kind is AnswerKind.NUMBER:
        if number is None:
            return _verdict(_wrong(finish), execution, checker, f"{execution.value[:60]!r} is no number")
        right = close(gold.quantity.value, number, percent=gold.quantity.percent)
        said = "equal" if right else f"{_show(execution.value)} is not {gold.quantity.text}"
        return _verdict(Judgement.CORRECT if right else _wrong(finish), execution, checker, said)
    if gold.kind is AnswerKind.CHOICE and number is not None:
        return _choice(gold, execution, number, checker, finish)
    marked = f"${execution.value}$" if gold.kind is AnswerKind.LATEX and number is not None else execution.value
    return judge(problem, f"The answer is {marked}", finish=Finish.STOP)


def close(gold: Fraction, value: Fraction, *, percent: bool = False) -> bool:
    """Whether an executed number is the gold one: less than `TOLERANCE` away; 0.5 is 50 % where gold is a percent."""
    allowed = max(TOLERANCE * min(Fraction(1), abs(gold) or Fraction(1)), abs(gold) * _NOISE)
    return abs(gold - value) < allowed or (percent and abs(gold - 100 * value) < allowed)


def _failed(execution: Execution, checker: str, finish: Finish) -> Verdict:
    failure = execution.failure or Failure.NO_ANSWER
    reason = f"{failure.value}: {execution.detail}"
    if failure is Failure.NOT_RUN:
        return _verdict(Judgement.NOT_CHECKED, execution, checker, reason)
    if failure is Failure.NOTHING or finish in (Finish.REFUSAL, Finish.MALFORMED):
        return _verdict(Judgement.NO_ANSWER, execution, checker, reason)
    return _verdict(_wrong(finish), execution, checker, reason)


def _wrong(finish: Finish) -> Judgement:
    """What the token limit cut may have been right: no answer, never a mistake to learn from."""
    return Judgement.NO_ANSWER if finish is Finish.LENGTH else Judgement.WRONG


def _choice(gold: Gold, execution: Execution, number: Fraction, checker: str, finish: Finish) -> Verdict:
    """A number stands for the one option that holds it; leniently, for the nearest."""
    held = {choice.label: read_numbers(plain(choice.text)) for choice in gold.choices}
    values = {label: numbers[0] for label, numbers in held.items() if numbers}
    found = [label for label, told in values.items() if close(told.value, number, percent=told.percent)]
    if not found:  # options are often written rounded
        found = [
            label for label, told in values.items() if told.decimals and round(number, told.decimals) == told.value
        ]
    nearest = min(values, key=lambda label: abs(values[label].value - number), default=None)
    lenient = Judgement.CORRECT if nearest == gold.label else Judgement.WRONG
    if len(found) != 1:
        reason = f"{_show(execution.value or '')} is {'no option' if not found else 'more than one option'}"
        return Verdict(
            rationale_id="",
            value=_wrong(finish),
            lenient=lenient,
            extracted=execution.value,
            checker=checker,
            reason=reason,
        )
    right = found[0] == gold.label
    reason = f"{_show(execution.value or '')} is option {found[0]}"
    value = Judgement.CORRECT if right else _wrong(finish)
    return Verdict(rationale_id="", value=value, lenient=value, extracted=found[0], checker=checker, reason=reason)


def _show(value: str) -> str:
    return value if len(value) <= 40 else value[:37] + "..."


def _verdict(value: Judgement, execution: Execution, checker: str, reason: str) -> Verdict:
    return Verdict(
        rationale_id="", value=value, lenient=value, extracted=execution.value, checker=checker, reason=reason
    )
