"""JSON Lines files as people have them: plain or .gz, with a byte-order mark or without; a bad line is named."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from feints.errors import DataError
from feints.records import read_json


def opened(path: Path) -> IO[str]:
    """The lines of a file that may be packed (.gz)."""
    packed = path.suffix.lower() == ".gz"
    return gzip.open(path, "rt", encoding="utf-8-sig") if packed else path.open(encoding="utf-8-sig")


def json_lines(path: Path, what: str) -> Iterator[tuple[int, Any]]:
    """What each line says, with its number from 1; empty lines are passed over.

    Args:
        path: the file.
        what: what it holds, for the error.

    Raises:
        DataError: the file cannot be read to its end as UTF-8, or a line is not JSON.
    """
    number = 0
    try:
        with opened(path) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, read_json(line)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        place = f" at or after line {number}" if number else ""
        raise DataError(
            f"the {what} {path} cannot be read{place}: {error}; name a .jsonl or .jsonl.gz file in UTF-8"
        ) from error
