"""Another method inside a method, in a round or as a member: what kind of student it makes, and how it trains one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, ValidationError

from feints.bench.serving import Learner
from feints.config import in_words
from feints.curate.choice import Chosen
from feints.errors import SettingsError
from feints.evaluate.solver import Majority, OneShot, Solver
from feints.generate.prompt import STUDENT
from feints.records import Form, Rationale

if TYPE_CHECKING:
    from feints.bench import Bench

ANOTHER = "take another method there, such as edit, nat or plain_cot"
NO_MEAN = "students with layers of their own, which have no mean; set method.mean_of to 1, or take another method there"


def _named(settings: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(settings.get("name"), str):
        raise ValueError("names no method; write it like {name: plain_cot}")
    return settings


InnerSettings = Annotated[dict[str, Any], AfterValidator(_named)]
"""A method by name, with its settings, as a setting of another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Makes:
    """What kind of student a method makes; one whose file has no `makes(config)` makes the usual kind."""

    one_text: bool = True
    """Whether it answers in one text, and not by several students or a vote of its own."""
    plain: bool = True
    """Whether it learns from the plain question's rationales and answers in words behind the plain prompt."""
    layers: bool = False
    """Whether it answers through layers of its own, which no mean of weights has."""
    causal: bool = False
    """Whether an encoder-decoder cannot learn so."""
    grows: bool = False
    """Whether it makes problems of its own, about which a method with rounds around it knows nothing."""
    words: bool = True
    """Whether its student answers in words, and not in a form that is executed."""


def made_by(method: Any, config: Any) -> Makes:
    """What kind of student `method` makes with these settings."""
    said: Callable[[Any], Makes] | None = getattr(method, "makes", None)
    return Makes() if said is None else said(config)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    """Another method that trains a student of this one: of a round, a member, the one that votes."""

    name: str
    """Its name on the shelf."""
    method: Any
    """Its file."""
    config: Any
    """Its settings."""

    @classmethod
    def of(
        cls, settings: Mapping[str, Any], find: Callable[[str], Any], *, mean_of: int = 1, any_prompt: bool = False
    ) -> Inner:
        """Read `name` and the settings of a method, before anything is paid.

        Args:
            settings: its name and its settings.
            find: the method of a name.
            mean_of: students whose weights will be averaged.
            any_prompt: whether its student is asked by its own solver; exams of rounds ask in words, by the plain
                prompt, and the rationales of a round answer the plain question.

        Raises:
            SettingsError: there is no such method, its settings cannot be used, or its student cannot be examined.
        """
        name = str(settings.get("name"))
        method = find(name)
        try:
            config = method.Config(**{key: value for key, value in settings.items() if key != "name"})
        except ValidationError as error:
            raise SettingsError(
                f"method.inner cannot be used as settings of {name}: {in_words(error, method.Config)}"
            ) from error
        made, asks = made_by(method, config), getattr(method, "asks", None)
        plain = made.plain and (asks is None or asks(config, 0).plain)
        if not made.one_text:
            raise SettingsError(
                f"method.inner: {name} with these settings answers by several texts, and here one student is examined "
                f"and sampled; {ANOTHER}"
            )
        if not (plain or any_prompt):
            raise SettingsError(
                f"method.inner: {name} with these settings asks the teacher, or its student, another question than the "
                f"plain one, and rounds ask and answer that one, in words; {ANOTHER}"
            )
        if made.grows and not any_prompt:
            raise SettingsError(
                f"method.inner: {name} makes problems of its own, which a method with rounds around it would not have "
                f"answered; {ANOTHER}, or {name} outside and the other one inside"
            )
        if mean_of > 1 and made.layers:
            raise SettingsError(f"method.inner: {name} trains {NO_MEAN}")
        return cls(name=name, method=method, config=config)

    @property
    def makes(self) -> Makes:
        """What kind of student it makes."""
        return made_by(self.method, self.config)

    def distil(self, bench: Bench) -> OneShot:
        """All that this method does, for a solver that writes one text an answer; see `one_text`."""
        return one_text(self.method.distil(bench, self.config), f"method.inner {self.name}")

    def train(self, bench: Bench, begin: Path, known: Chosen | None) -> Learner:
        """The student it trains on the bench of a round: its weights, or its solver where it has layers of its own.

        Args:
            bench: of the round.
            begin: the student it starts from.
            known: rationales that stand in for its first question to the teacher; None lets it ask.

        Raises:
            SettingsError: its solver is more than one student, or asks it otherwise than the exam of a round does.
        """
        from feints.generate.weights import weights_identity  # noqa: PLC0415  torch

        student = bench.student.model_copy(update={"model": str(begin)})
        inside = replace(bench, student=student, student_identity=weights_identity(begin))
        if known is not None:
            rows = known.piles.right + known.piles.wrong
            given = bench.run.table("1_rationales", "round", Rationale, ["round", known.address], lambda: rows)
            inside = replace(inside, given=given)
        solver = self.method.distil(inside, self.config)
        one = solver.inner if isinstance(solver, Majority) else solver
        if not isinstance(one, OneShot) or not isinstance(one.student, Path):
            raise SettingsError(
                f"a round examines one student, but {self.name} answers by {type(one).__name__}; {ANOTHER}"
            )
        if one.prompt != bench.prompt(STUDENT) or one.form is not Form.COT:
            raise SettingsError(
                f"a round examines in words, behind the prompt {STUDENT.id!r}, but the student of {self.name} answers "
                f"{one.prompt.id!r} in the form {one.form}; {ANOTHER}"
            )
        return one.student if type(one) is OneShot else one


def one_text(solver: Solver, whose: str) -> OneShot:
    """The solver that writes one text an answer, freed of the vote of the exam; `whose` names it in the error.

    Raises:
        SettingsError: it asks several times, so its samples are no single texts.
    """
    solver = solver.inner if isinstance(solver, Majority) else solver
    if isinstance(solver, OneShot):
        return solver
    raise SettingsError(
        f"the solver of {whose} is a {type(solver).__name__}, whose samples are not single texts; name one whose "
        "student answers in one text"
    )
