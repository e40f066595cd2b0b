"""Rows of a local JSONL, JSON, CSV or Parquet file, with one clear error for each way it can be unusable."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

from feints.errors import DataError
from feints.generate.json_lines import opened
from feints.records import read_json

Row = Mapping[str, Any]
SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
_LONGEST_CELL = 10_000_000
"""Characters; the csv module refuses more than 131,072 by itself."""


def read_rows(path: str | Path) -> list[Row]:
    """Every row of a file, in order.

    Raises:
        DataError: it is missing, of an unknown kind, damaged or empty.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(
            f"no data file at {path} (from {Path.cwd()}); correct `path` (a task with a hub copy may leave it out)"
        )
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise DataError(f"{path}: cannot read files of this kind; give one of {', '.join(SUFFIXES)}")
    if name.endswith(".parquet"):
        rows = _parquet(path)
    elif name.removesuffix(".gz").endswith((".csv", ".tsv")):
        rows = _cells(path, "\t" if ".tsv" in name else ",")
    else:
        rows = _json(path, lines=".jsonl" in name)
    if not rows:
        raise DataError(f"{path} holds no rows; give a file with at least one problem")
    return rows


def _parquet(path: Path) -> list[Row]:
    try:
        return list(parquet.read_table(path).to_pylist())
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}") from error


def _text(path: Path) -> str:
    try:
        with opened(path) as stream:
            return stream.read()
    except gzip.BadGzipFile as error:
        raise DataError(f"{path} is no gzip file ({error}); take .gz out of its name") from error
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}; save it in this encoding") from error


def _cells(path: Path, separator: str) -> list[Row]:
    """Rows below a line of column names; every cell is a text, so that 007 and 1/2 stay what they are."""
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(io.StringIO(_text(path), newline=""), delimiter=separator, strict=True)
    rows: list[Row] = []
    try:
        names = next(reader, [])
        if doubled := [name for name, times in Counter(names).items() if times > 1]:
            raise DataError(f"{path}: two columns are called {doubled[0]!r}; rename one")
        for cells in filter(None, reader):
            if len(cells) != len(names):
                raise DataError(
                    f"{path}, line {reader.line_num}: {len(cells)} cells under {len(names)} column names; put a cell "
                    f"that holds {separator!r} or a line break in double quotes"
                )
            rows.append(dict(zip(names, cells, strict=True)))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}; repair the quotes of this row") from error
    return rows


def _json(path: Path, *, lines: bool) -> list[Row]:
    text = _text(path)
    if lines:
        # Split at "\n" only: U+2028 and its kin may stand unescaped inside a JSON string.
        numbered = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
        return [_object(path, f"line {number}", _parse(path, line, number)) for number, line in numbered]
    found = _parse(path, text, 1)
    if isinstance(found, dict):  # A single list inside one object: {"examples": [...]}.
        lists = [value for value in found.values() if isinstance(value, list)]
        found = lists[0] if len(lists) == 1 else found
    if not isinstance(found, list):
        raise DataError(f"{path} holds one {type(found).__name__}; a JSON file must hold a list of rows")
    return [_object(path, f"row {number}", row) for number, row in enumerate(found, start=1)]


def _parse(path: Path, text: str, first_line: int) -> Any:
    try:
        found = read_json(text)
        if "\\ud" in text.lower():  # half a character can be said by an escape only
            json.dumps(found, ensure_ascii=False).encode("utf-8")
        return found
    except UnicodeEncodeError as error:
        raise DataError(
            f"{path}, line {first_line}: a string holds half a character ({error.object[error.start]!a}); repair it"
        ) from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}, line {first_line + error.lineno - 1}: not valid JSON ({error.msg}); repair or remove the line"
        ) from error
    except ValueError as error:
        raise DataError(f"{path}, line {first_line}: {error}; repair or remove it") from error


def _object(path: Path, where: str, row: Any) -> Row:
    if not isinstance(row, dict):
        raise DataError(f"{path}, {where}: holds a {type(row).__name__}; every row must be an object with named fields")
    return row
