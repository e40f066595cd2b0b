"""The lab's small dictionary: who, what, how packed, and the unit facts a solver has to know."""

from __future__ import annotations

from dataclasses import dataclass

HE_NAMES = ("Tom", "Sam", "Ben", "Leo", "Max", "Dan", "Jack", "Paul", "Omar", "Hugo", "Karl", "Ivan")
SHE_NAMES = ("Ann", "Mia", "Eva", "Zoe", "Ida", "Amy", "Lucy", "Rosa", "Lena", "Nina", "Sara", "Ruth")
NAMES = HE_NAMES + SHE_NAMES
"""Everybody who can own something."""

POSSESSIVE = {**dict.fromkeys(HE_NAMES, "his"), **dict.fromkeys(SHE_NAMES, "her")}
PRONOUN = {**dict.fromkeys(HE_NAMES, "he"), **dict.fromkeys(SHE_NAMES, "she")}


@dataclass(frozen=True, slots=True)
class UnitFact:
    """Something a solver must know that the text does not say."""

    name: str
    """What is converted, for example "dozen"; unique."""
    value: int
    """How many small units make one (for a percentage: the whole is divided by this)."""
    statement: str
    """The fact as a sentence with {value} for the number, without a full stop."""

    def say(self, value: int | None = None) -> str:
        """The sentence, with the true value unless another is given."""
        return self.statement.format(value=self.value if value is None else value)


DOZEN = UnitFact("dozen", 12, "A dozen is {value}")
PAIR = UnitFact("pair", 2, "A pair is {value}")
FOOT = UnitFact("foot", 12, "A foot is {value} inches")
YARD = UnitFact("yard", 3, "A yard is {value} feet")
POUND = UnitFact("pound", 16, "A pound is {value} ounces")
MUSIC_HOUR = UnitFact("hour", 60, "An hour is {value} minutes")
HOLIDAY_WEEK = UnitFact("week", 7, "A week is {value} days")
YEAR = UnitFact("year", 12, "A year is {value} months")
DAY = UnitFact("day", 24, "A day is {value} hours")
PERCENT = {
    percent: UnitFact(f"{percent} percent", 100 // percent, f"{percent} percent is one in {{value}}")
    for percent in (10, 20, 25, 50)
}
UNIT_FACTS = (DOZEN, PAIR, FOOT, YARD, POUND, MUSIC_HOUR, HOLIDAY_WEEK, YEAR, DAY, *PERCENT.values())
"""Every unit fact of the world."""


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that can be counted."""

    one: str
    """Singular, for example "apple" or "inch of rope"."""
    many: str
    """Plural; also the unit of a number of them."""
    sort: str = "count"
    """count, matter (rope, cloth), time (music, holiday) or money: which events make sense."""
    big: str = ""
    """The larger unit as it stands in a sentence, for example "dozen apples"; "" when there is none."""
    unit_fact: UnitFact | None = None
    """How many of these one of `big` is."""


def _counted(one: str, many: str = "") -> Thing:
    many = many or one + "s"
    return Thing(one, many, "count", f"dozen {many}", DOZEN)


DOLLARS = Thing("dollar", "dollars", "money")
COUNTED = (
    *(_counted(one) for one in ("apple", "pear", "plum", "lemon", "egg", "cookie", "cake", "marble", "shell")),
    *(_counted(one) for one in ("stone", "card", "stamp", "sticker", "book", "pen", "pencil", "ball", "bead")),
    *(_counted(one) for one in ("button", "flower", "ticket", "toy", "kite", "nut", "candle", "ring", "doll")),
    Thing("glove", "gloves", "count", "pairs of gloves", PAIR),
    Thing("sock", "socks", "count", "pairs of socks", PAIR),
    Thing("shoe", "shoes", "count", "pairs of shoes", PAIR),
)
MEASURED = (
    Thing("inch of rope", "inches of rope", "matter", "feet of rope", FOOT),
    Thing("foot of cloth", "feet of cloth", "matter", "yards of cloth", YARD),
    Thing("ounce of flour", "ounces of flour", "matter", "pounds of flour", POUND),
    Thing("minute of music", "minutes of music", "time", "hours of music", MUSIC_HOUR),
    Thing("day of holiday", "days of holiday", "time", "weeks of holiday", HOLIDAY_WEEK),
)
THINGS = (*COUNTED, *MEASURED, DOLLARS)
THING_BY_MANY = {thing.many: thing for thing in THINGS}
THING_BY_ONE = {thing.one: thing for thing in (*COUNTED, *MEASURED)}
THING_BY_BIG = {thing.big: thing for thing in THINGS if thing.big}

CONTAINERS = {"bag": "bags", "box": "boxes", "basket": "baskets", "crate": "crates", "tray": "trays", "jar": "jars"}
CONTAINER_BY_MANY = {many: one for one, many in CONTAINERS.items()}

PERIODS = {"minute": "minutes", "hour": "hours", "day": "days", "week": "weeks", "month": "months", "year": "years"}
PERIOD_BY_MANY = {many: one for one, many in PERIODS.items()}
PERIOD_FACTS = {
    ("day", "week"): HOLIDAY_WEEK,
    ("month", "year"): YEAR,
    ("hour", "day"): DAY,
    ("minute", "hour"): MUSIC_HOUR,
}
"""(small, large) -> how many small ones make a large one."""

TIMES = {"twice": 2, "three times": 3, "four times": 4, "five times": 5}
FRACTIONS = {"half": 2, "a third": 3, "a quarter": 4, "a fifth": 5}
MULTIPLY_VERBS = {"doubles": 2, "triples": 3}

LEXICON: dict[str, tuple[str, ...]] = {
    "P": NAMES,
    "O": tuple(THING_BY_MANY),
    "S": tuple(THING_BY_ONE),
    "Q": tuple(THING_BY_BIG),
    "K": tuple(CONTAINER_BY_MANY),
    "J": tuple(CONTAINERS),
    "W": tuple(PERIODS),
    "V": tuple(PERIOD_BY_MANY),
    "T": tuple(TIMES),
    "F": tuple(FRACTIONS),
    "D": tuple(MULTIPLY_VERBS),
    "H": ("his", "her"),
    "G": ("he", "she"),
}
"""Slot class -> the phrases that can fill it; numbers are the class N."""

SLOT_CLASS = {
    **dict.fromkeys(("a", "b", "c"), "P"),
    **dict.fromkeys(("n", "m"), "N"),
    **{"o": "O", "s": "S", "q": "Q", "k": "K", "j": "J", "w": "W", "v": "V", "t": "T", "f": "F", "d": "D"},
    **{"his": "H", "he": "G"},
}
"""Name of a slot in a template -> its class."""
