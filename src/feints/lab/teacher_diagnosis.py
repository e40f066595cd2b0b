"""Finds the mistakes of a rationale from its text alone, comments on them and labels them."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from feints.errors import DataError
from feints.lab.mistakes import Mistake, MistakeKind
from feints.lab.reader import read
from feints.lab.reading import Fact, Operator, Reading, Step, evaluate
from feints.lab.wording import equation, say_step

_EQUATION = re.compile(r"(?<![\w.])\d+(?: [-+*/] \d+)+ = \d+")
_WORKED = (
    ("+", re.compile(r"\badd (\d+(?:, \d+)*) and (\d+) and get (\d+)", re.I)),
    ("-", re.compile(r"\btake away (\d+) from (\d+) and get (\d+)", re.I)),
    ("*", re.compile(r"\bmultiply (\d+) by (\d+) and get (\d+)", re.I)),
    ("/", re.compile(r"\bdivide (\d+) by (\d+) and get (\d+)", re.I)),
)
_ASSIGNMENT = re.compile(r"^\s*([A-Za-z_]\w*) ={1,2} (.+)$")
_MOVED = re.compile(r"^\s*([A-Za-z_]\w*) ([-+*/]) (\w+) ={1,2} (\w+)\s*$")
_INVERSE = {"+": "-", "-": "+", "*": "/", "/": "*"}


@dataclass(frozen=True, slots=True)
class Said:
    """One piece of arithmetic found in a text."""

    values: tuple[int, ...]
    operators: tuple[Operator, ...]
    stated: int
    """The result it claims."""

    @property
    def text(self) -> str:
        """As an equation."""
        parts = [str(self.values[0])]
        for operator, value in zip(self.operators, self.values[1:], strict=True):
            parts += [operator, str(value)]
        return f"{' '.join(parts)} = {self.stated}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake found, and where."""

    mistake: Mistake
    said: Said | None
    """The arithmetic that shows it; None for a step left out."""
    fact: Fact | None = None
    """The irrelevant fact that was used."""


def _chain(expression: str, known: dict[str, int]) -> tuple[tuple[int, ...], tuple[Operator, ...]] | None:
    """Numbers and operators of an expression taken from left to right; names are looked up."""
    tokens = expression.replace("(", " ").replace(")", " ").replace("//", "/").split()
    values: list[int] = []
    operators: list[Operator] = []
    for place, token in enumerate(tokens):
        if place % 2:
            if token not in ("+", "-", "*", "/"):
                return None
            operators.append(token)  # type: ignore[arg-type]
        elif token.isdecimal():
            values.append(int(token))
        elif token in known:
            values.append(known[token])
        else:
            return None
    return (tuple(values), tuple(operators)) if len(values) == len(operators) + 1 else None


def _reckoned(values: tuple[int, ...], operators: tuple[Operator, ...]) -> int | None:
    try:
        return evaluate(values, operators)
    except DataError:
        return None


def _said_in_lines(text: str) -> Iterator[Said]:
    """Arithmetic of a program, an equation system or constraints, in whatever order it can be resolved."""
    waiting = [line for line in text.split("\n") if not line.lstrip().startswith("#")]
    known: dict[str, int] = {}
    progress = True
    while progress:
        progress = False
        for line in list(waiting):
            moved = _MOVED.match(line)
            if moved:
                name, operator, right, left = moved.groups()
                name_and_expression = (name, f"{left} {_INVERSE[operator]} {right}")
            elif plain := _ASSIGNMENT.match(line):
                name_and_expression = (plain.group(1), plain.group(2))
            else:
                continue
            chain = _chain(name_and_expression[1], known)
            result = chain and _reckoned(*chain)
            if chain is None or result is None:
                continue
            known[name_and_expression[0]] = result
            waiting.remove(line)
            progress = True
            if chain[1]:
                yield Said(*chain, result)


def said_in(text: str) -> list[Said]:
    """Every piece of arithmetic in a rationale, in words or in lines."""
    if any(_ASSIGNMENT.match(line) or _MOVED.match(line) for line in text.split("\n")):
        return list(_said_in_lines(text))
    found: list[tuple[int, Said]] = []
    for match in _EQUATION.finditer(text):
        left, stated = match.group().rsplit(" = ", 1)
        chain = _chain(left, {})
        if chain:
            found.append((match.start(), Said(*chain, int(stated))))
    for operator, pattern in _WORKED:
        for match in pattern.finditer(text):
            numbers = [int(number) for number in re.findall(r"\d+", match.group())]
            result = numbers.pop()
            values = tuple(reversed(numbers)) if operator == "-" else tuple(numbers)
            found.append((match.start(), Said(values, (operator,) * (len(values) - 1), result)))  # type: ignore[arg-type]
    return [said for _, said in sorted(found, key=lambda pair: pair[0])]


def _likeness(
    step: Step, values: tuple[int, ...], said: Said, noise: dict[int, Fact]
) -> tuple[int, MistakeKind | None] | None:
    """How well a piece of arithmetic fits a step (0 best) and the mistake it shows; None where it does not fit."""
    commutes = set(step.operators) in ({"+"}, {"*"})
    same_values = said.values == values or (commutes and sorted(said.values) == sorted(values))
    if said.operators == step.operators and same_values:
        return 0, None
    missing = list((Counter(values) - Counter(said.values)).elements())
    extra = list((Counter(said.values) - Counter(values)).elements())
    unit = next((operand.value for operand in step.operands if operand.origin == "unit"), None)
    if said.operators == step.operators and len(missing) == len(extra) == 1:
        if unit is not None and missing == [unit]:
            return 1, MistakeKind.KNOWLEDGE
        if extra[0] in noise:
            return 2, MistakeKind.MISUNDERSTANDING
    if not missing and len(extra) == 1 and extra[0] in noise:
        return 2, MistakeKind.MISUNDERSTANDING
    if not missing and not extra:
        return 3, MistakeKind.LOGICAL
    return None


