"""Solvers that ask several students: a chain in which each reads what the ones before wrote, and a fallback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from feints.errors import DataError
from feints.evaluate.solver import Judged, OneShot, Sampler, answer_with, write_solver
from feints.generate.source import Request, Sampling
from feints.records import Answer, Problem, content_hash

FINAL = "solution"


@dataclass(frozen=True, slots=True)
class Link:
    """One stage before the last: who writes, and where what it writes goes."""

    slot: str
    """Slot of the later prompts that its text fills."""
    head: str
    """What stands before the text there."""
    shot: OneShot
    """Who writes it; greedily, whatever the exam's sampling."""


class Chain:
    """Key points first, one stage after the other, then the solution that reads them (KPDD, Sci-CoT).

    Key points are written once for all solutions asked for at once (greedily, so the same each time). Where written key
    points make the prompt longer than the student's context, the problem is answered without them.
    """

    def __init__(self, links: Sequence[Link], final: OneShot) -> None:
        self.links, self.final = tuple(links), final

    @property
    def sampling(self) -> Sampling:
        """How solutions are drawn."""
        return self.final.sampling

    @property
    def identity(self) -> str:
        """See `Solver.identity`."""
        return content_hash(
            "chain", [[link.slot, link.head, link.shot.identity] for link in self.links], self.final.identity
        )

    def solve(self, problems: Sequence[Problem], seed: int) -> list[Answer]:
        """See `Solver.solve`."""
        judged = self.sample(problems, 1, seed)
        return [answer_with(problem, own, 0) for problem, own in zip(problems, judged, strict=True)]

    def sample(self, problems: Sequence[Problem], samples: int, seed: int, *, first: int = 0) -> list[list[Judged]]:
        """See `Sampler.sample`; the tokens of the key points are counted with the first sample drawn."""
        filled, spent = self.key_points(problems, seed)
        judged = self.final.sample(problems, samples, seed, filled, first=first)
        return [_paid(own, tokens if first == 0 else 0) for own, tokens in zip(judged, spent, strict=True)]

    def solve_given(
        self, problems: Sequence[Problem], key_points: Sequence[Mapping[str, str]], seed: int
    ) -> list[Answer]:
        """Answers on key points from elsewhere (oracle mode); the stages before the last are never asked.

        Args:
            problems: what is asked.
            key_points: for each problem, the text for each slot, without its head.
            seed: of the exam's sampling.
        """
        filled = [self._headed(own) for own in key_points]
        judged = self.final.sample(problems, 1, seed, filled)
        return [answer_with(problem, own, 0) for problem, own in zip(problems, judged, strict=True)]

    def key_points(self, problems: Sequence[Problem], seed: int) -> tuple[list[dict[str, str]], list[int]]:
        """What the stages before the last write, for each problem: text by slot, heads included, and tokens spent."""
        self._share_weights()
        filled: list[dict[str, str]] = [{} for _ in problems]
        spent = [0] * len(problems)
        for place, link in enumerate(self.links):
            told = [{slot: own[slot] for slot in link.shot.prompt.slots} for own in filled]
            reader = self.links[place + 1].shot if place + 1 < len(self.links) else self.final
            for at, (said,) in enumerate(link.shot.write(problems, 1, seed, told)):
                spent[at] += said.usage.completion_tokens
                filled[at][link.slot] = link.head + said.text if said.text else ""
            for at in self._too_long(reader, problems, filled, seed):
                filled[at] = {slot: "" for slot in filled[at]}
        return [{slot: own[slot] for slot in self.final.prompt.slots} for own in filled], spent

    def _headed(self, key_points: Mapping[str, str]) -> dict[str, str]:
        heads = {link.slot: link.head for link in self.links}
        return {slot: heads[slot] + text if (text := key_points[slot]) else "" for slot in self.final.prompt.slots}

    def _too_long(
        self, reader: OneShot, problems: Sequence[Problem], filled: Sequence[Mapping[str, str]], seed: int
    ) -> list[int]:
        too_long = getattr(reader.source, "too_long", None)
        if too_long is None:
            return []
        requests = [
            Request(
                messages=reader.prompt.messages(problem, **{slot: own[slot] for slot in reader.prompt.slots}),
                sampling=reader.sampling,
                sample_index=0,
                seed=seed,
            )
            for problem, own in zip(problems, filled, strict=True)
        ]
        return list(too_long(requests))

    def _share_weights(self) -> None:
        """Stages of one student hold its weights once."""
        shots = [*(link.shot for link in self.links), self.final]
        for place, shot in enumerate(shots):
            owner = next(other for other in shots[: place + 1] if _same_weights(other, shot))
            if owner is not shot:
                shot.borrow(owner)

    def save(self, folder: Path) -> None:
        """See `Solver.save`."""
        shots = {link.slot: link.shot for link in self.links} | {FINAL: self.final}
        links = [[link.slot, link.head] for link in self.links]
        write_solver(folder, self, {"links": links, "shots": save_shots(folder, shots)})

    @classmethod
    def load(cls, folder: Path, settings: Mapping[str, Any]) -> Self:
        """The solver `save` wrote; see `load_solver`."""
        shots = load_shots(folder, settings["shots"])
        return cls([Link(slot, head, shots[slot]) for slot, head in settings["links"]], shots[FINAL])


