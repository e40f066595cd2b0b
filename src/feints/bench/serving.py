"""Students as the bench asks them: weights here, a solver with its own layers, or an endpoint given the adapter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from feints.evaluate.solver import OneShot
from feints.generate.settings import StudentEndpointSettings
from feints.generate.source import TextSource

if TYPE_CHECKING:
    from feints.bench import Bench

Learner = Path | OneShot
"""A student: a folder of weights, or a solver whose student has layers of its own."""
ADAPTER_VERSION = 1
"""Raised when the same weights would give another adapter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """An endpoint that writes students' texts."""

    settings: StudentEndpointSettings
    """Where it is and how it is asked."""
    base: Path
    """Folder of the weights it holds: the student before any training."""
    run: Path
    """The run folder as it is called here."""
    orders: set[str] = field(default_factory=set)
    """Labels of what it was to write, also where that was known already."""


def identity_of(bench: Bench, source: TextSource | Learner | None) -> list[object]:
    """Who is asked, found without loading weights."""
    if isinstance(source, OneShot):
        return [source.identity]
    if not isinstance(source, Path):
        return [(source or bench.teacher).identity]
    here = weights_of(bench, source)
    if bench.serving is None:
        return [*here, *[bench.student.dtype] * (bench.student.dtype != "float32")]
    settings = bench.serving.settings
    return [*here, "endpoint", settings.model, settings.extra_body, list(settings.omit)]


def weights_of(bench: Bench, folder: Path) -> list[object]:
    """What a student in a folder is, whoever runs it."""
    from feints.generate.weights import weights_identity  # noqa: PLC0415  torch

    return [weights_identity(folder), bench.student.chat]


@contextmanager
def opened(bench: Bench, source: TextSource | Learner | None) -> Iterator[TextSource]:
    """The text source that answers as `source`; an adapter loaded for it is unloaded again."""
    if isinstance(source, OneShot):
        yield source.source
    elif not isinstance(source, Path):
        yield source or bench.teacher
    elif bench.serving is None:
        yield _local(bench, source)
    else:
        with _served(bench, bench.serving, source) as served:
            yield served


def _local(bench: Bench, folder: Path) -> TextSource:
    from feints.generate.local import LocalSettings, LocalSource  # noqa: PLC0415  torch

    return LocalSource.from_folder(folder, LocalSettings(**bench.local_settings), device=bench.device)


@contextmanager
def _served(bench: Bench, serving: Serving, folder: Path) -> Iterator[TextSource]:
    from feints.generate.rendering import Renderer  # noqa: PLC0415  torch
    from feints.generate.served import ServedStudent  # noqa: PLC0415
    from feints.generate.weights import load_tokenizer, weights_identity  # noqa: PLC0415

    who, base = weights_identity(folder), weights_identity(serving.base)
    rendering = Renderer(load_tokenizer(folder), bench.student.chat)
    there = None if who == base else _as_seen(serving, _adapter(bench, serving, folder, [who, base]))
    served = ServedStudent(serving.settings, rendering, who, there)
    served.open()
    try:
        yield served
    finally:
        served.close()


def _adapter(bench: Bench, serving: Serving, folder: Path, between: list[str]) -> Path:
    """Folder of the student's adapter, made once."""
    from feints.train.difference import write_difference  # noqa: PLC0415  torch

    most = serving.settings.max_rank

    def make(place: Path) -> None:
        write_difference(serving.base, folder, place / "adapter", max_rank=most)

    label = f"{bench.arm}-served-seed{bench.seed}"
    depends = [ADAPTER_VERSION, *between, most]
    stored = bench.run.folder("4_student", label, depends, make, arm=bench.arm, seed=bench.seed, name="served")
    return stored.path / "adapter"


def _as_seen(serving: Serving, adapter: Path) -> Path:
    """The adapter's folder under the name it has on the endpoint's machine."""
    place = adapter.resolve()
    if serving.settings.run_seen_as is None:
        return place
    return Path(serving.settings.run_seen_as) / place.relative_to(serving.run.resolve())