def find_mistakes(reading: Reading, text: str) -> tuple[Finding, ...]:
    """Compare a rationale with the problem, step by step, taking each stated result as the next one's input."""
    unused = said_in(text)
    noise = {number: fact for fact in reading.irrelevant for number in fact.numbers}
    current: dict[int, int] = {}
    findings: list[Finding] = []
    for step in reading.steps:
        values = tuple(current[o.index] if o.origin == "step" else o.value for o in step.operands)
        fits = [(fit, place) for place, said in enumerate(unused) if (fit := _likeness(step, values, said, noise))]
        if not fits:
            carried = [value for o, value in zip(step.operands, values, strict=True) if o.origin == "step"]
            current[step.index] = (carried or list(values))[0]
            findings.append(Finding(Mistake(MistakeKind.LOGICAL, step.index), None))
            continue
        (_, kind), place = min(fits, key=lambda fit: (fit[0][0], fit[1]))
        said = unused.pop(place)
        current[step.index] = said.stated
        if kind is not None:
            fact = next((noise[v] for v in said.values if v in noise and v not in values), None)
            findings.append(Finding(Mistake(kind, step.index), said, fact))
        if _reckoned(said.values, said.operators) != said.stated:
            findings.append(Finding(Mistake(MistakeKind.CALCULATION, step.index), said))
    return tuple(findings)


def diagnose(question: str, text: str) -> tuple[MistakeKind, ...]:
    """Kinds of mistakes in a rationale, anybody's, recomputed from the two texts; each once, in the order of the steps.

    Raises:
        DataError: the question is not in the lab's grammar.
    """
    return tuple(dict.fromkeys(finding.mistake.kind for finding in find_mistakes(read(question), text)))


def comment(reading: Reading, text: str, rng: random.Random) -> str:
    """A sentence or two on the first mistake of a rationale, "" where none can be found."""
    findings = find_mistakes(reading, text)
    if not findings:
        return ""
    finding = findings[0]
    step = reading.steps[finding.mistake.step]
    head = rng.choice(("There is a mistake here.", "This is wrong."))
    if finding.said is None:
        return f"This step is left out. The right way is: {say_step(step, 1)}"
    if finding.mistake.kind is MistakeKind.CALCULATION:
        return f"{head} It is not true that {finding.said.text}."
    if finding.mistake.kind is MistakeKind.KNOWLEDGE and step.unit_fact is not None:
        return f"{head} {step.unit_fact.say()}."
    if finding.mistake.kind is MistakeKind.MISUNDERSTANDING and finding.fact is not None:
        return f"{head} We do not need this: {finding.fact.text}"
    return f"{head} It is not {finding.said.text}. The right way is: {equation(step)}."


def reminder(reading: Reading, text: str) -> str:
    """What would have kept the author of a rationale from its first mistake, said without mention of it; often ""."""
    findings = find_mistakes(reading, text)
    if not findings:
        return ""
    first, step = findings[0], reading.steps[findings[0].mistake.step]
    if first.mistake.kind is MistakeKind.MISUNDERSTANDING and first.fact is not None:
        return f"We do not need this: {first.fact.text}"
    if first.mistake.kind is MistakeKind.KNOWLEDGE and step.unit_fact is not None:
        return f"{step.unit_fact.say()}."
    return ""


def error_kind(reading: Reading, text: str) -> str:
    """Why a rationale is wrong, in the words of `evaluate/error_kinds.py`; an irrelevant number used comes first."""
    findings = find_mistakes(reading, text)
    said = said_in(text)
    noise = {number for fact in reading.irrelevant for number in fact.numbers}
    used = {operand.value for step in reading.steps for operand in step.operands}
    if any(value in noise - used for one in said for value in one.values):
        return "misunderstanding"
    if not findings:
        return "other"
    first = findings[0]
    if first.mistake.kind is MistakeKind.CALCULATION:
        return "calculation"
    if first.mistake.kind is MistakeKind.KNOWLEDGE:
        return "other"
    if first.said is None and len(said) < len(reading.steps):
        return "missing step"
    return "misunderstanding"


LABELS = {MistakeKind.LOGICAL: "a", MistakeKind.KNOWLEDGE: "b", MistakeKind.CALCULATION: "c"}
"""EDIT's letters; every other kind of mistake is d."""
OTHER_LABEL = "d"
_SAID_OF = {
    "a": "it reasons wrongly: an operation is wrong or a step is left out",
    "b": "it rests on a fact that is not true",
    "c": "it reckons wrongly",
    "d": "it uses something that has nothing to do with the question",
}


def label(reading: Reading, text: str, rng: random.Random, error: float) -> tuple[str, str]:
    """Reply and label ("a", "b+c" ...) of a fallible judge of mistake patterns.

    Args:
        reading: the problem.
        text: the wrong rationale.
        rng: of this sample.
        error: probability that one of the letters is replaced by another.
    """
    letters = {LABELS.get(finding.mistake.kind, OTHER_LABEL) for finding in find_mistakes(reading, text)}
    shown = sorted(letters or {OTHER_LABEL})
    if rng.random() < error:
        place = rng.randrange(len(shown))
        shown[place] = rng.choice([letter for letter in _SAID_OF if letter not in shown])
    if len(shown) > 1:
        shown = sorted(set(shown) - {OTHER_LABEL})
    why = ", and ".join(_SAID_OF[letter] for letter in shown)
    joined = "+".join(shown)
    return f"In the wrong response {why}.\nLabel: {joined}", joined
