"""What can be told in a lab problem: every kind of fact with its trained and its held-out paraphrases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Block = Literal["start", "event", "timeless", "question"]


@dataclass(frozen=True, slots=True)
class Form:
    """One thing that can be said, and the ways of saying it. Slots are explained in `lexicon.SLOT_CLASS`."""

    name: str
    """Unique; the reader gives it its meaning."""
    kind: str
    """Kind of event its steps belong to; "" when it makes no step."""
    block: Block
    """start: true before anything happens, in any order; event: happens where it is told; timeless; question."""
    trained: tuple[str, ...]
    """Paraphrases of every split but unseen."""
    held_out: tuple[str, ...]
    """Paraphrases of the unseen split alone, made of words that the trained ones also use."""


STARTS = (
    Form(
        "has",
        "",
        "start",
        ("{a} has {n} {o}.", "{a} owns {n} {o}.", "At first {a} has {n} {o}.", "{a} starts with {n} {o}."),
        ("{a} owns {n} {o} at first.", "There are {n} {o} that {a} owns."),
    ),
    Form(
        "has_big",
        "unit",
        "start",
        ("{a} has {n} {q}.", "{a} owns {n} {q}.", "At first {a} has {n} {q}.", "{a} starts with {n} {q}."),
        ("{a} owns {n} {q} at first.", "There are {n} {q} that {a} owns."),
    ),
    Form(
        "has_packs",
        "packs",
        "start",
        (
            "{a} has {n} {k} with {m} {o} in each.",
            "{a} owns {n} {k} of {m} {o} each.",
            "There are {m} {o} in each of the {n} {k} of {a}.",
            "{a} has {n} {k} and each {j} holds {m} {o}.",
        ),
        ("Each of the {n} {k} of {a} holds {m} {o}.", "{a} owns {n} {k}, and each {j} holds {m} {o}."),
    ),
    Form(
        "more",
        "compare",
        "start",
        ("{b} has {n} more {o} than {a}.", "{b} owns {n} more {o} than {a}.", "{a} has {o}, and {b} has {n} more."),
        ("{b} has as many {o} as {a} and {n} more.", "{b} has {n} {o} more than {a}."),
    ),
    Form(
        "fewer",
        "compare",
        "start",
        ("{b} has {n} fewer {o} than {a}.", "{b} owns {n} fewer {o} than {a}.", "{a} has {o}, and {b} has {n} fewer."),
        (
            "{b} has {n} {o} fewer than {a}.",
            "The number of {o} that {b} has is {n} fewer than the number that {a} has.",
        ),
    ),
    Form(
        "times_as",
        "times",
        "start",
        (
            "{b} has {t} as many {o} as {a}.",
            "{b} owns {t} as many {o} as {a}.",
            "{b} has {t} the number of {o} that {a} has.",
        ),
        ("The number of {o} that {b} has is {t} the number that {a} has.", "{a} has {o}, and {b} has {t} as many."),
    ),
    Form(
        "fraction_as",
        "fraction",
        "start",
        (
            "{b} has {f} as many {o} as {a}.",
            "{b} owns {f} as many {o} as {a}.",
            "{b} has {f} of the number of {o} that {a} has.",
        ),
        ("The number of {o} that {b} has is {f} of the number that {a} has.", "{a} has {o}, and {b} has {f} as many."),
    ),
    Form(
        "percent_as",
        "percent",
        "start",
        (
            "{b} has {n} percent of the number of {o} that {a} has.",
            "{b} owns {n} percent as many {o} as {a}.",
            "{b} has {n} percent as many {o} as {a}.",
        ),
        (
            "The number of {o} that {b} has is {n} percent of the number that {a} has.",
            "{a} has {o}, and {b} has {n} percent as many.",
        ),
    ),
)

GAINS_AND_LOSSES = (
    Form(
        "gain",
        "gain",
        "event",
        (
            "{a} finds {n} more {o}.",
            "{a} gets {n} more {o}.",
            "{a} picks up {n} more {o}.",
            "{a} collects {n} more {o}.",
        ),
        ("{a} gets another {n} {o}.", "{n} more {o} go to {a}."),
    ),
    Form(
        "gain_big",
        "unit",
        "event",
        ("{a} finds {n} more {q}.", "{a} gets {n} more {q}.", "{a} picks up another {n} {q}."),
        ("{a} collects another {n} {q}.", "{n} more {q} go to {a}."),
    ),
    Form(
        "gain_packs",
        "packs",
        "event",
        (
            "{a} picks up {n} {k} with {m} {o} in each.",
            "{a} gets {n} {k} of {m} {o} each.",
            "{n} {k} with {m} {o} in each go to {a}.",
        ),
        ("{a} finds {n} {k}, and each {j} holds {m} {o}.", "{a} gets {m} {o} in each of {n} {k}."),
    ),
    Form(
        "lose",
        "lose",
        "event",
        (
            "{a} loses {n} {o}.",
            "{a} gives away {n} {o}.",
            "{a} uses up {n} {o}.",
            "{a} hands out {n} of {his} {o}.",
            "{n} {o} of {a} get lost.",
        ),
        ("{a} gives {n} of {his} {o} away.", "{n} of the {o} of {a} get lost."),
    ),
    Form(
        "give",
        "give",
        "event",
        (
            "{a} gives {n} {o} to {b}.",
            "{a} hands {n} {o} to {b}.",
            "{b} gets {n} {o} from {a}.",
            "{a} sends {b} {n} {o}.",
        ),
        ("{b} collects {n} {o} from {a}.", "{a} gives {b} {n} of {his} {o}."),
    ),
    Form(
        "join",
        "join",
        "event",
        ("{a} gives all {his} {o} to {b}.", "{b} gets all the {o} of {a}.", "{a} hands all {his} {o} to {b}."),
        ("{a} gives {b} all {his} {o}.", "The {o} of {a} all go to {b}."),
    ),
)

RATES = (
    Form(
        "rate_gain",
        "rate",
        "event",
        (
            "{a} collects {n} {o} every {w} for {m} {v}.",
            "{a} gets {n} {o} per {w} for {m} {v}.",
            "For {m} {v}, {a} finds {n} {o} every {w}.",
            "Every {w} {a} gets {n} {o}, and this goes on for {m} {v}.",
        ),
        ("Every {w} for {m} {v}, {a} gets {n} {o}.", "For {m} {v}, {a} collects {n} {o} per {w}."),
    ),
    Form(
        "rate_lose",
        "rate",
        "event",
        (
            "{a} uses up {n} {o} every {w} for {m} {v}.",
            "{a} loses {n} {o} per {w} for {m} {v}.",
            "For {m} {v}, {a} hands out {n} {o} every {w}.",
        ),
        ("Every {w} for {m} {v}, {a} loses {n} {o}.", "For {m} {v}, {a} uses up {n} {o} per {w}."),
    ),
)

SCALINGS = (
    Form(
        "times_event",
        "times",
        "event",
        (
            "{a} gets more {o} until {he} has {t} as many as before.",
            "{a} ends up with {t} as many {o} as before.",
            "The number of {o} of {a} grows until it is {t} the number before.",
        ),
        (
            "{a} finds more {o} and ends up with {t} as many.",
            "The number of {o} that {a} has is {t} the number before.",
        ),
    ),
    Form(
        "times_verb",
        "times",
        "event",
        (
            "{a} {d} {his} number of {o}.",
            "The number of {o} of {a} {d}.",
            "{a} picks up more {o} and {d} {his} number of {o}.",
        ),
        ("The number of {o} that {a} has {d}.", "{a} collects more {o} and {d} the number {he} has."),
    ),
    Form(
        "share_event",
        "share",
        "event",
        (
            "{a} splits {his} {o} into {n} equal parts and keeps one part.",
            "{a} puts {his} {o} into {n} equal piles and keeps only one pile.",
            "{a} splits all {his} {o} into {n} equal piles and gives away all piles but one.",
        ),
        (
            "{a} puts all {his} {o} into {n} equal parts and gives away all parts but one.",
            "{a} keeps only one of {n} equal piles of {his} {o}.",
        ),
    ),
    Form(
        "fraction_lose",
        "fraction",
        "event",
        ("{a} gives away {f} of {his} {o}.", "{a} loses {f} of {his} {o}.", "{a} uses up {f} of {his} {o}."),
        ("{a} hands out {f} of {his} {o}.", "{a} gives {f} of {his} {o} away."),
    ),
    Form(
        "fraction_keep",
        "fraction",
        "event",
        (
            "{a} keeps only {f} of {his} {o}.",
            "{a} keeps {f} of {his} {o} and gives away the rest.",
            "{a} loses all but {f} of {his} {o}.",
        ),
        ("{a} gives away all but {f} of {his} {o}.", "{a} keeps {f} of {his} {o} and loses the rest."),
    ),
    Form(
        "percent_lose",
        "percent",
        "event",
        (
            "{a} gives away {n} percent of {his} {o}.",
            "{a} loses {n} percent of {his} {o}.",
            "{a} uses up {n} percent of {his} {o}.",
        ),
        ("{a} hands out {n} percent of {his} {o}.", "{a} gives {n} percent of {his} {o} away."),
    ),
    Form(
        "percent_gain",
        "percent",
        "event",
        (
            "The number of {o} of {a} grows by {n} percent.",
            "{a} gets {n} percent more {o}.",
            "{a} picks up {n} percent more {o} than before.",
        ),
        ("{a} ends up with {n} percent more {o} than before.", "The number of {o} that {a} has grows by {n} percent."),
    ),
)

MONEY = (
    Form(
        "price",
        "price",
        "timeless",
        ("One {s} costs {n} dollars.", "Each {s} costs {n} dollars.", "The price of one {s} is {n} dollars."),
        ("The price of each {s} is {n} dollars.", "{n} dollars is the price of one {s}."),
    ),
    Form(
        "sell",
        "price",
        "event",
        (
            "{a} sells all {his} {o} for {n} dollars each.",
            "{a} sells all {his} {o} and gets {n} dollars for each {s}.",
            "{a} sells {his} {o} for {n} dollars each.",
        ),
        ("{a} gets {n} dollars each for all {his} {o}.", "For {n} dollars each, {a} sells all {his} {o}."),
    ),
    Form(
        "purchase",
        "price",
        "event",
        (
            "{a} buys {n} {o} for {m} dollars each.",
            "{a} buys {n} {o} and pays {m} dollars for each {s}.",
            "{a} pays {m} dollars each for {n} {o}.",
        ),
        ("For {m} dollars each, {a} buys {n} {o}.", "{a} pays {m} dollars for each of {n} {o}."),
    ),
)

NOISE = (
    Form(
        "age",
        "",
        "timeless",
        ("{a} is {n} years old.", "The age of {a} is {n} years.", "{a} will be {n} years old next year."),
        ("{a} will be {n} years old this year.", "The age of {a} will be {n} years."),
    ),
    Form(
        "distance",
        "",
        "timeless",
        (
            "{a} lives {n} miles from the school.",
            "The school of {a} is {n} miles away.",
            "{a} walks {n} miles every day.",
        ),
        ("{a} lives {n} miles away.", "{a} walks {n} miles away from the school."),
    ),
    Form(
        "visit",
        "",
        "timeless",
        (
            "{a} waits {n} minutes for the bus.",
            "The bus of {a} is {n} minutes late.",
            "{a} sits in the bus for {n} minutes.",
        ),
        ("{a} sits and waits for {n} minutes.", "For {n} minutes {a} waits for the bus."),
    ),
)

FACTS = (*STARTS, *GAINS_AND_LOSSES, *RATES, *SCALINGS, *MONEY, *NOISE)
RELATIONS = ("more", "fewer", "times_as", "fraction_as", "percent_as")
"""Start forms that also occur as events, after one of `NOW`: they then speak of the moment of telling."""
THEN = ("Then ", "Later ", "After that, ", "Next, ")
"""Openers of an event; they change nothing."""
NOW = ("At this point, ", "By now ", "Now ")
"""Openers that make a relation speak of the moment of telling."""
