"""Solvers: what every method returns, saved to a folder and loaded back; one shot, and majority of several."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

from rich.console import Console

from feints.config import load_added
from feints.errors import DataError, SettingsError, StudentError, UnknownNameError, VersionError
from feints.evaluate.vote import Key, by_answer, vote
from feints.generate.ledger import Ledger
from feints.generate.progress import SamplingProgress
from feints.generate.prompt import STUDENT, Prompt
from feints.generate.sample import complete_all
from feints.generate.source import Completion, Request, Sampling, TextSource
from feints.records import Answer, Finish, Form, Problem, Verdict, content_hash
from feints.verify.pool import CheckerPool

SOLVER_FILE = "solver.json"
SOLVER_VERSION = 1
"""Written into solver.json; another version is refused."""
ENTRY_POINTS = "feints.solvers"
"""Group in which other packages name their solvers."""
_STUDENT = "student"
_INNER = "solver"
Judged = tuple[Completion, Verdict]


@runtime_checkable
class Solver(Protocol):
    """Answers problems. A class of solvers also has `load(folder, settings) -> Self`, see `load_solver`."""

    @property
    def identity(self) -> str:
        """Hash of all that decides the answers; equal identity and seed, equal answers."""
        ...

    def solve(self, problems: Sequence[Problem], seed: int) -> list[Answer]:
        """One answer per problem, in order, none missing; the same seed gives the same answers."""
        ...

    def save(self, folder: Path) -> None:
        """Write all that is needed to answer again, and nothing that lies elsewhere."""
        ...


@runtime_checkable
class Sampler(Solver, Protocol):
    """A solver that can draw several texts per problem, and so can vote."""

    @property
    def sampling(self) -> Sampling:
        """How texts are drawn."""
        ...

    def sample(self, problems: Sequence[Problem], samples: int, seed: int, *, first: int = 0) -> list[list[Judged]]:
        """`samples` completions per problem with their verdicts, problems in order, samples by index from `first` on.

        Drawn in several calls they are the same as drawn in one.
        """
        ...


def write_solver(folder: Path, solver: Solver, settings: Mapping[str, Any]) -> None:
    """Write solver.json: the name of the class and the settings its `load` will be given.

    Raises:
        SettingsError: the class lives outside feints and no entry point names it, so it could not be loaded.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = {"version": SOLVER_VERSION, "solver": _name_of(type(solver)), "settings": dict(settings)}
    (folder / SOLVER_FILE).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_solver(folder: str | Path) -> Solver:
    """The solver saved in `folder`.

    Only classes of the feints package, and those other packages name in the entry-point group
    `feints.solvers`, are ever imported: a folder from elsewhere cannot run code of its own.

    Raises:
        DataError: there is no solver.json, or it cannot be read.
        VersionError: another version wrote it.
        UnknownNameError: no installed package has such a solver.
    """
    folder = Path(folder)
    path = folder / SOLVER_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version, name, settings = content["version"], str(content["solver"]), content["settings"]
    except OSError as error:
        raise DataError(f"{folder} holds no {SOLVER_FILE}; name the folder a solver was saved to") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read ({error}); save the solver again") from error
    if version != SOLVER_VERSION:
        raise VersionError(
            f"{path} has version {version}, this feints reads {SOLVER_VERSION}; use the one that wrote it"
        )
    solver: Solver = _class_of(name).load(folder, settings)
    return solver


def load_sampler(folder: Path) -> Sampler:
    """The solver saved in `folder`, for a vote over its samples.

    Raises:
        DataError: it draws none; and as `load_solver` does.
    """
    if isinstance(solver := load_solver(folder), Sampler):
        return solver
    raise DataError(f"{folder} holds a {type(solver).__name__}, which draws no samples; save the solver again")


def _name_of(kind: type) -> str:
    if kind.__module__.partition(".")[0] == "feints" and "." not in kind.__qualname__:
        return f"{kind.__module__}:{kind.__name__}"
    for point in entry_points(group=ENTRY_POINTS):
        if point.value == f"{kind.__module__}:{kind.__qualname__}":
            return point.name
    raise SettingsError(
        f"{kind.__module__}.{kind.__qualname__} cannot be saved, since nothing could load it back; let its package "
        f"name it in the entry-point group {ENTRY_POINTS}"
    )


def _class_of(name: str) -> Any:
    points = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name in points:
        return load_added("solver", points[name])
    module, _, attribute = name.partition(":")
    if module.partition(".")[0] == "feints" and all(part.isidentifier() for part in [*module.split("."), attribute]):
        try:
            found = getattr(importlib.import_module(module), attribute, None)
        except ModuleNotFoundError:
            found = None
        if isinstance(found, type) and found.__module__ == module and _is_solver(found):
            return found
    raise UnknownNameError("solver", name, [*points, _name_of(OneShot), _name_of(Majority)])


