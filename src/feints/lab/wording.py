"""Says one step of a solution as a sentence, in several ways, and the answer in one."""

from __future__ import annotations

import random

from feints.lab.reading import Step

ANSWER_TRIGGER = "The answer is"
"""What stands before a final answer."""

FIRST_OPENERS = ("First, ",)
MIDDLE_OPENERS = ("Then ", "Next, ", "After that, ", "So ")
LAST_OPENERS = ("Finally, ", "So ", "Then ")
OPENERS = tuple(dict.fromkeys((*FIRST_OPENERS, *MIDDLE_OPENERS, *LAST_OPENERS)))
"""What may stand before a step sentence; the sentence then begins small unless with a name."""
_OPENER_SHARE = 0.3

_STEP_SENTENCES = {
    "{claim_worked}.": 8,
    "The number of {phrase} is {equation}.": 6,
    "{equation}, so {claim}.": 2,
    "{equation}. That is the number of {phrase}.": 1,
    "We {work} and get {result}, so {claim}.": 1,
    "To find the number of {phrase}, we {work}: {equation}.": 1,
}
STEP_SENTENCES = tuple(_STEP_SENTENCES)
"""Paraphrases of a step, none of which says a result before its arithmetic; {claim_worked} is the claim with
"12 + 7 = 19" in place of the number."""
STEP_WEIGHTS = tuple(_STEP_SENTENCES.values())
"""How often each is said, relative to the others: mostly what is sought first, and briefly, since the student pays for
every token of every sample."""

WORDS = ("add and , take away from multiply divide by", "= + - * /")
"""What `work` and `equation` say."""


def equation(step: Step) -> str:
    """The arithmetic of a step: "12 + 7 = 19"."""
    return f"{step.expression} = {step.result}"


def work(step: Step) -> str:
    """What is done, in words: "take away 7 from 12"."""
    values = [str(operand.value) for operand in step.operands]
    operator = step.operators[0]
    if operator == "+":
        return f"add {', '.join(values[:-1])} and {values[-1]}"
    if operator == "-":
        return f"take away {values[1]} from {values[0]}"
    return f"{'multiply' if operator == '*' else 'divide'} {values[0]} by {values[1]}"


def capital(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def say_step(step: Step, style: int, opener: str = "") -> str:
    """One step as a sentence (or two), in one of `STEP_SENTENCES`, after an optional opener."""
    template = STEP_SENTENCES[style % len(STEP_SENTENCES)]
    text = template.format(
        claim=step.claim.format(value=step.result),
        claim_worked=step.claim.format(value=equation(step)),
        equation=equation(step),
        work=work(step),
        result=step.result,
        phrase=step.phrase,
    )
    if not opener:
        return capital(text)
    return opener + (text[0].lower() + text[1:] if template.startswith(("To ", "We ", "The ")) else text)


def draw_style(rng: random.Random) -> int:
    """A paraphrase, as often as `STEP_WEIGHTS` says."""
    return rng.choices(range(len(STEP_SENTENCES)), STEP_WEIGHTS)[0]


def draw_step(step: Step, rng: random.Random, place: int = 0, count: int = 1) -> str:
    """One step in a random style, now and then with an opener that suits its place among `count` steps."""
    openers = FIRST_OPENERS if place == 0 else LAST_OPENERS if place == count - 1 else MIDDLE_OPENERS
    style = draw_style(rng)
    opener = rng.choice(openers) if count > 1 and rng.random() < _OPENER_SHARE else ""
    return say_step(step, style, opener)


def say_unit_fact(step: Step, value: int | None = None) -> str:
    """The unit fact a step rests on as a sentence, "" when it rests on none; `value` bends it."""
    return "" if step.unit_fact is None else step.unit_fact.say(value) + "."


def say_answer(value: int) -> str:
    """The closing sentence."""
    return f"{ANSWER_TRIGGER} {value}."
