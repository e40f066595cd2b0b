"""From a problem and a text to a verdict: find the stated answer, compare it, say why; no process is started here."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from feints.records import AnswerKind, Finish, Judgement, Problem, Verdict
from feints.verify import latex, options, stated, wording, yesno
from feints.verify.findings import Finding
from feints.verify.gold import Gold, parse_gold, whole_number
from feints.verify.quantities import Quantity, close, last_number, plain, same
from feints.verify.spans import Span, complete, last_sentence, marked, spoken, tidy
from feints.verify.stated import Stated

_CUT = {
    Finish.LENGTH: "the text was cut by the token limit",
    Finish.REFUSAL: "the author refused",
    Finish.MALFORMED: "the reply could not be read as the protocol says",
}
_OPTION_LINE = re.compile(r"\(?[A-Z][).](?:\s|$|\S).{0,80}|\(?[A-Z]\)?")
_OPTION_LINES = re.compile(r"^[ \t]*\**\(?([A-Z])[).]", re.MULTILINE)
_FIRST_WORD = re.compile(r"\**(yes|no|true|false)\b\**(?:[.,!:;]|[ \t]*\n)", re.IGNORECASE)
_FIRST_LABEL = re.compile(r"\**\(?([A-Z])\)?\**(?:[ \t]*\n|[.)]\**\s+(?=\**[A-Z]))")
_DENIAL = re.compile(
    r"(?:\b(?:is|are|was|were|be|equals?)\s+(?:not|never)|\bcan(?:not|['’]t)\s+be|\b(?:is|are|was|were)n['’]t"
    r"|\bnot\s+equal|≠|\\neq?|!=)\s*(?:(?:equal|to|the|option|exactly)\s+){0,3}[\s$(*\"'\\{]*\Z",
    re.IGNORECASE,
)
_SET = re.compile(r"[\\^_{}<>≤≥|]|\b[A-Za-z]\(")
"""Of what is set as mathematics, and no prose."""
_WORD = re.compile("[A-Za-z]{3}")
_UNCERTAIN = re.compile(
    r"\s*(?:\w+\s+){0,2}(?:unclear|unknown|uncertain|undetermined|impossible|unsolvable|complicated|clear|maybe|ambiguous)\b",
    re.IGNORECASE,
)
"""What takes back an answer that was stated before."""
_MAX_SPAN, _MAX_BARE = 4000, 500
_OPERATORS = "+-*/=^×÷·"
"""At the end of a text: what they would have been followed by is not there."""
MAX_TEXT = 200_000
"""Characters; of a longer text the end is read, where an answer stands."""


Item = tuple[Problem, str, str, Finish]
"""A problem, a text, the thinking put apart from it, and why its author stopped."""


@dataclass(frozen=True, slots=True)
class Open:
    """A comparison this process cannot decide within bounds: `verdict` stands once the pool has filled it in."""

    gold: Gold
    finding: Finding
    """With the stated answer, for the second checker."""
    positive_only: bool
    """Whether only a match counts, because the answer is not marked."""


def judge(problem: Problem, text: str, *, thinking: str = "", finish: Finish = Finish.UNKNOWN) -> Verdict | Open:
    """Judge `text` against the gold answer of `problem`; `Open` where a second checker must be asked.

    `thinking` is accepted beside the text and never searched.

    Raises:
        DataError: the gold answer cannot be read.
    """
    del thinking
    gold = parse_gold(problem)
    said, inside = spoken(text[-MAX_TEXT:])
    said = tidy(said).strip()
    span = _stated(gold, said)
    if span is None and finish not in _CUT:
        span = _said_first(gold, said)
    if span is None:
        return _unmarked(gold, said, inside, finish)
    span, finding = _read(gold, said, span)
    if finding.extracted is None:
        lenient = _lenient(gold, said, Judgement.NO_ANSWER)
        return _verdict(Judgement.NO_ANSWER, lenient, finding)
    cut = finish is Finish.LENGTH and not span.ends and _at_the_end(said, span, finding.extracted.strip())
    if cut and finding.same is not True:
        reason = "the text was cut by the token limit inside its answer"
        return _verdict(Judgement.NO_ANSWER, _lenient(gold, said, Judgement.NO_ANSWER), replace(finding, reason=reason))
    if finding.same is None:
        return Open(gold, finding, False)
    if finding.same:
        return _verdict(Judgement.CORRECT, Judgement.CORRECT, finding)
    return _verdict(Judgement.WRONG, _lenient(gold, said, Judgement.WRONG), finding)


def _read(gold: Gold, said: str, span: Span) -> tuple[Span, Finding]:
    """What a statement says, or else the one before it, which a mere remark does not take back."""
    # A bare text that is all mathematics is no sentence, so that its 7! is a factorial.
    alone = span.mark == "box" or (span.mark == "bare" and gold.kind is AnswerKind.LATEX)
    finding = compare(gold, span.text, marked=True, boxed=alone)
    if finding.extracted is not None or span.mark == "bare":
        return span, finding
    if gold.kind is AnswerKind.BOOLEAN:
        follows = compare(gold, _next_line(said, span), marked=True)
        if follows.extracted is not None:
            return span, follows
    earlier = None if _UNCERTAIN.match(span.text) else _stated(gold, said[: span.begins].strip())
    if earlier is not None and earlier.mark != "bare":
        before = compare(gold, earlier.text, marked=True, boxed=earlier.mark == "box")
        return (earlier, before) if before.extracted is not None else (span, finding)
    return span, finding


def _at_the_end(said: str, span: Span, extracted: str) -> bool:
    """Whether a text ends in its answer, an operator behind it left out, or is nothing but an answer.

    Of an answer that was rewritten to be read (3 times 4) the last word tells.
    """
    ended = said.rstrip(_OPERATORS + " ")
    return span.mark == "bare" or ended.endswith(extracted if extracted in said else extracted.rpartition(" ")[2])


def _next_line(said: str, span: Span) -> str:
    """The first word of what follows a statement that says nothing ("the answer is followed by an explanation")."""
    rest = said[span.start + len(span.text) :].split(maxsplit=1)
    return rest[0].rstrip(",.:;!") if rest else ""


def settle(open_case: Open, finding: Finding) -> Verdict:
    """The verdict of an open comparison, from the finding of the second checker.

    Of an answer that is not marked only a match counts; where a checker failed or two disagree, it stays open.
    """
    denied = open_case.positive_only and (finding.same is False or finding.evidence != "")
    if finding.extracted is None or denied:
        value = Judgement.NO_ANSWER
    elif finding.same is None:
        value = Judgement.NOT_CHECKED
    else:
        value = Judgement.CORRECT if finding.same else Judgement.WRONG
    if denied:
        finding = replace(finding, reason=f"no answer is marked; of the last one read: {finding.reason}")
    lenient = value if value is not Judgement.NO_ANSWER else Judgement.WRONG
    return _verdict(value, lenient, finding)


def compare(gold: Gold, span: str, *, marked: bool, boxed: bool = False) -> Finding:
    """Compare a stated answer with the gold answer; a number counts first if marked, last if not."""
    if gold.kind is AnswerKind.CHOICE:
        return options.compare(gold.label, gold.choices, span)
    if gold.kind is AnswerKind.BOOLEAN and gold.truth is not None:
        return yesno.compare(gold.truth, span)
    if gold.kind is AnswerKind.TEXT:
        return wording.compare(gold.text, span)
    if gold.quantity is None:
        ended = stated.without_exclamation(span) if marked and not boxed else span
        finding = _mathematics(gold, ended, span, conclusion=not marked)
        return finding if finding.same or not marked else _in_prose(gold, span, finding, boxed=boxed)
    said = stated.read(span, boxed=boxed) if marked else stated.read_last(span)
    if said is None:
        return Finding(None, None, "number", f"no number is stated in {span[:60]!r}" if span else "no number is stated")
    if said.formula:
        return _formula(gold, said)
    return _number(gold.quantity, said)


def _formula(gold: Gold, said: Stated) -> Finding:
    """Compare mathematics that is more than a number."""
    if said.exclaimed:
        return _mathematics(gold, said.formula, said.text, conclusion=False)
    finding = latex.compare(gold.text, said.formula, "", conclusion=False)
    rewritten = finding.same is not None and said.formula != said.text
    return replace(finding, extracted=said.text) if rewritten else finding


def _mathematics(gold: Gold, ended: str, exclaimed: str, *, conclusion: bool) -> Finding:
    """Compare what may end in an exclamation mark: first without it, then as a factorial.

    The answer is shown without the mark either way, so that what a vote counts does not hang on the gold answer.
    """
    finding = latex.compare(gold.text, ended, gold.question, conclusion=conclusion)
    if ended == exclaimed or finding.same:
        return finding
    factorial = latex.compare(gold.text, exclaimed, gold.question, conclusion=conclusion)
    return replace(finding, same=True, reason="equal as a factorial") if factorial.same else finding


def _in_prose(gold: Gold, span: str, finding: Finding, *, boxed: bool) -> Finding:
    """A marked answer without TeX read as prose too ("12 (3 dozen)", "There are 12 ways"), of which a match counts.

    What is shown stays, so that what a vote counts does not hang on the gold answer.
    """
    if finding.extracted is None or _SET.search(span):
        return finding
    wanted = whole_number(gold.text) if _WORD.search(span) and not _SET.search(gold.text) else None
    said = stated.read(span, boxed=boxed) if wanted is not None else None
    if wanted is not None and said is not None and not said.formula:
        same = said.certain and _number(wanted, said).same
    else:
        core = stated.conclusion(span)
        same = core != span and latex.compare(gold.text, core, gold.question, conclusion=False).same
    return replace(finding, same=True, reason="equal, its words left out") if same else finding


def _number(gold: Quantity, said: Stated) -> Finding:
    if said.trouble:
        return Finding(False, said.text, "number", said.trouble)
    if said.measure is not None:
        right = any(close(gold, amount, 0) for amount in said.measure)
        return Finding(right, said.text, "number", "equal in one of its units" if right else "equal in neither unit")
    quantity = said.quantity
    if quantity is None:
        return Finding(None, None, "number", "no number is stated")
    if same(gold, quantity):
        return Finding(True, said.text, "number", "equal" if quantity.value == gold.value else "equal up to rounding")
    if said.exclaimed and latex.exact_value(f"{said.text}!") == gold.value:
        return Finding(True, said.text, "number", "equal as a factorial")
    return Finding(False, said.text, "number", f"{_show(quantity)} is not {_show(gold)}")


def _show(quantity: Quantity) -> str:
    value = quantity.value
    if abs(value) >= 10**300:
        return "a huge number"
    shown = str(value) if value.denominator == 1 or quantity.decimals == 0 else str(float(value))
    return (shown if len(shown) <= 40 else f"{float(value):.6g}") + ("%" if quantity.percent else "")


def _stated(gold: Gold, said: str) -> Span | None:
    """The marked answer, or the whole text where it is nothing but an answer."""
    span = marked(said, line_answers=gold.kind is not AnswerKind.CHOICE)
    if span is not None and len(span.text) > _MAX_SPAN:
        span = replace(span, text=span.text[:_MAX_SPAN], ends=True)
    if span is not None and gold.quantity is not None and span.mark != "box" and stated.is_story(span.text):
        return None
    if span is not None:
        return span
    if gold.kind is AnswerKind.CHOICE:
        lines = said.splitlines()
        labels = _OPTION_LINES.findall(said)
        reviewed = len(labels) > 1 and labels[-2] < labels[-1]  # one by one, and the last of them is no answer
        if lines and not reviewed and _OPTION_LINE.fullmatch(lines[-1].strip()):
            at = len(said) - len(lines[-1])
            return Span(lines[-1].strip(), "line", at, at, False)
    return Span(said, "bare", 0, 0, False) if _bare(gold, said) else None


def _said_first(gold: Gold, said: str) -> Span | None:
    """The word or label that a whole text begins with, if it goes on to explain it and ends in no other."""
    if gold.kind is AnswerKind.BOOLEAN and (word := _FIRST_WORD.match(said)):
        last = yesno.read_truth(last_sentence(said[word.end() :][-_MAX_SPAN:]))
        return Span(word[1], "first", word.start(1), 0, True) if last in (None, yesno.read_truth(word[1])) else None
    if gold.kind is AnswerKind.CHOICE and (label := _FIRST_LABEL.match(said)):
        known = not gold.choices or any(label[1] == choice.label.strip("() ") for choice in gold.choices)
        reviewed = _OPTION_LINES.search(said, label.end())
        named, _ = options.read_label(last_sentence(said[label.end() :][-_MAX_SPAN:]), gold.choices)
        if known and not reviewed and named in (None, label[1]):
            return Span(label[1], "first", label.start(1), 0, True)
    return None


def _bare(gold: Gold, said: str) -> bool:
    """Whether the text is an answer without a sentence around it."""
    if not said or len(said) > _MAX_BARE or "\n\n" in said or (said[-1] in _OPERATORS and gold.quantity is not None):
        return False
    if gold.kind is AnswerKind.LATEX:
        return latex.bare(said)
    if gold.kind is AnswerKind.TEXT:
        return "\n" not in said and len(said.split()) <= len(gold.text.split()) + 1
    if _DENIAL.search(said.rstrip(" .$%)*\"'0123456789,")):
        return False
    return len(said.split()) <= 4 or (gold.quantity is not None and latex.bare(said, prose=1))


def _unmarked(gold: Gold, said: str, inside: bool, finish: Finish) -> Verdict | Open:
    """No answer is marked: a finished text may end in the right one, but what it ends in is never held against it."""
    finding = (
        compare(gold, last_sentence(said[-_MAX_SPAN:]), marked=False) if said else Finding(None, None, gold.kind, "")
    )
    lenient = _judgement(finding, Judgement.NO_ANSWER)
    why = "the text ends inside its thinking" if inside else _CUT.get(finish, "")
    if not why and not said:
        why = "the text is empty"
    if not why and not complete(said):
        why = "the text stops in the middle and marks no answer"
    if why:
        return _verdict(Judgement.NO_ANSWER, lenient, replace(finding, reason=why))
    if finding.same is None and finding.extracted is not None:
        return Open(gold, finding, True)
    if finding.same and finding.extracted and not _denied(said, finding.extracted):
        return _verdict(Judgement.CORRECT, Judgement.CORRECT, replace(finding, reason="no mark, but it ends in it"))
    return _verdict(Judgement.NO_ANSWER, lenient, replace(finding, reason="no answer is marked"))


def _denied(said: str, answer: str) -> bool:
    """Whether the last sentence says what the answer is not."""
    said = said if answer in said else plain(said)
    return _DENIAL.search(said[: said.rfind(answer)][-40:]) is not None


def _judgement(finding: Finding, default: Judgement) -> Judgement:
    if finding.extracted is None or finding.same is None:
        return default
    return Judgement.CORRECT if finding.same else Judgement.WRONG


def _lenient(gold: Gold, said: str, strict: Judgement) -> Judgement:
    """Any last number, letter or word of the text counts; a stated answer that was wrong stays wrong otherwise."""
    if gold.quantity is not None:
        number = last_number(plain(said[-300:])) or last_number(plain(said[-4000:]))
        if number is None:
            return strict
        right = close(gold.quantity, number.value, number.decimals)
    else:
        finding = compare(gold, last_sentence(said[-_MAX_SPAN:]), marked=False)
        if finding.extracted is None or finding.same is None:
            return strict
        right = finding.same
    return Judgement.CORRECT if right else Judgement.WRONG


def _verdict(value: Judgement, lenient: Judgement, finding: Finding) -> Verdict:
    extracted = None if finding.extracted is None else finding.extracted[:500]
    return Verdict(
        rationale_id="",
        value=value,
        lenient=lenient,
        extracted=extracted,
        checker=str(finding.checker),
        reason=finding.reason or "nothing is stated",
    )
