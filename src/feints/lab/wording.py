"""Says one step of a solution as a sentence, in several ways, and the answer in one."""

from __future__ import annotations

import random

from feints.lab.reading import Step

ANSWER_TRIGGER = "The answer is"
"""What stands before a final answer."""

OPENERS = ("First, ", "Then ", "Next, ", "After that, ", "Now ", "So ", "Finally, ")
"""What may stand before a step sentence; the sentence then begins small unless with a name."""
FIRST_OPENERS = ("First, ", "Now ")
MIDDLE_OPENERS = ("Then ", "Next, ", "After that, ", "Now ", "So ")
LAST_OPENERS = ("Finally, ", "So ", "Then ", "Now ")

STEP_SENTENCES = (
    "{claim_worked}.",
    "{equation}, so {claim}.",
    "{claim}, because {equation}.",
    "{claim}: {equation}.",
    "We {work} and get {result}, so {claim}.",
    "To find the number of {phrase}, we {work}: {equation}.",
    "The number of {phrase} is {equation}.",
    "{equation}. That is the number of {phrase}.",
)
"""Paraphrases of a step; {claim_worked} is the claim with "12 + 7 = 19" in place of the number."""

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


def draw_step(step: Step, rng: random.Random, place: int = 0, count: int = 1) -> str:
    """One step as a sentence in a random style, with an opener that suits its place among `count` steps."""
    openers = FIRST_OPENERS if place == 0 else LAST_OPENERS if place == count - 1 else MIDDLE_OPENERS
    opener = rng.choice(openers) if count > 1 and rng.random() < 0.5 else ""
    return say_step(step, rng.randrange(len(STEP_SENTENCES)), opener)


def say_unit_fact(step: Step, value: int | None = None) -> str:
    """The unit fact a step rests on as a sentence, "" when it rests on none; `value` bends it."""
    return "" if step.unit_fact is None else step.unit_fact.say(value) + "."


def say_answer(value: int) -> str:
    """The closing sentence."""
    return f"{ANSWER_TRIGGER} {value}."
