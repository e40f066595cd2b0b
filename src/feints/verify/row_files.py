"""Row files: JSONL read line by line and checked first; JSONL or Parquet written beside and moved into place."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

import pyarrow as pa
import pyarrow.parquet as pq

from feints.errors import DataError, StorageError
from feints.generate.json_lines import opened
from feints.records import AnswerKind, read_json
from feints.verify.choices import options_of

BATCH = 2048
"""Rows held in memory at once."""
KINDS = {kind.value: kind for kind in AnswerKind if kind is not AnswerKind.PROGRAM}
"""Kinds a row may state."""
_MAX_LISTED = 20


def _open(path: Path) -> IO[str]:
    if not path.is_file():
        raise DataError(f"there is no file {path}; give a .jsonl or .jsonl.gz file of rows with gold and text")
    return opened(path)


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a checked file with their line numbers."""
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, json.loads(line)


def batches(rows: Iterator[tuple[int, dict[str, Any]]]) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """`rows` in lists of BATCH."""
    batch: list[tuple[int, dict[str, Any]]] = []
    for row in rows:
        batch.append(row)
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def checked(path: Path) -> int:
    """Number of rows; raises DataError listing every line that is none."""
    total, bad = 0, []
    number = 0
    try:
        with _open(path) as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                total += 1
                fault = _fault(line)
                if fault:
                    bad.append(f"line {number}: {fault}")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} cannot be read after line {number}: {error}; write it anew as UTF-8") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read after line {number}: {error}; it is damaged or no gzip file: copy or rename it"
        ) from error
    if bad:
        shown = bad[:_MAX_LISTED] + ([f"and {len(bad) - _MAX_LISTED} more"] if len(bad) > _MAX_LISTED else [])
        listed = "\n  ".join(shown)
        raise DataError(f"{len(bad)} of {total} rows of {path} cannot be used; nothing was written:\n  {listed}")
    if not total:
        raise DataError(f"{path} holds no rows; give one JSON object with gold and text per line")
    return total


def _fault(line: str) -> str | None:
    """What is wrong with a line, or None."""
    try:
        row = read_json(line)
    except json.JSONDecodeError as error:
        return f"not JSON ({error.msg} at column {error.colno})"
    except ValueError as error:
        return str(error)
    if not isinstance(row, dict):
        return f"a JSON {type(row).__name__}, not an object"
    if not isinstance(row.get("text"), str):
        return "text is missing or no string"
    gold = row.get("gold")
    if gold is None or isinstance(gold, list | dict):
        return "gold is missing or no string"
    kind = row.get("kind")
    if kind is not None and (not isinstance(kind, str) or kind not in KINDS):
        return f"kind {kind!r} is none of {', '.join(KINDS)}"
    return _choices_fault(row.get("choices"))


def _choices_fault(choices: Any) -> str | None:
    try:
        options_of(choices)
    except ValueError as error:
        return f"choices: {error}"
    return None


class RowWriter(Protocol):
    """Takes rows inside a `with`; the file appears when it ends well, and not at all otherwise."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def write(self, rows: list[dict[str, Any]]) -> None:
        """Add rows."""


def writer(path: Path) -> RowWriter:
    """A writer for `path`, by its suffix; raises DataError for one it does not know, and for a folder."""
    if path.is_dir():
        raise DataError(f"{path} is a folder; name a file")
    if path.name.endswith(".parquet"):
        return _ParquetWriter(path)
    if path.name.endswith((".jsonl", ".jsonl.gz", ".json", ".ndjson")):
        return _LineWriter(path)
    raise DataError(f"cannot tell how to write {path}; name it .jsonl, .jsonl.gz or .parquet")


class _Atomic:
    """Writes beside `path` and takes its place when all went well."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.partial = path.with_name(f".{path.name}.{os.getpid()}.part")

    def finish(self, ok: bool) -> None:
        """Keep what was written, or drop it."""
        if ok:
            os.replace(self.partial, self.path)
        else:
            self.partial.unlink(missing_ok=True)


class _LineWriter(_Atomic):
    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.file: IO[str] = (
                gzip.open(self.partial, "wt", encoding="utf-8", compresslevel=5)
                if self.path.suffix == ".gz"
                else self.partial.open("w", encoding="utf-8")
            )
        except OSError as error:
            raise StorageError(f"cannot write {self.path}: {error.strerror}; choose another place") from error
        return self

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Add rows; raises StorageError when the disk is full."""
        try:
            self.file.writelines(map(_line, rows))
        except OSError as error:
            raise StorageError(f"cannot write {self.path}: {error.strerror}; free some space and run again") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.file.close()
        except OSError as fault:
            self.finish(ok=False)
            raise StorageError(f"cannot write {self.path}: {fault.strerror}; free some space and run again") from fault
        self.finish(ok=kind is None)


class _ParquetWriter(_Atomic):
    """Batches wait on disk as lines: the columns of a table are known only when every row is."""

    def __enter__(self) -> Self:
        self.lines = _LineWriter(self.path.with_name(f"{self.path.name}.lines"))
        self.lines.__enter__()
        self.columns: dict[str, set[str]] = {}
        return self

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Add rows; raises StorageError when the disk is full."""
        for row in rows:
            for name, value in row.items():
                self.columns.setdefault(name, set()).add(_arrow_type(value))
        self.lines.write(rows)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        done = False
        try:
            self.lines.file.close()
            if kind is None:
                self._table()
                done = True
        except OSError as fault:
            raise StorageError(f"cannot write {self.path}: {fault.strerror}; free some space and run again") from fault
        finally:
            self.finish(ok=done)
            self.lines.partial.unlink(missing_ok=True)

    def _table(self) -> None:
        """One type a column; where the values of one disagree, or are nested, they are kept as JSON text."""
        types = {name: _column(kinds) for name, kinds in self.columns.items()}
        schema = pa.schema([(name, kind) for name, kind in types.items()])
        with pq.ParquetWriter(self.partial, schema, compression="zstd") as table:
            for batch in batches(read_rows(self.lines.partial)):
                columns = {name: [_cell(row.get(name), kind) for _, row in batch] for name, kind in types.items()}
                table.write_table(pa.table(columns, schema=schema))


def _line(row: dict[str, Any]) -> str:
    """A row as it is written; with escapes where it holds half a character, which UTF-8 cannot say."""
    line = json.dumps(row, ensure_ascii=False) + "\n"
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        line = json.dumps(row) + "\n"
    return line


def _arrow_type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        if abs(value) <= 2**53:
            return "int"
        return "long" if -(2**63) <= value < 2**63 else "json"
    return {float: "float", str: "string"}.get(type(value), "json")


def _column(kinds: set[str]) -> Any:
    kinds = kinds - {"null"}
    if kinds and kinds <= {"int", "long"}:
        return pa.int64()
    if kinds and kinds <= {"int", "float"}:  # beside a fraction a long whole number would lose digits
        return pa.float64()
    return pa.bool_() if kinds == {"bool"} else pa.string()


def _cell(value: Any, kind: Any) -> Any:
    if value is None or kind != pa.string():
        return value
    return (value if isinstance(value, str) else json.dumps(value)).encode("utf-8", "replace").decode("utf-8")
