"""Files beside a ledger: a lock that tells whether its owner lives, and disk held back for calls in flight."""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from feints.errors import StorageError

RESERVE_BYTES = 8 << 20
"""Disk held back so that calls in flight can still land when the disk is full."""


class _HeldError(StorageError):
    """Another connection holds a lock."""


def _locked(path: Path) -> sqlite3.Connection:
    """The lock: an open transaction on a tiny SQLite file, which behaves alike on every platform.

    Raises:
        _HeldError: another connection holds it.
        StorageError: it cannot be taken here at all.
    """
    lock = None
    try:
        lock = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        if lock is not None:
            lock.close()
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise _HeldError(f"another process holds the lock {path}; let it end and run again") from error
        raise StorageError(
            f"the lock {path} cannot be taken ({error}); see that its folder can be written and lies on a drive that "
            "locks files (not all network drives do), or choose another place"
        ) from error
    return lock


class Guard:
    """A lock held by this process; the system frees it when the process ends, however it ends."""

    def __init__(self, ledger: Path | None) -> None:
        self.owner = uuid.uuid4().hex
        """Name under which this process claims calls."""
        self._ledger = ledger
        self._lock: sqlite3.Connection | None = None

    def _path(self, owner: str) -> Path:
        assert self._ledger is not None
        return self._ledger.with_name(f"{self._ledger.name}-owner-{owner}")

    def stand(self) -> None:
        """Take the lock, once; a ledger in memory has nobody to tell.

        Raises:
            StorageError: it cannot be taken.
        """
        if self._ledger is None or self._lock is not None:
            return
        self._lock = _locked(self._path(self.owner))
        self._clear_reserves()

    def _clear_reserves(self) -> None:
        """Remove the reserves of processes that were killed."""
        assert self._ledger is not None
        prefix = f"{self._ledger.name}-reserve-"
        for path in self._ledger.parent.glob(f"{prefix}*"):
            if not self.is_alive(path.name.removeprefix(prefix)):
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    def is_alive(self, owner: str) -> bool:
        """Whether the process that claims as `owner` still runs; the file of a dead one is removed.

        One whose lock cannot be looked at (another user's) may run: its calls are left to it.
        """
        if owner == self.owner:
            return True
        path = self._path(owner)
        if not path.exists():
            return False
        try:
            _locked(path).close()
        except StorageError:
            return True
        path.unlink(missing_ok=True)
        return False

    def leave(self) -> None:
        """Give the lock up and remove its file."""
        if self._lock is None:
            return
        self._lock.close()
        self._lock = None
        with suppress(OSError):
            self._path(self.owner).unlink(missing_ok=True)


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Hold `path` as a lock until the block or the process ends; False where another process holds it.

    Raises:
        StorageError: it cannot be taken here at all.
    """
    try:
        lock = _locked(path)
    except _HeldError:
        yield False
        return
    try:
        yield True
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        lock.close()


class Reserve:
    """A file of some size that is given up when the disk is full; without room for it there is none."""

    def __init__(self, ledger: Path | None, owner: str) -> None:
        self._path = ledger and ledger.with_name(f"{ledger.name}-reserve-{owner}")
        self._held = False

    def hold(self) -> None:
        """Take the room, once."""
        if self._path is None or self._held:
            return
        try:
            with self._path.open("wb") as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)
                else:
                    file.write(bytes(RESERVE_BYTES))
        except OSError:
            self._path.unlink(missing_ok=True)
            return
        self._held = True

    def free(self) -> bool:
        """Give the room up; whether there was any."""
        if self._path is None or not self._held:
            return False
        self._held = False
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
        return True
