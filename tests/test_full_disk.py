"""A disk that fills up is one error at every stage, and nothing is lost."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.commands import Done, sets

from feints.errors import StorageError
from feints.evaluate.solver import OneShot
from feints.runs import RunFolder

pytestmark = pytest.mark.slow


def mount(folder: Path, kib: int, *, again: bool = False) -> None:
    options = f"size={kib}k" + (",remount" if again else "")
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], check=True, capture_output=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a few KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mount(folder, 64)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small disk can be mounted by root only ({error})")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_solver_that_does_not_fit_is_one_error(small_disk: Path, tiny_student: Path) -> None:
    run = RunFolder(small_disk / "run")
    with pytest.raises(StorageError, match="solver.*No space left.*free some space"):
        run.folder("4_student", "solver", [], OneShot(tiny_student).save)


def test_a_full_disk_is_one_error_at_every_stage_and_loses_nothing(
    done: Done, small_recipe: Path, small_disk: Path, tmp_path: Path
) -> None:
    calm, out = tmp_path / "calm/run", small_disk / "inner/run"
    assert done("run", small_recipe, "--out", calm)[0] == 0
    finished: set[int] = set()
    kib, status = 16, 1
    while status:
        mount(small_disk, kib, again=True)
        status, said = done("run", small_recipe, "--out", out, *sets(f"ledger={tmp_path}/calm/ledger.sqlite"))
        if status:
            assert "free some space" in said or "make room" in said, said
            assert str(small_disk) in said
            finished.add(len(list(out.glob("*/*"))))
        kib = kib * 5 // 4
    assert len(finished) >= 4, f"the disk was full with {finished} outputs there, at too few places to tell"
    assert not list(out.rglob("*.partial")) and not list(out.rglob("*.unfinished"))
    for stage in ("1_rationales", "2_verdicts", "3_examples", "5_answers"):
        assert {p.name: p.read_bytes() for p in (out / stage).iterdir()} == {
            p.name: p.read_bytes() for p in (calm / stage).iterdir()
        }
