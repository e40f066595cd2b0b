"""What can be asked in a lab problem: every kind of question with its trained and its held-out paraphrases."""

from __future__ import annotations

from feints.lab.events import FACTS, Form


def _question(name: str, kind: str, trained: tuple[str, ...], held_out: tuple[str, ...]) -> Form:
    return Form(name, kind, "question", trained, held_out)


QUESTIONS = (
    _question(
        "count",
        "",
        (
            "How many {o} does {a} have now?",
            "How many {o} does {a} have in the end?",
            "What is the number of {o} of {a} now?",
            "In the end, how many {o} does {a} own?",
        ),
        ("In the end, how many {o} does {a} have?", "What is the number of {o} that {a} has now?"),
    ),
    _question(
        "total2",
        "total",
        (
            "How many {o} do {a} and {b} have together?",
            "How many {o} do {a} and {b} have in all?",
            "What is the total number of {o} of {a} and {b}?",
        ),
        (
            "What is the number of {o} of {a} and {b} together?",
            "What is the number of {o} that {a} and {b} have in all?",
        ),
    ),
    _question(
        "total3",
        "total",
        (
            "How many {o} do {a}, {b} and {c} have together?",
            "How many {o} do {a}, {b} and {c} have in all?",
            "What is the total number of {o} of {a}, {b} and {c}?",
        ),
        (
            "What is the number of {o} of {a}, {b} and {c} together?",
            "What is the number of {o} that {a}, {b} and {c} have in all?",
        ),
    ),
    _question(
        "how_many_more",
        "difference",
        (
            "How many more {o} does {a} have than {b}?",
            "How many more {o} than {b} does {a} have now?",
            "To have as many {o} as {a}, how many more does {b} need?",
        ),
        ("How many {o} does {a} have more than {b}?", "How many more {o} does {b} need to have as many as {a}?"),
    ),
    _question(
        "how_many_fewer",
        "difference",
        (
            "How many fewer {o} does {b} have than {a}?",
            "How many fewer {o} than {a} does {b} have now?",
            "How many {o} does {a} need to give away to have as many as {b}?",
        ),
        (
            "How many {o} does {b} have fewer than {a}?",
            "To have as many as {b}, how many {o} does {a} need to give away?",
        ),
    ),
    _question(
        "average2",
        "average",
        (
            "What is the average number of {o} of {a} and {b}?",
            "How many {o} do {a} and {b} have on average?",
            "On average, how many {o} do {a} and {b} have?",
        ),
        ("What is the number of {o} that {a} and {b} have on average?", "How many {o} is the average of {a} and {b}?"),
    ),
    _question(
        "average3",
        "average",
        (
            "What is the average number of {o} of {a}, {b} and {c}?",
            "How many {o} do {a}, {b} and {c} have on average?",
            "On average, how many {o} do {a}, {b} and {c} have?",
        ),
        (
            "What is the number of {o} that {a}, {b} and {c} have on average?",
            "How many {o} is the average of {a}, {b} and {c}?",
        ),
    ),
    _question(
        "groups",
        "groups",
        (
            "If {a} puts {n} {o} in each {j}, how many {k} does {a} fill?",
            "How many {k} does {a} need to put {n} {o} in each {j}?",
            "With {n} {o} in each {j}, how many {k} does {a} fill?",
        ),
        ("How many {k} does {a} fill with {n} {o} in each {j}?", "How many {k} of {n} {o} each does {a} fill?"),
    ),
    _question(
        "share_out",
        "share",
        (
            "If {a} splits {his} {o} equally among {n} friends, how many {o} does each friend get?",
            "How many {o} does each friend get if {a} splits them all among {n} friends?",
            "How many {o} does each of {n} friends get from {a} in equal parts?",
        ),
        (
            "In equal parts, how many {o} does each of {n} friends of {a} get?",
            "If {n} friends get all the {o} of {a} in equal parts, how many {o} does each get?",
        ),
    ),
    _question(
        "cost",
        "price",
        (
            "How many dollars do all the {o} of {a} cost?",
            "How many dollars does {a} need to pay for all {his} {o}?",
            "What is the price of all the {o} of {a} in dollars?",
        ),
        ("What do all the {o} of {a} cost in dollars?", "For all {his} {o}, how many dollars does {a} need to pay?"),
    ),
    _question(
        "change",
        "change",
        (
            "If {a} pays for all {his} {o} with {n} dollars, how many dollars does {a} get back?",
            "How many dollars does {a} get back if {he} pays {n} dollars for all {his} {o}?",
            "{a} pays with {n} dollars, so how many dollars does {he} get back for all {his} {o}?",
        ),
        (
            "How many dollars of the {n} dollars does {a} get back if {he} pays for all {his} {o}?",
            "With {n} dollars {a} pays for all {his} {o}, so how many dollars does {he} get back?",
        ),
    ),
    _question(
        "days",
        "rate",
        (
            "If {a} uses up {n} {o} every {w}, for how many {v} does {he} have {o}?",
            "For how many {v} do the {o} of {a} last at {n} {o} per {w}?",
            "At {n} {o} per {w}, how many {v} do the {o} of {a} last?",
        ),
        (
            "If {a} uses up {n} {o} per {w}, how many {v} do the {o} last?",
            "How many {v} do the {o} of {a} last at {n} every {w}?",
        ),
    ),
    _question(
        "fraction_of",
        "fraction",
        (
            "How many {o} is {f} of the {o} of {a}?",
            "What is {f} of the number of {o} of {a}?",
            "If {a} keeps {f} of {his} {o}, how many {o} is that?",
        ),
        ("How many is {f} of the {o} of {a}?", "What is {f} of the number of {o} that {a} has?"),
    ),
    _question(
        "percent_of",
        "percent",
        (
            "How many {o} is {n} percent of the {o} of {a}?",
            "What is {n} percent of the number of {o} of {a}?",
            "If {a} keeps {n} percent of {his} {o}, how many {o} is that?",
        ),
        ("How many is {n} percent of the {o} of {a}?", "What is {n} percent of the number of {o} that {a} has?"),
    ),
)

FORMS = {form.name: form for form in (*FACTS, *QUESTIONS)}
"""Every form of the grammar by name."""
KINDS = tuple(sorted({form.kind for form in FORMS.values() if form.kind}))
"""Every kind of event."""
HELD_OUT_PAIRS = frozenset(
    frozenset(pair)
    for pair in (
        ("packs", "fraction"),
        ("packs", "give"),
        ("compare", "share"),
        ("compare", "rate"),
        ("rate", "percent"),
        ("times", "lose"),
        ("times", "average"),
        ("gain", "price"),
        ("give", "times"),
        ("unit", "lose"),
        ("unit", "total"),
        ("join", "groups"),
        ("percent", "difference"),
        ("fraction", "compare"),
        ("fraction", "total"),
        ("share", "gain"),
        ("join", "lose"),
    )
)
"""Pairs of kinds of which one feeds the other only in the unseen split."""
