"""The request ledger: every raw reply in SQLite the moment it arrives, so that nothing is paid twice."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from feints.errors import StorageError, VersionError
from feints.generate.guard import Guard, Reserve
from feints.generate.ledger_tables import (
    APPLICATION,
    LEDGER_VERSION,
    SCHEMA,
    Charges,
    Claim,
    ClaimState,
    History,
)

_KEYS_PER_QUERY = 500
_Result = TypeVar("_Result")

_TO_UNKNOWN = """
UPDATE call SET state = 'unknown', owner = NULL, unknown_calls = unknown_calls + 1,
  unknown_tokens = unknown_tokens + reserved_tokens, unknown_cost = unknown_cost + reserved_cost, changed_at = ?
WHERE state = 'sent' AND owner = ?"""

_CLAIM = """
INSERT INTO call (key, state, owner, asker, prompt, reserved_tokens, reserved_cost, estimated_prompt_tokens, changed_at)
VALUES (?, 'sent', ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET state = 'sent', owner = excluded.owner, changed_at = excluded.changed_at,
  reserved_tokens = excluded.reserved_tokens, reserved_cost = excluded.reserved_cost"""

_STATES = "SELECT key, state, owner FROM call WHERE key IN"

_CHARGES = """
SELECT count(*) FILTER (WHERE state = 'complete'), sum(unknown_calls),
  sum(prompt_tokens + min(unknown_tokens, unknown_calls * estimated_prompt_tokens)),
  sum(prompt_tokens + completion_tokens + unknown_tokens), sum(cost + unknown_cost) FROM call WHERE key IN """

_UNANSWERED = """
SELECT key, unknown_calls, unknown_tokens, unknown_cost FROM call WHERE unknown_calls > 0 AND key IN """


def _pack(value: object) -> bytes:
    """`value` as compressed JSON; half a character, as a token limit may leave it, is kept as it came."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return zlib.compress(text.encode("utf-8", "surrogatepass"), 1)


def _chunks(keys: Collection[str]) -> Iterator[tuple[list[str], str]]:
    """Keys in handfuls that fit one query, each with its placeholders."""
    listed = list(keys)
    for start in range(0, len(listed), _KEYS_PER_QUERY):
        part = listed[start : start + _KEYS_PER_QUERY]
        yield part, f"({','.join('?' * len(part))})"


class Ledger:
    """All calls ever made, by content. Without a path it lives in memory and ends with the process.

    One connection, usable from any thread. Several processes may share one file: a request in flight is claimed
    by a row, and a claim ends with the process that made it, however that ends. Commits survive `kill -9`; a
    power cut may take the last moments before it, which are then asked again, but never damages the file.

    Raises:
        StorageError: the file cannot be opened, is damaged, or the disk is full.
        VersionError: the file was written by a newer version.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = Path(path) if path is not None else None
        self.full = False
        """Set when the disk filled up: what is in flight may land, nothing new may be sent."""
        self._lock = threading.RLock()
        self._flying: set[str] = set()
        self._guard = Guard(self.path)
        self._reserve = Reserve(self.path, self._guard.owner)
        try:
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self.path or ":memory:", timeout=60, isolation_level=None, check_same_thread=False
            )
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._connection.close()
            raise self._unusable(error) from error
        except BaseException:
            self._connection.close()
            raise

    def _unusable(self, error: Exception) -> StorageError:
        return StorageError(
            f"the ledger {self.path} cannot be opened ({error}); check that its folder is writable and that the "
            "file is a ledger, or name another path"
        )

    def _prepare(self) -> None:
        """Create the tables of a new file; refuse a file of another kind or of a newer version."""
        connection = self._connection
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        if application != APPLICATION and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise StorageError(f"{self.path} is an SQLite file but not a ledger; name another path")
        if version > LEDGER_VERSION:
            raise VersionError(
                f"the ledger {self.path} has version {version}, this feints reads {LEDGER_VERSION}; "
                "update feints or name another path"
            )
        if version == 0:
            for statement in SCHEMA.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {LEDGER_VERSION}")
        connection.execute("COMMIT")

    def full_message(self) -> str:
        """What to say where `full` is set and everything in flight has landed."""
        return (
            f"the disk of the ledger {self.path} is full; what was in flight has landed and is kept. Free some space "
            "and run again: nothing will be paid twice"
        )

    def close(self) -> None:
        """Close the file; calls still in flight are found as unknown by whoever opens it next."""
        with self._lock:
            self._connection.close()
            self._guard.leave()
            self._reserve.free()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Writing

    @contextmanager
    def _transaction(self, doing: str) -> Iterator[sqlite3.Connection]:
        """One transaction; every fault of the file becomes a StorageError."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
            except (sqlite3.Error, OSError) as error:
                raise self._fault(doing, error) from error

    def _fault(self, doing: str, error: Exception) -> StorageError:
        code = getattr(error, "sqlite_errorcode", 0)
        if code == sqlite3.SQLITE_FULL or code & 0xFF == sqlite3.SQLITE_IOERR:
            self.full = True
            return StorageError(
                f"the disk of the ledger {self.path} is full or failing ({error}, while {doing}); free some space "
                "and run again: every reply stored so far is kept and will not be paid again"
            )
        return StorageError(f"the ledger {self.path} failed while {doing} ({error}); check the file and run again")

    def _insist(self, doing: str, write: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Write what is already paid: when the disk is full, give up the reserve and try once more."""
        try:
            with self._transaction(doing) as connection:
                return write(connection)
        except StorageError:
            if not (self.full and self._reserve.free()):
                raise
        with self._transaction(doing) as connection:
            return write(connection)

    def claim(self, claims: Sequence[Claim]) -> list[ClaimState]:
        """Mark requests as sent by this process, just before they are; says for each whether they may be."""
        self._guard.stand()
        self._reserve.hold()
        now, owner = time.time(), self._guard.owner
        with self._transaction("claiming requests") as connection:
            states = self._states(connection, [claim.key for claim in claims])
            result, ours = [], []
            for claim in claims:
                state = states.get(claim.key)
                if state == "complete":
                    result.append(ClaimState.COMPLETE)
                elif state == "sent":
                    result.append(ClaimState.ELSEWHERE)
                else:
                    result.append(ClaimState.OURS)
                    ours.append(claim)
                    states[claim.key] = "sent"
            prompts = {claim.prompt_hash: claim.prompt for claim in ours}
            self._keep_prompts(connection, prompts)
            connection.executemany(
                _CLAIM, [(c.key, owner, c.asker, c.prompt_hash, c.tokens, c.cost, c.prompt_tokens, now) for c in ours]
            )
            self._flying |= {claim.key for claim in ours}
        return result

    def _states(self, connection: sqlite3.Connection, keys: Collection[str]) -> dict[str, str]:
        """State of each call that has one.

        A call marked as sent by this process that no longer is (its mark could not be taken back) is unknown.
        """
        states: dict[str, str] = {}
        for part, marks in _chunks(keys):
            for key, state, owner in connection.execute(f"{_STATES} {marks}", part):
                forgotten = state == "sent" and owner == self._guard.owner and key not in self._flying
                states[key] = "unknown" if forgotten else state
        return states

    @staticmethod
    def _keep_prompts(connection: sqlite3.Connection, prompts: Mapping[str, Any]) -> None:
        known: set[str] = set()
        for part, marks in _chunks(prompts):
            known |= {row[0] for row in connection.execute(f"SELECT hash FROM prompt WHERE hash IN {marks}", part)}
        rows = [(name, _pack(body)) for name, body in prompts.items() if name not in known]
        connection.executemany("INSERT INTO prompt (hash, body) VALUES (?, ?)", rows)

    def store(
        self, key: str, raw: Mapping[str, Any], *, prompt_tokens: int = 0, completion_tokens: int = 0, cost: float = 0.0
    ) -> None:
        """Keep a complete reply; durable when this returns. A second reply to one request is counted, not kept."""
        self._flying.discard(key)
        blob = _pack(raw)
        values = (prompt_tokens, completion_tokens, cost, time.time(), key)

        def write(connection: sqlite3.Connection) -> None:
            if connection.execute("INSERT OR IGNORE INTO reply (key, raw) VALUES (?, ?)", (key, blob)).rowcount:
                connection.execute(
                    "UPDATE call SET state = 'complete', owner = NULL, prompt_tokens = ?, completion_tokens = ?, "
                    "cost = ?, changed_at = ? WHERE key = ?",
                    values,
                )
            else:
                connection.execute("UPDATE call SET paid_again = paid_again + 1 WHERE key = ?", (key,))

        self._insist("storing a reply", write)

    def lose(self, key: str) -> None:
        """An attempt was cut or fell silent: charge it as unknown and let it be sent again."""
        self._flying.discard(key)
        self._insist(
            "marking a lost call",
            lambda c: c.execute(_TO_UNKNOWN + " AND key = ?", (time.time(), self._guard.owner, key)),
        )

    def release(self, key: str) -> None:
        """An attempt was refused without being charged: forget the claim."""
        self._flying.discard(key)

        def write(connection: sqlite3.Connection) -> None:
            mine = (key, self._guard.owner)
            connection.execute(
                "DELETE FROM call WHERE key = ? AND owner = ? AND state = 'sent' AND unknown_calls = 0", mine
            )
            connection.execute(
                "UPDATE call SET state = 'unknown', owner = NULL WHERE key = ? AND owner = ? AND state = 'sent'", mine
            )

        self._insist("releasing a claim", write)

    def keep_malformed(self, key: str, raw: Mapping[str, Any]) -> None:
        """Keep a reply that could not be read, as evidence, before the request is sent again."""
        row = (key, _pack(raw), time.time())
        self._insist("keeping a malformed reply", lambda c: c.execute("INSERT INTO malformed VALUES (?, ?, ?)", row))

    def bury_dead(self) -> int:
        """Charge as unknown what ended processes had in flight; returns how many calls that were."""
        with self._transaction("marking the calls of ended processes") as connection:
            owners = [row[0] for row in connection.execute("SELECT DISTINCT owner FROM call WHERE state = 'sent'")]
            dead = [owner for owner in owners if not self._guard.is_alive(owner)]
            return sum(connection.execute(_TO_UNKNOWN, (time.time(), owner)).rowcount for owner in dead)

    # Reading

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """The file to read from; every fault of it becomes a StorageError."""
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise self._fault("reading", error) from error

    def _rows(self, query: str, keys: Collection[str]) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        with self._reading() as connection:
            for part, marks in _chunks(keys):
                rows += connection.execute(query + marks, part).fetchall()
        return rows

    def finished(self, keys: Collection[str]) -> set[str]:
        """Those of `keys` whose reply is stored."""
        return {row[0] for row in self._rows("SELECT key FROM call WHERE state = 'complete' AND key IN ", keys)}

    def in_flight(self, keys: Collection[str]) -> set[str]:
        """Those of `keys` that some living process has in flight."""
        self.bury_dead()
        with self._reading() as connection:
            states = self._states(connection, keys)
        return {key for key, state in states.items() if state == "sent"}

    def replies(self, keys: Collection[str]) -> dict[str, dict[str, Any]]:
        """Raw replies of `keys`, as far as they are stored."""
        rows = self._rows("SELECT key, raw FROM reply WHERE key IN ", keys)
        try:
            return {key: json.loads(zlib.decompress(blob)) for key, blob in rows}
        except (zlib.error, ValueError) as error:
            raise StorageError(f"a reply in the ledger {self.path} is damaged ({error}); restore a copy") from error

    def charges(self, keys: Collection[str]) -> Charges:
        """What `keys` have cost, attempts of unknown fate included."""
        total = Charges()
        for complete, unknown, prompt_tokens, tokens, cost in self._rows(_CHARGES, keys):
            total = Charges(
                requests=total.requests + complete + (unknown or 0),
                tokens=total.tokens + (tokens or 0),
                prompt_tokens=total.prompt_tokens + (prompt_tokens or 0),
                cost=total.cost + (cost or 0.0),
                unknown=total.unknown + (unknown or 0),
            )
        return total

    def unanswered(self, keys: Collection[str]) -> dict[str, tuple[int, int, float]]:
        """Attempts, tokens and money by key, where attempts of unknown fate or malformed replies were paid for."""
        return {key: (calls, tokens or 0, cost or 0.0) for key, calls, tokens, cost in self._rows(_UNANSWERED, keys)}

    def history(self, asker: str) -> History:
        """What the replies of one source took so far."""
        query = "SELECT count(*), avg(completion_tokens), sum(prompt_tokens), sum(estimated_prompt_tokens) FROM call"
        with self._reading() as connection:
            row = connection.execute(f"{query} WHERE state = 'complete' AND asker = ?", (asker,)).fetchone()
        count, completion, stated, estimated = row
        scale = stated / estimated if stated and estimated else 1.0
        return History(replies=count, prompt_scale=scale, completion_tokens=completion or 0.0)

    def count(self) -> dict[str, int]:
        """Calls by state, and attempts of unknown fate, malformed replies and `paid_again` (0 by design)."""
        with self._reading() as connection:
            states = dict(connection.execute("SELECT state, count(*) FROM call GROUP BY state").fetchall())
            unknown, again = connection.execute(
                "SELECT coalesce(sum(unknown_calls), 0), coalesce(sum(paid_again), 0) FROM call"
            ).fetchone()
            (malformed,) = connection.execute("SELECT count(*) FROM malformed").fetchone()
        base = {"sent": 0, "complete": 0, "unknown": 0}
        return base | states | {"unknown_calls": unknown, "malformed": malformed, "paid_again": again}
