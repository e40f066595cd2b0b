from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from feints.errors import DataError, StorageError, VersionError
from feints.records import (
    Answer,
    AnswerKind,
    Choice,
    Example,
    Judgement,
    Problem,
    Rationale,
    Role,
    Verdict,
    content_hash,
)
from feints.runs import RunFolder, atomic, current_commit, storage_errors
from feints.tables import read_table, write_table

PROBLEM = Problem(
    id="p1",
    question="Which? é ☃",
    answer="B",
    answer_kind=AnswerKind.CHOICE,
    task="t",
    split="train",
    choices=(Choice(label="A", text="a"), Choice(label="B", text="b")),
    level=3,
)
ROWS = [
    (Problem, [PROBLEM, replace(PROBLEM, id="p2", choices=(), level=None, parent="p1")]),
    (
        Rationale,
        [Rationale(id="r1", problem_id="p1", text="x", temperature=0.7), Rationale(id="r2", problem_id="p1", text="")],
    ),
    (
        Verdict,
        [
            Verdict(
                rationale_id="r1",
                value=Judgement.CORRECT,
                lenient=Judgement.CORRECT,
                extracted=None,
                checker="c",
                reason="",
            )
        ],
    ),
    (
        Example,
        [
            Example(
                id="e",
                problem_id="p",
                rationale_id="r",
                prompt_ids=(1, 2),
                target_ids=(3,),
                weights=(0.0, 0.1, -1.0),
                tokenizer_hash="h",
                role=Role.WRONG,
            )
        ],
    ),
    (
        Answer,
        [
            Answer(
                problem_id="p",
                text="t",
                extracted="1",
                judgement=Judgement.WRONG,
                lenient=Judgement.CORRECT,
                truncated=False,
                tokens=3,
                samples=("a",),
                sample_judgements=(Judgement.WRONG,),
            )
        ],
    ),
]