class Fallback:
    """One form first, the next where it leaves no value, and so on (ETD, KPDD-A7).

    A later form writes only the samples that the ones before left without a value, and what those spent is counted;
    which form answered shows in the checker's name of the verdict.
    """

    def __init__(self, shots: Sequence[OneShot]) -> None:
        if not shots:
            raise DataError("a fallback over no solvers answers nothing; give at least one")
        self.shots = tuple(shots)

    @property
    def sampling(self) -> Sampling:
        """How texts are drawn."""
        return self.shots[0].sampling

    @property
    def identity(self) -> str:
        """See `Solver.identity`."""
        return content_hash("fallback", [shot.identity for shot in self.shots])

    def solve(self, problems: Sequence[Problem], seed: int) -> list[Answer]:
        """See `Solver.solve`."""
        judged = self.sample(problems, 1, seed)
        return [answer_with(problem, own, 0) for problem, own in zip(problems, judged, strict=True)]

    def sample(self, problems: Sequence[Problem], samples: int, seed: int, *, first: int = 0) -> list[list[Judged]]:
        """See `Sampler.sample`."""
        judged = self.shots[0].sample(problems, samples, seed, first=first)
        for shot in self.shots[1:]:
            if _same_weights(self.shots[0], shot):
                shot.borrow(self.shots[0])
            for place in range(samples):
                failed = [at for at, own in enumerate(judged) if own[place][1].extracted is None]
                again = shot.sample([problems[at] for at in failed], 1, seed, first=first + place) if failed else []
                for at, (other,) in zip(failed, again, strict=True):
                    judged[at][place] = _instead(judged[at][place], other)
        return judged

    def save(self, folder: Path) -> None:
        """See `Solver.save`."""
        shots = {f"form_{place}": shot for place, shot in enumerate(self.shots)}
        write_solver(folder, self, {"shots": save_shots(folder, shots)})

    @classmethod
    def load(cls, folder: Path, settings: Mapping[str, Any]) -> Self:
        """The solver `save` wrote; see `load_solver`."""
        return cls(list(load_shots(folder, settings["shots"]).values()))


def save_shots(folder: Path, shots: Mapping[str, OneShot]) -> dict[str, dict[str, Any]]:
    """Write each student once, however many stages it answers; the settings `load_shots` needs."""
    owners: dict[str, OneShot] = {}
    settings: dict[str, dict[str, Any]] = {}
    for name, shot in shots.items():
        owner = next((known for known, other in owners.items() if _same_weights(other, shot)), None)
        if owner is None:
            owner = name
            owners[name] = shot
            shot.save(folder / name)
        settings[name] = {
            "owner": owner,
            "prompt": asdict(shot.prompt),
            "sampling": asdict(shot.sampling),
            "source": shot.source_settings,
            "form": shot.form,
        }
    return settings


def load_shots(folder: Path, settings: Mapping[str, Mapping[str, Any]]) -> dict[str, OneShot]:
    """What `save_shots` wrote."""
    return {name: OneShot.load(folder / own["owner"], own) for name, own in settings.items()}


def _same_weights(one: OneShot, other: OneShot) -> bool:
    if one is other:
        return True
    return one.student == other.student and one.source_settings == other.source_settings


def _paid(own: Sequence[Judged], tokens: int) -> list[Judged]:
    """The samples, with `tokens` more spent on the first."""
    (completion, verdict), *others = own
    usage = replace(completion.usage, completion_tokens=completion.usage.completion_tokens + tokens)
    return [(replace(completion, usage=usage), verdict), *others]


def _instead(one: Judged, other: Judged) -> Judged:
    """The other sample, with what both spent."""
    return _paid([other], one[0].usage.completion_tokens)[0]


_: tuple[type[Sampler], ...] = (Chain, Fallback)
