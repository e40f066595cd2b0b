"""Floor: the run folder: write-once stage outputs, manifest (settings, commit, seeds, hashes of inputs), resume."""

from __future__ import annotations

import copy
import dataclasses
import errno
import json
import os
import platform
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Generic

from feints import __version__
from feints.errors import DataError, StorageError, VersionError
from feints.records import RECORDS_VERSION, content_hash
from feints.tables import Row, read_table, write_table

RUN_VERSION = 1
"""Layout of a run folder; another version is refused."""
LOCK = ".writing"  # held by the process that writes the run; SQLite keeps a journal beside it

STAGES = (
    "0_problems",
    "1_rationales",
    "2_verdicts",
    "3_examples",
    "3_dropped",
    "4_student",
    "5_answers",
    "6_report",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Stored(Generic[Row]):
    """Rows of a stage with the content address that names them; later stages pass the address on."""

    rows: tuple[Row, ...]
    address: str
    path: Path

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


@dataclasses.dataclass(frozen=True, slots=True)
class StoredFolder:
    """A folder a stage wrote (a student, a solver) with its content address."""

    path: Path
    address: str


class RunFolder:
    """One run on disk. Every output is named by a hash of what it depends on, so a rerun redoes nothing."""

    def __init__(self, path: Path) -> None:
        """Open or create `path`.

        Raises:
            VersionError: the folder was written by another version of the layout.
            DataError: the folder holds files that are not a run.
        """
        self.path = path
        self._within = Path()
        self._user: list[object] = []
        manifest = path / "manifest.json"
        if manifest.exists():
            self._manifest = _read_manifest(manifest)
        else:
            if path.exists() and not all(entry.name.startswith(("recipe.yaml", LOCK)) for entry in path.iterdir()):
                raise DataError(f"{path} exists and is not a run folder (no manifest.json); choose another --out")
            self._manifest = _new_manifest()
            make_folder(path)
            self._save_manifest()

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """A run that exists and has ended once.

        Raises:
            DataError: there is no run, or it never reached its report.
        """
        if not (path / "manifest.json").is_file():
            raise DataError(f"{path} is not a run folder (no manifest.json); give the folder `feints run` wrote")
        run = cls(path)
        if "arms" not in run.manifest:
            raise DataError(f"the run in {path} has not ended; run its recipe again to finish it, then ask again")
        return run

    def within(self, name: str) -> RunFolder:
        """The same run with one manifest, whose outputs go to a folder of their own in it, such as that of a round."""
        inner = copy.copy(self)
        inner._within = self._within / name
        return inner

    def used_by(self, arm: str, seed: int) -> RunFolder:
        """The same run, whose outputs are noted as used by this arm with this training seed, whoever made them."""
        inner = copy.copy(self)
        inner._user = [arm, seed]
        return inner

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest as read: versions, commit, machine, settings and every output with its inputs."""
        return self._manifest

    def describe(self, output: Path | None = None, /, **facts: object) -> None:
        """Add facts (settings, seeds, profile ...) to the manifest, or to the entry of one of its outputs."""
        outputs = self._manifest["outputs"]
        (outputs[output.relative_to(self.path).as_posix()] if output else self._manifest).update(facts)
        self._save_manifest()

    def table(
        self,
        stage: str,
        label: str,
        record: type[Row],
        depends: Sequence[object],
        make: Callable[[], Iterable[Row]],
        *,
        began: float | None = None,
        **about: object,
    ) -> Stored[Row]:
        """Rows of `record` that depend on `depends` alone: read where they exist, else made and stored.

        `depends` holds JSON-able values: settings, and the addresses of the tables and folders read. `about` goes
        into the manifest for whoever reads the run (arm, problem set, seed), and so do the seconds that making took:
        from `began` on by time.perf_counter, where that was before this call.
        """
        address = content_hash(RECORDS_VERSION, stage, record.__name__, list(depends))
        path = self._place(stage, label, address, ".parquet")
        if not path.exists():
            started = time.perf_counter() if began is None else began
            rows = tuple(make())
            with storage_errors(path), atomic(path) as partial:
                write_table(partial, record, rows)
            about = {**about, "seconds": round(time.perf_counter() - started, 3)}
        else:
            rows = tuple(read_table(path, record))
        self._note(label, path, address, depends, rows=len(rows), **about)
        return Stored(rows, address, path)

    def known(self, stage: str, label: str, record: type[Row], depends: Sequence[object]) -> Stored[Row] | None:
        """The table `table` would return if it exists already, else None."""
        address = content_hash(RECORDS_VERSION, stage, record.__name__, list(depends))
        if not self._place(stage, label, address, ".parquet").exists():
            return None
        return self.table(stage, label, record, depends, tuple)

    def folder(
        self, stage: str, label: str, depends: Sequence[object], make: Callable[[Path], None], **about: object
    ) -> StoredFolder:
        """A folder that depends on `depends` alone; `make` fills a scratch folder that survives a crash.

        The scratch folder is handed to `make` again after a crash, so training can resume in it.
        """
        address = content_hash(RUN_VERSION, stage, list(depends))
        path = self._place(stage, label, address, "")
        if not path.exists():
            started = time.perf_counter()
            scratch = path.with_name(path.name + ".unfinished")
            with storage_errors(path):
                scratch.mkdir(parents=True, exist_ok=True)
                make(scratch)
                os.replace(scratch, path)
            about = {**about, "seconds": round(time.perf_counter() - started, 3)}
        self._note(label, path, address, depends, **about)
        return StoredFolder(path, address)

    def outputs(self, stage: str) -> list[tuple[Path, dict[str, Any]]]:
        """Path and manifest entry (label, rows, what `about` said) of the outputs of a stage that the last run used.

        Those of every folder within the run are among them; their entries name it as `within`.
        """
        return [
            (self.path / name, entry)
            for name, entry in self._manifest["outputs"].items()
            if PurePosixPath(name).parent.name == stage
        ]

    def solvers(self) -> dict[tuple[str, int], Path]:
        """Folders of the saved solvers by arm and training seed, in the order they were made."""
        made = self.outputs("4_student")
        return {(entry["arm"], entry["seed"]): path for path, entry in made if entry.get("solver")}

    def start(self) -> None:
        """Forget which outputs are current (never the outputs): a run notes anew those it uses.

        What is known of those before (how long they took) stays in the manifest, whatever becomes of this run.
        """
        self._manifest["earlier"] = {**self._manifest.get("earlier", {}), **self._manifest["outputs"]}
        self._manifest["outputs"] = {}

    def _place(self, stage: str, label: str, address: str, suffix: str) -> Path:
        """Where an output belongs: the one that has this address already, whatever its label, else its own name."""
        if stage not in STAGES:
            raise ValueError(f"no stage is called {stage!r}; known: {', '.join(STAGES)}")
        own = self.path / self._within / stage / f"{label}-{address[:10]}{suffix}"
        if own.exists():
            return own
        # Two arms that share a stage (a method and its control) make it once.
        return next(iter(sorted(own.parent.glob(f"[!.]*-{address[:10]}{suffix}"))), own)

    def _note(self, label: str, path: Path, address: str, depends: Sequence[object], **facts: object) -> None:
        name = path.relative_to(self.path).as_posix()
        noted = self._manifest["outputs"].get(name)
        users = list(noted.get("used_by", [])) if noted is not None else []
        if self._user and self._user not in users:
            users.append(self._user)
        if noted is not None and noted["address"] == address and noted["label"] != label:
            entry = {**noted, "used_by": users}  # the arm that made it keeps it
        else:
            known = noted or self._manifest.get("earlier", {}).pop(name, {})
            if self._within.parts:
                facts["within"] = self._within.as_posix()
            entry = {"label": label, "address": address, "depends": list(depends), **known, **facts, "used_by": users}
        if noted != entry:
            self._manifest["outputs"][name] = entry
            self._save_manifest()

    def _save_manifest(self) -> None:
        path = self.path / "manifest.json"
        with storage_errors(path), atomic(path) as partial:
            partial.write_text(json.dumps(self._manifest, indent=1, ensure_ascii=False, default=str), encoding="utf-8")


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        version = manifest["run_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{path} is damaged ({error}); move the run folder away and run again") from error
    if version != RUN_VERSION:
        raise VersionError(
            f"{path.parent} was written as run layout {version}, this feints {__version__} reads {RUN_VERSION}; "
            "choose another --out, or use the feints version named in its manifest.json"
        )
    return dict(manifest)


def _new_manifest() -> dict[str, Any]:
    return {
        "run_version": RUN_VERSION,
        "records_version": RECORDS_VERSION,
        "feints": __version__,
        "commit": current_commit(),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "outputs": {},
    }


def current_commit() -> str:
    """Commit of the checkout this package runs from, or "released" when it is installed."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return "released"
    if shutil.which("git") is None:  # as in a slim container
        return "unknown"
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A scratch path beside `path` that replaces it when the block succeeds: a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        else:
            partial.unlink(missing_ok=True)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn a full or read-only disk into the one error a user can act on."""
    try:
        yield
    except OSError as error:
        # copytree gathers its failures in one shutil.Error and loses their numbers
        failures = error.args[0] if isinstance(error, shutil.Error) else ()
        copied = str(failures[0][2]) if isinstance(failures, list) else ""
        if copied or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise StorageError(
                f"cannot write {path}: {copied or error.strerror}; free some space (or choose another --out) and run "
                "the same command again: everything finished so far is kept"
            ) from error
        raise


def make_folder(path: Path) -> None:
    """Make a folder that a user named, with those above it.

    Raises:
        StorageError: it cannot be made there.
    """
    try:
        with storage_errors(path):
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make the folder {path}: {error.strerror}; choose another --out") from error
