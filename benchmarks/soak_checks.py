"""What a soak asserts of a finished run: as the undisturbed one, every row accounted for, the key kept nowhere."""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from feints.curate.funnel import FunnelStep
from feints.records import Dropped, Example, Judgement, Origin, Rationale, Role, Verdict
from feints.tables import read_table


def digests(folder: Path, pattern: str) -> dict[str, str]:
    """Hash of every file that matches, by its place in the folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob(pattern))
    }


def outputs(folder: Path) -> dict[str, Any]:
    """The manifest's outputs, without the time each took and what was paid in vain."""
    found = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["outputs"]
    left = {"seconds", "unanswered"}
    return {name: {key: entry[key] for key in entry.keys() - left} for name, entry in found.items()}


def require_same(calm: Path, hurt: Path) -> dict[str, int]:
    """The same students, tables and outputs in both run folders; how many of each were compared.

    Raises:
        AssertionError: names what differs.
    """
    counted = {}
    for name, pattern in (
        ("students", "**/4_student/**/student/*.safetensors"),
        ("tables", "**/[0-356]_*/*.parquet"),
    ):
        wanted, found = digests(calm, pattern), digests(hurt, pattern)
        different = sorted(place for place in {*wanted, *found} if wanted.get(place) != found.get(place))
        assert wanted and not different, f"{hurt}: {name} differ from the undisturbed run: {different[:5]}"
        counted[name] = len(wanted)
    assert outputs(hurt) == outputs(calm), f"{hurt}: the manifest lists other outputs than the undisturbed run"
    left = [str(path) for pattern in ("*.unfinished", "*.partial") for path in hurt.rglob(pattern)]
    assert not left, f"{hurt}: left behind: {left}"
    return counted


# ------------------------------------------------------------------------------------------------- rows accounted for


def calls(ledger: Path, asker: str | None = None) -> dict[str, int]:
    """Calls in a ledger by state, of one source or of all; `paid_again` and `unknown` are sums over them."""
    with closing(sqlite3.connect(ledger)) as base:
        where, values = ("WHERE asker = ?", [asker]) if asker else ("", [])
        found = Counter(state for (state,) in base.execute(f"SELECT state FROM call {where}", values))
        again, unknown = base.execute(
            f"SELECT sum(paid_again), sum(unknown_calls) FROM call {where}", values
        ).fetchone()
    return {**found, "paid_again": again or 0, "unknown_calls": unknown or 0}


def keys(ledger: Path) -> set[str]:
    """Keys of the replies in a ledger."""
    with closing(sqlite3.connect(ledger)) as base:
        return {key for (key,) in base.execute("SELECT key FROM reply")}


def rows(folder: Path, stage: str, record: type, what: str = "") -> Iterator[Any]:
    """All rows of a stage, rounds included."""
    for path in sorted(folder.glob(f"**/{stage}/*.parquet")):
        if what in path.name and (record is not Dropped or "funnel" not in path.name):
            yield from read_table(path, record)


def require_all_accounted(run: Path, ledger: Path, teacher: str) -> dict[str, int]:
    """Every reply is a rationale, every rationale has a verdict, and each is learnt from or left out for a reason.

    Raises:
        AssertionError: names rows that went missing.
    """
    written = {row.id: row for row in rows(run, "1_rationales", Rationale)}
    unused = keys(ledger) ^ {row.ledger_key for row in written.values()}
    assert not unused, (
        f"{len(unused)} replies are no rationale of the run, or the other way round: {sorted(unused)[:3]}"
    )
    verdicts = {row.rationale_id: row.value for row in rows(run, "2_verdicts", Verdict)}
    judged = {row.id for row in written.values() if row.origin is not Origin.PROBLEM}
    assert set(verdicts) == judged, f"{len(set(verdicts) ^ judged)} rationales without a verdict, or verdicts without"
    examples = list(rows(run, "3_examples", Example))
    learnt = {row.rationale_id for row in examples}
    left_out = {row.item_id for row in rows(run, "3_dropped", Dropped)}
    answered = {row.parent for row in written.values()}
    answered |= {row.id for row in rows(run, "1_rationales", Rationale, "held-back")}  # marks, nothing to learn
    for row in written.values():
        verdict, own = verdicts.get(row.id), row.origin is Origin.SELF
        kept_apart = (own and verdict is Judgement.CORRECT) or (not own and verdict is Judgement.WRONG)
        accounted = row.id in learnt or row.id in left_out or row.id in answered or kept_apart
        assert accounted, f"{row.id} ({row.origin}, {verdict}) was neither learnt from nor left out for a reason"
    wrong = {row.rationale_id for row in examples if verdicts[row.rationale_id] is Judgement.WRONG}
    assert all((row.rationale_id in wrong) is (row.role is Role.WRONG) for row in examples), "learnt as what it is not"
    steps = list(rows(run, "3_dropped", FunnelStep, "funnel"))
    assert steps and all(step.rows_in == step.kept + sum(step.counts) for step in steps)
    by_teacher = sum(row.author == teacher for row in written.values())
    return {"rationales": len(written), "by_teacher": by_teacher, "verdicts": len(verdicts), "examples": len(examples)}


# ------------------------------------------------------------------------------------------------------- canary key


def forms_of(key: str) -> list[bytes]:
    """The key as it may stand somewhere: plain, backwards, in base 64 at any offset, in hex."""
    raw = key.encode()
    shifted = [base64.b64encode(b"\0" * shift + raw)[4 if shift else 0 : -4] for shift in range(3)]
    return [raw, raw[::-1], raw.hex().encode(), raw.hex().upper().encode(), *shifted]


def places_of(key: str, folder: Path) -> list[str]:
    """Every file under `folder` that holds the key, read raw and decoded; the work of one thread."""
    wanted = forms_of(key)
    return [
        str(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and any(form in text for text in _readings(path) for form in wanted)
    ]


def _readings(path: Path) -> Iterator[bytes]:
    """The bytes of a file, and those it holds once decoded: tables, blobs of a database, packed or not."""
    raw = path.read_bytes()
    yield path.name.encode()
    yield raw
    if raw[:4] == b"PAR1":
        table = pq.read_table(path)
        yield json.dumps([str(table.schema.metadata), table.to_pylist()], default=str, ensure_ascii=False).encode()
    elif raw[:16] == b"SQLite format 3\0":
        yield from _database(path)


def _database(path: Path) -> Iterator[bytes]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as base:
        for (table,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in base.execute(f'SELECT * FROM "{table}"'):
                for cell in row:
                    content = cell if isinstance(cell, bytes) else str(cell).encode()
                    yield content
                    if isinstance(cell, bytes):
                        yield zlib.decompress(cell)
