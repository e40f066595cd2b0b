"""Ensemble: several students, each trained by the same method with a seed of its own, vote or are averaged into one.

Two ideas known apart: networks trained from several seeds err differently, so that together they err less (deep
ensembles, Lakshminarayanan et al., NeurIPS 2017), and students that went out from the same weights can be averaged
(model soups, Wortsman et al., ICML 2022). For distillation from a teacher that is paid by the token: where `inner`
asks about the mistakes of its own student (`tailored`), each member has its own mistakes answered, and M members with a
share of the tokens each take as many as one that has them all.

Member 1 is what `inner` alone trains with this seed; the others' seeds are hashes of it. `combine: vote`
draws `samples` texts in turn from all of them and takes the answer most give (Wang et al., ICLR 2023). `combine: mean`
is one student with the mean of their weights, which costs no more to ask than any of them.

Departures: 1) members learn from the same problems and the same replies to the same question, not from a resampled set,
so that nothing is paid twice; what differs is the order, the chance in training, and what is asked about own mistakes.
2) Answers are counted, not probabilities averaged, since rationales that differ may share an answer. 3) All members
stand in the mean, none is chosen by held-back problems (soups add one at a time).

Control: one student of `inner`, as many samples; its teacher tokens are those of one member.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from feints import methods
from feints.bench import Bench
from feints.bench.inner import Inner, InnerSettings, Makes
from feints.config import CleanSettings
from feints.errors import SettingsError
from feints.evaluate.ensemble import Ensemble
from feints.evaluate.settings import ExamSettings
from feints.evaluate.solver import Majority, OneShot, Solver
from feints.records import content_hash

_NO_MEAN = "has layers of its own, which have no mean; set method.combine to vote, or take another method for inner"


class Config(CleanSettings):
    """Settings of an ensemble."""

    only_clean = "an ensemble of distilled students was released by nobody"

    inner: InnerSettings = Field(
        default={"name": "plain_cot"},
        description="Method by name with its settings that trains each member.",
        examples=[{"name": "mix"}],
    )
    members: int = Field(default=3, ge=1, description="M, students trained.")
    combine: Literal["vote", "mean"] = Field(
        default="vote", description="vote: their samples vote; mean: one student with the mean of their weights."
    )
    samples: int = Field(
        default=48, ge=1, description="Of all members together in a vote; exam.votes, if above 1, instead."
    )


def distil(bench: Bench, config: Config) -> Solver:
    """Train the members one after the other; let them vote, or average them.

    Raises:
        SettingsError: a vote of fewer samples than members, or students that have no mean.
    """
    inner, samples = _inner(config), _samples(config, bench.exam)
    members = [_member(bench, inner, number) for number in range(config.members)]
    if config.combine == "mean":
        first = members[0]
        return bench.one_shot(bench.mean([_weights(one) for one in members]), first.prompt, form=first.form)
    for one in members:
        one.sampling = bench.exam.drawn
    return Majority(Ensemble(members), samples)


def _samples(config: Config, exam: ExamSettings) -> int:
    """How many samples vote.

    Raises:
        SettingsError: fewer than there are students.
    """
    samples = exam.votes if exam.votes > 1 else config.samples
    if config.combine == "vote" and samples < config.members:
        raise SettingsError(
            f"{samples} samples of {config.members} students leave some without a voice; raise exam.votes or "
            "method.samples, or lower method.members"
        )
    return samples


def _member(bench: Bench, inner: Inner, number: int) -> OneShot:
    """A student of `inner`; the first lies where that method alone would put it, and is shared with it."""
    if number:
        run = bench.run.within(f"member_{number + 1}")
        bench = replace(bench, run=run, seed=seed_of(bench.seed, number))
    return inner.distil(bench)


def seed_of(seed: int, number: int) -> int:
    """Training seed of a member, unlike those of the members of any other seed."""
    return int(content_hash("member", seed, number)[:6], 16) if number else seed


def _weights(member: OneShot) -> Path:
    """The folder of a member that is nothing but weights.

    Raises:
        SettingsError: it is more, which `_inner` could not tell of a method by another package.
    """
    if type(member) is OneShot and isinstance(member.student, Path):
        return member.student
    raise SettingsError(f"{type(member).__name__} {_NO_MEAN}")


def _inner(config: Config) -> Inner:
    """The method that trains a member.

    Raises:
        SettingsError: there is none, or its students have no mean where one is wanted.
    """
    inner = Inner.of(config.inner, methods.find, any_prompt=True)
    if config.combine == "mean" and inner.makes.layers:
        raise SettingsError(f"method.inner: {inner.name} {_NO_MEAN}")
    return inner


def check(config: Config, start: methods.Start) -> None:
    """Look at the number of samples."""
    _samples(config, start.exam)


def asks(config: Config, sampled: int) -> methods.Asks:
    """What `inner` asks at most besides the plain question, for each member; what they ask alike is paid once."""
    inner = _inner(config)
    asked = methods.asked(inner.method, inner.config, sampled)
    tokens = None if asked.tokens is None else config.members * asked.tokens
    return replace(asked, further=config.members * asked.further, tokens=tokens)


def makes(config: Config) -> Makes:
    """What `inner` makes, unless they vote."""
    inner = _inner(config)
    return replace(inner.makes, one_text=config.combine == "mean")


def control(config: Config) -> Config | None:
    """One student and as many samples; None for the control itself."""
    return config.model_copy(update={"members": 1}) if config.members > 1 else None


def arm(config: Config) -> tuple[str, str]:
    """Name and explanation for tables."""
    by = config.inner["name"]
    many = f"{config.members} students" if config.members > 1 else "one student"
    if config.combine == "mean":
        return f"mean_{config.members}-{by}", f"mean weights of {many} of {by}"
    return (
        f"ensemble_{config.members}-{by}",
        f"samples of {many} of {by} vote, exam.votes of them, or {config.samples} where that is 1",
    )
