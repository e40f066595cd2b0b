"""Content address of the checkers: a changed source file of this folder makes every verdict stale."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path


@cache
def code_hash(folder: Path = Path(__file__).parent) -> str:
    """Hex digest of the source files of a folder, the checkers' own, names and contents; equal on every machine.

    Line endings are made one, so a checkout on Windows gives the same hash.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).as_posix()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()
