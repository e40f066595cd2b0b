"""The scripted lab teacher: sees only chat messages, like a language model, and answers in the OpenAI shape."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from feints.errors import DataError
from feints.lab.mistakes import Mistake, MistakeKind
from feints.lab.prompts import Ask, Wanted, understand
from feints.lab.reader import read
from feints.lab.reading import Reading
from feints.lab.teacher_envelope import Asked, read_body, reply
from feints.lab.teacher_replies import Author, Said
from feints.lab.teacher_settings import LabTeacherSettings
from feints.lab.teacher_texts import NO_PROBLEM
from feints.lab.teacher_working import Bungler
from feints.lab.world import WORLD_VERSION
from feints.records import content_hash

TEACHER_VERSION = 2
"""Changing anything the teacher says raises this; recorded results of another version are void.

A request that no recorded run made, such as for a kind of error, may be understood anew without.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What the teacher did in one reply; it never appears in the reply."""

    ask: Ask | None
    """What it took to be wanted; None where it found no problem."""
    question: str
    """The problem it found, "" for none."""
    gold: int | None
    """The right answer."""
    answer: int | None
    """The answer it gave."""
    mistakes: tuple[Mistake, ...] = ()
    """Mistakes made on purpose, in the order of the steps."""
    chances: tuple[Mistake, ...] = ()
    """Mistakes it could have made where it was free to: the denominator of the rates."""
    compensated: bool = False
    """Whether two mistakes were made so as to cancel."""
    failure: str = ""
    """refused, rambling, no_answer; "" for a proper reply."""
    label: str = ""
    """The label it gave (label only)."""
    text: str = ""
    """The whole reply, before any cut."""

    @property
    def right(self) -> bool:
        """Whether the right answer was given."""
        return self.answer is not None and self.answer == self.gold

    @property
    def kinds(self) -> tuple[MistakeKind, ...]:
        """Kinds of mistakes made, each once, in order."""
        return tuple(dict.fromkeys(mistake.kind for mistake in self.mistakes))


@lru_cache(maxsize=20_000)
def read_or_none(question: str) -> Reading | None:
    """The problem understood; None where the text is none."""
    try:
        return read(question)
    except DataError:
        return None


def _given(question: str, text: str) -> tuple[bool, bool]:
    """Whether a text states the core question of a problem, and any of its useful facts."""
    reading = read_or_none(question)
    if reading is None:
        return False, False
    core = reading.core_question.rstrip("?").lower()
    return core in text.lower(), any(fact in text for fact in reading.useful)


@lru_cache(maxsize=5_000)
def _understood(turns: tuple[tuple[str, str], ...]) -> Wanted | None:
    return understand(list(turns), lambda text: read_or_none(text) is not None, _given)


class LabTeacher:
    """Answers OpenAI-shaped request bodies; the same body with the same seed gets the same reply."""

    def __init__(self, settings: LabTeacherSettings | None = None) -> None:
        self.settings = settings or LabTeacherSettings()
        self.model = self._name()
        self._author = Author(self.settings, Bungler(self.settings.mistakes))
        self._unseeded: Counter[str] = Counter()

    def _name(self) -> str:
        """Name shown by the server and sent back in replies; it ends in a hash of the identity."""
        mark = content_hash(self.identity, digits=6)
        return f"lab-teacher-v{TEACHER_VERSION}-{self.settings.mistakes.regime}-{mark}"

    @property
    def identity(self) -> str:
        """World version, teacher version, regime and every rate: what recorded results are tied to."""
        mistakes = asdict(self.settings.mistakes)
        rates = {**mistakes, **{name: value for name, value in asdict(self.settings).items() if name != "mistakes"}}
        shown = " ".join(f"{name}={value}" for name, value in rates.items())
        return f"lab-teacher v{TEACHER_VERSION} world v{WORLD_VERSION} {shown}"

    def respond(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a chat-completions body (`messages`) or a completions body (`prompt`).

        Without a seed, every further call with the same body gets a further sample, as from a model.

        Raises:
            ValueError: the body is not a request in the OpenAI shape.
        """
        asked = read_body(body)
        return reply(asked, self.model, [said.text for said in self._said(asked, self._seed(asked))])

    def explain(self, body: Mapping[str, Any]) -> tuple[Truth, ...]:
        """What the teacher does in reply to a body, one record per choice, found by doing it again.

        For a body without a seed: what the first call gets.

        Raises:
            ValueError: as `respond`.
        """
        asked = read_body(body)
        wanted = _understood(asked.turns)
        reading = read_or_none(wanted.question) if wanted else None
        seed = (asked.seed, 0)
        return tuple(
            Truth(
                ask=wanted.ask if wanted else None,
                question=wanted.question if wanted else "",
                gold=reading.answer if reading else None,
                answer=said.answer,
                mistakes=said.mistakes,
                chances=said.chances,
                compensated=said.compensated,
                failure=said.failure,
                label=said.label,
                text=said.text,
            )
            for said in self._said(asked, seed, counting=True)
        )

    def _seed(self, asked: Asked) -> tuple[int | None, int]:
        if asked.seed is not None or asked.temperature == 0:
            return asked.seed, 0
        key = content_hash(asked.turns, asked.temperature, digits=16)
        self._unseeded[key] += 1
        return None, self._unseeded[key] - 1

    def _said(self, asked: Asked, seed: tuple[int | None, int], counting: bool = False) -> Sequence[Said]:
        wanted = _understood(asked.turns)
        reading = read_or_none(wanted.question) if wanted else None
        if wanted is None or reading is None:
            return [Said(text=NO_PROBLEM)] * asked.n
        if asked.temperature == 0:
            # Greedy: nothing but the messages decides.
            rng = random.Random(content_hash("lab teacher", TEACHER_VERSION, asked.turns))
            return [self._author.say(wanted, reading, rng, 0.0, counting)] * asked.n
        draws = (
            random.Random(content_hash("lab teacher", TEACHER_VERSION, asked.turns, *seed, index))
            for index in range(asked.n)
        )
        return [self._author.say(wanted, reading, rng, asked.temperature, counting) for rng in draws]