@pytest.mark.parametrize(("record", "rows"), ROWS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_table_gives_back_equal_records_of_equal_types(record: type, rows: list, tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", record, rows)
    back = read_table(tmp_path / "t.parquet", record)
    assert back == rows
    assert repr(back) == repr(rows)


def test_an_empty_table_keeps_its_type(tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", Problem, [])
    assert read_table(tmp_path / "t.parquet", Problem) == []
    with pytest.raises(VersionError, match="holds Problem"):
        read_table(tmp_path / "t.parquet", Verdict)


def test_a_damaged_table_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(StorageError, match="delete this file and run again"):
        read_table(tmp_path / "t.parquet", Problem)
    with pytest.raises(StorageError, match=r"none.parquet is missing; run the recipe again"):
        read_table(tmp_path / "none.parquet", Problem)


def test_a_stage_is_made_once_and_again_only_when_what_it_depends_on_changes(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> list[Problem]:
        made.append(1)
        return [PROBLEM]

    for _ in range(2):
        run = RunFolder(tmp_path / "run")
        first = run.table("0_problems", "train", Problem, [{"limit": 1}], make)
    assert len(made) == 1 and first.rows == (PROBLEM,)
    second = run.table("0_problems", "train", Problem, [{"limit": 2}], make)
    assert len(made) == 2 and second.address != first.address and first.path.exists()
    run.table("1_rationales", "x", Rationale, [second.address], lambda: [])
    assert len(made) == 2


def test_two_arms_that_share_a_stage_make_it_once(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    first = run.folder("4_student", "method-stage1", [1], lambda folder: (folder / "weights").touch())
    second = run.folder("4_student", "control-stage1", [1], lambda folder: pytest.fail("made twice"))
    assert second == first
    other = run.folder("4_student", "control-stage1", [2], lambda folder: (folder / "weights").touch())
    assert other.path != first.path


def test_a_round_is_a_folder_of_the_same_run(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    first, second = run.within("round_1"), run.within("round_2")
    kept = {
        folder: folder.table("0_problems", "train", Problem, ["x"], lambda: [PROBLEM], arm="a")
        for folder in (run, first, second)
    }
    assert [stored.path.relative_to(run.path).parts[:-1] for stored in kept.values()] == [
        ("0_problems",), ("round_1", "0_problems"), ("round_2", "0_problems"),
    ]  # fmt: skip
    made = second.folder("4_student", "student", ["y"], lambda folder: None)
    assert made.path.parent == run.path / "round_2/4_student"
    again = RunFolder(tmp_path / "run")
    assert [entry.get("within") for _, entry in again.outputs("0_problems")] == [None, "round_1", "round_2"]
    assert again.outputs("4_student")[0][0] == made.path
    again.start()
    assert first.outputs("0_problems") != [] and again.within("round_1").outputs("0_problems") == []
    assert again.within("round_1").known("0_problems", "train", Problem, ["x"]) is not None
    assert [entry["within"] for _, entry in again.outputs("0_problems")] == ["round_1"]


def test_nothing_half_written_is_ever_seen(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")

    def crash() -> list[Problem]:
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        run.table("0_problems", "train", Problem, [1], crash)
    assert run.outputs("0_problems") == []
    with pytest.raises(RuntimeError), atomic(tmp_path / "file") as partial:
        partial.write_text("half")
        raise RuntimeError("killed")
    assert os.listdir(tmp_path) == ["run"]


def test_an_unfinished_folder_is_handed_to_the_next_attempt(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")

    def crash(folder: Path) -> None:
        (folder / "checkpoint").write_text("step 3")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        run.folder("4_student", "a", [1], crash)
    seen: list[str] = []
    stored = RunFolder(tmp_path / "run").folder(
        "4_student", "a", [1], lambda f: seen.append((f / "checkpoint").read_text())
    )
    assert seen == ["step 3"] and (stored.path / "checkpoint").exists()


def test_the_manifest_names_the_current_outputs_only(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.table("0_problems", "train", Problem, [1], lambda: [PROBLEM])
    again = RunFolder(tmp_path / "run")
    again.start()
    again.table("0_problems", "train", Problem, [2], lambda: [PROBLEM, PROBLEM])
    assert [entry["label"] for _, entry in again.outputs("0_problems")] == ["train"]
    entry = next(iter(json.loads((tmp_path / "run/manifest.json").read_text())["outputs"].values()))
    assert entry["rows"] == 2 and entry["depends"] == [2]


def test_how_long_an_output_took_outlives_a_rerun_that_is_killed(tmp_path: Path) -> None:
    def done(*numbers: int) -> RunFolder:
        run = RunFolder(tmp_path / "run")
        run.start()
        for number in numbers:
            run.table("0_problems", f"set{number}", Problem, [number], lambda: [PROBLEM])
        return run

    took = [entry["seconds"] for _, entry in done(1, 2).outputs("0_problems")]
    done(1)  # and killed
    assert [entry["seconds"] for _, entry in done(1, 2).outputs("0_problems")] == took


def test_a_folder_of_another_version_or_kind_is_refused(tmp_path: Path) -> None:
    RunFolder(tmp_path / "run")
    manifest = tmp_path / "run/manifest.json"
    manifest.write_text(manifest.read_text().replace('"run_version": 1', '"run_version": 99'))
    with pytest.raises(VersionError, match="layout 99"):
        RunFolder(tmp_path / "run")
    manifest.write_text("{")
    with pytest.raises(StorageError, match="damaged"):
        RunFolder(tmp_path / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.doc").write_text("precious")
    with pytest.raises(DataError, match="not a run folder"):
        RunFolder(tmp_path / "other")


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="free some space"), storage_errors(tmp_path / "x"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_real_full_device_is_reported_as_such() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(StorageError, match="No space left"), storage_errors(full):
        full.write_text("x")


def test_a_checkout_without_git_is_of_an_unknown_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feints.runs.shutil.which", lambda _: None)
    assert current_commit() in ("unknown", "released")


def test_content_hash_depends_on_content_alone() -> None:
    assert content_hash({"a": 1, "b": [2]}) == content_hash({"b": [2], "a": 1})
    assert content_hash("a", "b") != content_hash("ab")
