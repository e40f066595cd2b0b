"""What the soak asserts can fail: a key in any dress is found, a row that went missing is named."""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
import sys
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feints.methods import tailored
from feints.records import Dropped
from feints.tables import read_table

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
KEY = "sk-canary-0123456789abcdef"


@pytest.fixture(scope="module")
def checks() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    import soak_checks

    return soak_checks


def _table(path: Path) -> None:
    pq.write_table(pa.table({"said": [["no", f"Bearer {KEY}"]]}), path, compression="zstd")


def _blob(path: Path) -> None:
    with closing(sqlite3.connect(path)) as base:
        base.execute("CREATE TABLE reply (key TEXT, raw BLOB)")
        base.execute("INSERT INTO reply VALUES ('a', ?)", [zlib.compress(json.dumps({"error": KEY}).encode() * 50)])
        base.commit()


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text(f"error: {KEY} refused"),
        lambda path: path.write_bytes(b"xyz" + base64.b64encode(b"ab" + KEY.encode() + b"cd")),
        lambda path: path.write_text(KEY.encode().hex()),
        _table,
        _blob,
        lambda path: path.with_name(f"{KEY}.txt").write_text(""),
    ],
    ids=["plain", "base64", "hex", "parquet", "sqlite", "name"],
)
def test_the_key_is_found_in_any_dress(checks: ModuleType, tmp_path: Path, write: Callable[[Path], object]) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/harmless.txt").write_text("sk-canary-another")
    assert checks.places_of(KEY, tmp_path) == []
    write(tmp_path / "run/held")
    assert len(checks.places_of(KEY, tmp_path)) == 1


def test_a_run_accounts_for_every_row_and_one_that_is_gone_is_named(
    checks: ModuleType, tiny: ModuleType, talker: Path, tmp_path: Path
) -> None:
    with tiny.tiny_bench(tmp_path, talker) as bench:
        tailored.distil(bench, tailored.Config(rounds=1, samples=2))
        teacher = bench.teacher.identity
    run, ledger = tmp_path / "run", tmp_path / "ledger.sqlite"
    counted = checks.require_all_accounted(run, ledger, teacher)
    assert counted["rationales"] == counted["verdicts"] > counted["by_teacher"] > 0
    assert checks.calls(ledger, teacher)["complete"] == counted["by_teacher"]

    hurt = tmp_path / "hurt"
    for stage, message in (("2_verdicts", "without a verdict"), ("3_dropped", "neither learnt from nor left out")):
        shutil.rmtree(hurt, ignore_errors=True)
        shutil.copytree(run, hurt)
        for path in hurt.glob(f"round_1/{stage}/*.parquet"):
            if stage != "3_dropped" or ("funnel" not in path.name and read_table(path, Dropped)):
                path.unlink()
        with pytest.raises(AssertionError, match=message):
            checks.require_all_accounted(hurt, ledger, teacher)
    with closing(sqlite3.connect(ledger)) as base:
        base.execute("DELETE FROM reply WHERE key = (SELECT key FROM reply LIMIT 1)")
        base.commit()
    with pytest.raises(AssertionError, match="no rationale of the run"):
        checks.require_all_accounted(run, ledger, teacher)


def test_what_differs_from_the_undisturbed_run_is_named(checks: ModuleType, tmp_path: Path) -> None:
    for name in ("calm", "hurt"):
        student = tmp_path / name / "round_1/4_student/tailored-1/student"
        student.mkdir(parents=True)
        (student / "model.safetensors").write_bytes(b"weights")
        (tmp_path / name / "1_rationales").mkdir()
        (tmp_path / name / "1_rationales/teacher-1.parquet").write_bytes(b"rows")
        seconds = {"calm": 1.0, "hurt": 9.0}[name]
        manifest = {"outputs": {"1_rationales/teacher-1.parquet": {"rows": 1, "seconds": seconds}}}
        (tmp_path / name / "manifest.json").write_text(json.dumps(manifest))
    calm, hurt = tmp_path / "calm", tmp_path / "hurt"
    assert checks.require_same(calm, hurt) == {"students": 1, "tables": 1}
    (hurt / ".left.partial").write_text("")
    with pytest.raises(AssertionError, match="left behind"):
        checks.require_same(calm, hurt)
    (hurt / ".left.partial").unlink()
    (hurt / "round_1/4_student/tailored-1/student/model.safetensors").write_bytes(b"other")
    with pytest.raises(AssertionError, match="students differ.*model.safetensors"):
        checks.require_same(calm, hurt)