def _is_solver(kind: type) -> bool:
    return all(callable(getattr(kind, name, None)) for name in ("solve", "save", "load")) and kind is not Solver


class OneShot:
    """One text per problem: the prompt, the student, the checker.

    Greedy at temperature 0; sampled otherwise, by a random stream per problem that `seed` names.
    """

    def __init__(
        self,
        student: str | Path | TextSource,
        prompt: Prompt = STUDENT,
        sampling: Sampling | None = None,
        ledger: Ledger | None = None,
        checker: CheckerPool | None = None,
        source_settings: Mapping[str, Any] | None = None,
        device: str | None = None,
        form: Form = Form.COT,
        console: Console | None = None,
    ) -> None:
        """Answer with `student`.

        Args:
            student: a folder or hub id of weights, loaded when first asked, or any text source (which can
                solve but not be saved).
            prompt: the one the student was trained with.
            sampling: None is greedy with the usual limit.
            ledger: where completions are kept; None keeps none.
            checker: judges the answers; None takes a pool for the time of each exam.
            source_settings: fields of `LocalSettings` for a student of one's own.
            device: where it runs; None takes a GPU where there is one. It is no part of what is saved.
            form: what it writes; a program, equations or constraints are executed.
            console: where progress goes; None is standard error.
        """
        self.student, self.prompt = student, prompt
        self.sampling = sampling or Sampling()
        self.ledger, self.checker = ledger, checker
        self.source_settings, self.device = dict(source_settings or {}), device
        self.form, self.console = form, console
        self._source: TextSource | None = None

    @property
    def source(self) -> TextSource:
        """The text source that answers; the student's weights are loaded the first time.

        Raises:
            StudentError: weights or tokenizer cannot be used.
        """
        if self._source is None:
            self._source = self.load_source() if isinstance(self.student, str | Path) else self.student
        return self._source

    def borrow(self, other: OneShot) -> None:
        """Answer with the weights another solver of the same student has loaded."""
        self._source = other.source

    @property
    def identity(self) -> str:
        """See `Solver.identity`; a student's files are hashed, not loaded."""
        if isinstance(self.student, str | Path):
            from feints.generate.weights import local_folder, weights_identity  # noqa: PLC0415 (torch)

            who = weights_identity(local_folder(self.student))
        else:
            who = self.student.identity
        form = [] if self.form is Form.COT else [self.form]  # words alone keep the hash they always had
        return content_hash("one shot", who, self.prompt.hash, asdict(self.sampling), self.source_settings, *form)

    def load_source(self) -> TextSource:
        """Load the student's folder; a solver whose student has layers of its own is a subclass that overrides this.

        Raises:
            StudentError: weights or tokenizer cannot be used.
        """
        from feints.generate.local import LocalSettings, LocalSource  # noqa: PLC0415 (torch)

        assert isinstance(self.student, str | Path)
        return LocalSource.from_folder(self.student, LocalSettings(**self.source_settings), self.device)

    def solve(self, problems: Sequence[Problem], seed: int) -> list[Answer]:
        """See `Solver.solve`."""
        judged = self.sample(problems, 1, seed)
        return [answer_with(problem, own, 0) for problem, own in zip(problems, judged, strict=True)]

    def sample(
        self,
        problems: Sequence[Problem],
        samples: int,
        seed: int,
        filled: Sequence[Mapping[str, str]] | None = None,
        *,
        first: int = 0,
    ) -> list[list[Judged]]:
        """`write`, with a verdict on each completion; see `Sampler.sample`."""
        written = self.write(problems, samples, seed, filled, first=first)
        items = [(p, c.text, c.thinking, c.finish) for p, own in zip(problems, written, strict=True) for c in own]
        if self.checker is not None:
            verdicts = self.checker.check_all(items, self.form)
        else:
            with CheckerPool() as pool:
                verdicts = pool.check_all(items, self.form)
        said = iter(verdicts)
        return [[(completion, next(said)) for completion in own] for own in written]

    def write(
        self,
        problems: Sequence[Problem],
        samples: int,
        seed: int,
        filled: Sequence[Mapping[str, str]] | None = None,
        *,
        first: int = 0,
    ) -> list[list[Completion]]:
        """`samples` completions per problem, unjudged: a stage of a solver that asks several times.

        Args:
            problems: what is asked.
            samples: texts of each.
            seed: of the random streams.
            filled: for each problem, texts for the prompt's further slots.
            first: index of the first of them.

        Raises:
            StudentError: a prompt does not fit the student's context; the problems are named.
        """
        requests = [
            Request(messages=self.prompt.messages(problem, **own), sampling=self.sampling, sample_index=at, seed=seed)
            for problem, own in zip(problems, filled or [{}] * len(problems), strict=True)
            for at in range(first, first + samples)
        ]
        self._require_room(problems, requests, samples)
        with SamplingProgress(self.console, "answering") as progress:
            completions = complete_all(self.source, requests, ledger=self.ledger, observer=progress)
        return [list(completions[start : start + samples]) for start in range(0, len(completions), samples)]

    def _require_room(self, problems: Sequence[Problem], requests: Sequence[Request], samples: int) -> None:
        too_long = getattr(self.source, "too_long", None)
        places = too_long(requests) if too_long else []
        if names := list(dict.fromkeys(problems[place // samples].id for place in places)):
            shown = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
            raise StudentError(
                f"the prompts of {len(names)} of {len(problems)} problems are longer than the student's context: "
                f"{shown}; leave them out, shorten the prompt {self.prompt.id!r}, or take a longer student"
            )

    def save(self, folder: Path) -> None:
        """See `Solver.save`: copies the student's folder.

        Raises:
            SettingsError: the student is a text source without a folder of its own.
        """
        if not isinstance(self.student, str | Path):
            raise SettingsError(
                f"a solver on {self.student.identity} cannot be saved, since its weights are not here; give OneShot "
                "the folder of a student"
            )
        from feints.generate.weights import local_folder  # noqa: PLC0415 (torch)

        folder.mkdir(parents=True, exist_ok=True)
        kept, target = local_folder(self.student), folder / _STUDENT
        if kept.resolve() != target.resolve():
            shutil.copytree(kept, target, dirs_exist_ok=True)
        settings = {"prompt": asdict(self.prompt), "sampling": asdict(self.sampling), "source": self.source_settings}
        write_solver(folder, self, {**settings, "form": self.form})

    @classmethod
    def load(cls, folder: Path, settings: Mapping[str, Any]) -> Self:
        """The solver `save` wrote; see `load_solver`."""
        prompt, sampling = dict(settings["prompt"]), dict(settings["sampling"])
        prompt["shots"] = tuple((question, reply) for question, reply in prompt["shots"])
        sampling["stop"] = tuple(sampling["stop"])
        form = Form(settings.get("form", Form.COT))
        return cls(
            folder / _STUDENT, Prompt(**prompt), Sampling(**sampling), source_settings=settings["source"], form=form
        )


class Majority:
    """The answer most samples give (Wang et al. 2023): normalised answers, the first one of a tie.

    Every sample in which an answer could be read votes, whatever its verdict, so that no look at the
    gold answer decides who votes.
    """

    def __init__(self, inner: Sampler, samples: int) -> None:
        """Vote over `samples` texts of `inner` per problem.

        Raises:
            SettingsError: no samples, or several of a greedy solver, which would all be one text.
        """
        if samples < 1 or (samples > 1 and inner.sampling.temperature == 0):
            raise SettingsError(
                f"a majority of {samples} samples at temperature {inner.sampling.temperature:g} is none; sample at "
                "least one, and several only at a temperature above 0"
            )
        self.inner, self.samples = inner, samples

    @property
    def key(self) -> Key:
        """How it tells answers apart."""
        return by_answer

    @property
    def identity(self) -> str:
        """See `Solver.identity`."""
        return content_hash("majority", self.inner.identity, self.samples)

    def solve(self, problems: Sequence[Problem], seed: int) -> list[Answer]:
        """See `Solver.solve`."""
        judged = self.inner.sample(problems, self.samples, seed)
        return [_voted(problem, own) for problem, own in zip(problems, judged, strict=True)]

    def save(self, folder: Path) -> None:
        """See `Solver.save`."""
        self.inner.save(folder / _INNER)
        write_solver(folder, self, {"samples": self.samples})

    @classmethod
    def load(cls, folder: Path, settings: Mapping[str, Any]) -> Self:
        """The solver `save` wrote; see `load_solver`."""
        return cls(load_sampler(folder / _INNER), int(settings["samples"]))


def answer_with(problem: Problem, judged: Sequence[Judged], chosen: int) -> Answer:
    """The answer that says what sample `chosen` says."""
    completion, verdict = judged[chosen]
    several = len(judged) > 1
    return Answer(
        problem_id=problem.id,
        text=completion.text,
        extracted=verdict.extracted,
        judgement=verdict.value,
        lenient=verdict.lenient,
        truncated=completion.finish is Finish.LENGTH,
        tokens=sum(own.usage.completion_tokens for own, _ in judged),
        samples=tuple(own.text for own, _ in judged) if several else (),
        sample_judgements=tuple(own.value for _, own in judged) if several else (),
        sample_extracted=tuple(own.extracted for _, own in judged) if several else (),
        sample_tokens=tuple(own.usage.completion_tokens for own, _ in judged) if several else (),
    )


def _voted(problem: Problem, judged: Sequence[Judged]) -> Answer:
    winner = vote([by_answer(problem, said.text, verdict.extracted) for said, verdict in judged]).winner
    answer = answer_with(problem, judged, winner or 0)
    # No sample gave an answer: say what the first one said.
    return answer if winner is not None else replace(answer, extracted=None)
