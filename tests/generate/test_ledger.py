from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from feints.errors import StorageError, VersionError
from feints.generate.guard import alone
from feints.generate.ledger import Ledger
from feints.generate.ledger_tables import LEDGER_VERSION, Claim, ClaimState


def claim(key: str, tokens: int = 10, cost: float = 0.5) -> Claim:
    return Claim(key=key, asker="teacher", prompt_hash="p", prompt=[["user", "2 + 2?"]], tokens=tokens, cost=cost)


def test_a_stored_reply_comes_back_as_it_was_and_is_never_claimed_again(tmp_path: Path) -> None:
    raw = {"choices": [{"message": {"content": "vier \u2028 ½"}}], "usage": {"prompt_tokens": 3}}
    with Ledger(tmp_path / "l.sqlite") as ledger:
        assert ledger.claim([claim("a")]) == [ClaimState.OURS]
        ledger.store("a", raw, prompt_tokens=3, completion_tokens=1, cost=0.25)
    with Ledger(tmp_path / "l.sqlite") as ledger:
        assert ledger.replies(["a", "b"]) == {"a": raw}
        assert ledger.claim([claim("a"), claim("b")]) == [ClaimState.COMPLETE, ClaimState.OURS]
        charges = ledger.charges(["a"])
        assert (charges.requests, charges.tokens, charges.cost, charges.unknown) == (1, 4, 0.25, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["l.sqlite"]


def test_half_a_character_is_stored_and_what_was_stored_before_is_read(tmp_path: Path) -> None:
    half = {"choices": [{"message": {"content": "4 apples \ud83d"}}]}
    whole = {"choices": [{"message": {"content": "4 apples \U0001f600 \u2028 ½"}}]}
    as_before = zlib.compress(json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode(), 1)
    with Ledger(tmp_path / "l") as ledger:
        ledger.claim([claim("half"), claim("whole")])
        ledger.store("half", half)
        ledger.store("whole", whole)
        assert ledger._connection.execute("SELECT raw FROM reply WHERE key = 'whole'").fetchone() == (as_before,)
    with Ledger(tmp_path / "l") as ledger:
        assert ledger.replies(["half", "whole"]) == {"half": half, "whole": whole}


def test_a_call_in_flight_is_claimed_once(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l") as one, Ledger(tmp_path / "l") as other:
        assert one.claim([claim("a"), claim("a")]) == [ClaimState.OURS, ClaimState.ELSEWHERE]
        assert other.claim([claim("a")]) == [ClaimState.ELSEWHERE]
        assert other.in_flight(["a"]) == {"a"}
        one.lose("a")
        assert other.in_flight(["a"]) == set()
        assert other.claim([claim("a")]) == [ClaimState.OURS]


def test_a_lost_call_is_charged_and_a_returned_one_is_not(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l") as ledger:
        ledger.claim([claim("lost"), claim("returned")])
        ledger.lose("lost")
        ledger.release("returned")
        charges = ledger.charges(["lost", "returned"])
        assert (charges.requests, charges.tokens, charges.cost, charges.unknown) == (1, 10, 0.5, 1)
        ledger.claim([claim("lost")])
        ledger.store("lost", {}, prompt_tokens=1, completion_tokens=1, cost=0.1)
        charges = ledger.charges(["lost"])
        assert (charges.requests, charges.tokens, charges.unknown) == (2, 12, 1)
        assert charges.cost == pytest.approx(0.6)


def test_a_second_reply_is_counted_and_the_first_kept() -> None:
    with Ledger() as ledger:
        ledger.claim([claim("a")])
        ledger.store("a", {"n": 1})
        ledger.store("a", {"n": 2})
        assert ledger.replies(["a"]) == {"a": {"n": 1}}
        assert ledger.count()["paid_again"] == 1


HOLD = """
import sys, time
from feints.generate.ledger import Ledger
from feints.generate.ledger_tables import Claim
ledger = Ledger(sys.argv[1])
keys = [f"k{i}" for i in range(5)]
ledger.claim([Claim(key=k, asker="t", prompt_hash="p", prompt=0, tokens=7, cost=0.0) for k in keys])
ledger.store("k0", {"kept": True}, prompt_tokens=1)
sys.stdout.write("ready\\n"); sys.stdout.flush()
time.sleep(60)
"""


def test_kill_9_leaves_the_reply_and_charges_what_was_in_flight_as_unknown(tmp_path: Path) -> None:
    path = tmp_path / "l"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    keys = [f"k{i}" for i in range(5)]
    with Ledger(path) as ledger:
        assert ledger.bury_dead() == 0
        assert ledger.claim([claim(key) for key in keys]) == [ClaimState.COMPLETE] + [ClaimState.ELSEWHERE] * 4
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert ledger.bury_dead() == 4
        assert ledger.charges(keys).unknown == 4
        assert ledger.charges(keys).tokens == 1 + 4 * 7
        assert ledger.claim([claim(key) for key in keys]) == [ClaimState.COMPLETE] + [ClaimState.OURS] * 4
        assert ledger.replies(keys) == {"k0": {"kept": True}}


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    Ledger(tmp_path / "l").close()
    connection = sqlite3.connect(tmp_path / "l")
    connection.execute(f"PRAGMA user_version = {LEDGER_VERSION + 1}")
    connection.close()
    with pytest.raises(VersionError, match=f"version {LEDGER_VERSION + 1}.*update feints"):
        Ledger(tmp_path / "l")


def test_what_is_no_ledger_is_refused_and_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("my notes, " * 500)
    with pytest.raises(StorageError, match="name another path"):
        Ledger(text)
    assert text.read_text() == "my notes, " * 500
    database = sqlite3.connect(tmp_path / "other.sqlite")
    database.execute("CREATE TABLE mine (x)")
    database.commit()
    database.close()
    with pytest.raises(StorageError, match="not a ledger"):
        Ledger(tmp_path / "other.sqlite")
    with pytest.raises(StorageError, match="cannot be opened"):
        Ledger(text / "below_a_file" / "l")


def test_a_full_file_is_one_clear_error_and_loses_nothing(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l") as ledger:
        ledger.claim([claim(str(i)) for i in range(50)])
        (pages,) = ledger._connection.execute("PRAGMA page_count").fetchone()
        ledger._connection.execute(f"PRAGMA max_page_count = {pages + 10}")
        stored = []
        with pytest.raises(StorageError, match="full.*free some space and run again"):
            for i in range(50):
                ledger.store(str(i), {"noise": os.urandom(4000).hex()})
                stored.append(str(i))
        assert ledger.full
        assert 0 < len(stored) < 50
    with Ledger(tmp_path / "l") as ledger:
        ledger.bury_dead()
        assert ledger.finished([str(i) for i in range(50)]) == set(stored)
        assert set(ledger.replies(stored)) == set(stored)


FILL = """
import os, resource, signal, sys
from pathlib import Path
from feints.errors import StorageError
from feints.generate.ledger import Ledger
from feints.generate.ledger_tables import Claim
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
ledger = Ledger(sys.argv[1])
ledger.claim([Claim(key=str(i), asker="t", prompt_hash="p", prompt=0) for i in range(200)])
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
for i in range(200):
    try:
        ledger.store(str(i), {"noise": os.urandom(8000).hex()})
    except StorageError as error:
        sys.stdout.write(f"{i}\\n{ledger.full}\\n{error}\\n")
        break
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_a_disk_that_takes_no_more_is_one_clear_error_and_loses_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FILL, str(tmp_path / "l")]
    count, full, message = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert full == "True"
    assert "full or failing" in message and "will not be paid again" in message
    assert int(count) > 10
    with Ledger(tmp_path / "l") as ledger:
        assert ledger.finished([str(i) for i in range(200)]) == {str(i) for i in range(int(count))}


def test_the_reserve_lets_a_paid_reply_land_when_the_disk_fills_up(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l") as ledger:
        ledger.claim([claim("a")])
        (reserve,) = tmp_path.glob("l-reserve-*")
        assert reserve.stat().st_size == 8 << 20
        attempts = []

        def write(connection: sqlite3.Connection) -> str:
            attempts.append(reserve.exists())
            if reserve.exists():
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error
            return "landed"

        assert ledger._insist("storing a reply", write) == "landed"
        assert attempts == [True, False]
        assert ledger.full


def test_the_reserve_of_a_killed_process_is_cleared_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    (tmp_path / "l-reserve-dead").write_bytes(b"room")
    with Ledger(tmp_path / "l") as first, Ledger(tmp_path / "l") as second:
        first.claim([claim("a")])
        (held,) = tmp_path.glob("l-reserve-*")
        assert not held.name.endswith("dead")
        second.claim([claim("b")])
        assert len({held, *tmp_path.glob("l-reserve-*")}) == 2 and held.exists()
    assert not list(tmp_path.glob("l-reserve-*"))


def test_damage_is_named(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l") as ledger:
        ledger.claim([claim("a")])
        ledger.store("a", {"fine": 1})
        ledger._connection.execute("UPDATE reply SET raw = x'00'")
        with pytest.raises(StorageError, match="damaged"):
            ledger.replies(["a"])


def test_a_lock_that_cannot_be_taken_is_no_sign_of_another_process(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()  # what SQLite cannot open
    with pytest.raises(StorageError, match="lock .* cannot be taken"), alone(tmp_path / "lock"):
        pass
    with alone(tmp_path / "other") as ours, alone(tmp_path / "other") as theirs:
        assert ours and not theirs
    with Ledger(tmp_path / "l") as ledger:
        ledger._guard._path(ledger._guard.owner).mkdir()
        with pytest.raises(StorageError, match="cannot be taken"):
            ledger.claim([claim("a")])


def test_a_fault_while_reading_is_one_clear_error(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l") as ledger:
        ledger._connection.execute("ALTER TABLE call RENAME TO gone")
        reads: list[Callable[[], object]] = [
            lambda: ledger.history("teacher"),
            ledger.count,
            lambda: ledger.in_flight(["a"]),
            lambda: ledger.finished(["a"]),
        ]
        for read in reads:
            with pytest.raises(StorageError, match="failed while"):
                read()


def test_history_is_what_replies_took() -> None:
    with Ledger() as ledger:
        assert ledger.history("teacher").replies == 0
        rows = [Claim(key=k, asker="teacher", prompt_hash="p", prompt=0, prompt_tokens=10) for k in "ab"]
        ledger.claim(rows)
        ledger.store("a", {}, prompt_tokens=12, completion_tokens=100)
        ledger.store("b", {}, prompt_tokens=14, completion_tokens=50)
        history = ledger.history("teacher")
        assert (history.replies, history.prompt_scale, history.completion_tokens) == (2, 1.3, 75)


def test_the_prompt_is_kept_once_for_all_samples(tmp_path: Path) -> None:
    import zlib

    with Ledger(tmp_path / "l") as ledger:
        ledger.claim([claim(str(i)) for i in range(9)])
        rows = ledger._connection.execute("SELECT body FROM prompt").fetchall()
        assert [json.loads(zlib.decompress(body)) for (body,) in rows] == [[["user", "2 + 2?"]]]


def test_a_call_sent_again_is_charged_what_was_reserved_for_it_then() -> None:
    with Ledger() as ledger:
        for tokens, cost in ((10, 0.5), (30, 2.0)):
            ledger.claim([claim("a", tokens, cost)])
            ledger.lose("a")
        charges = ledger.charges(["a"])
        assert (charges.requests, charges.tokens, charges.cost) == (2, 40, 2.5)


def test_a_refusal_does_not_forget_an_attempt_that_was_lost_before() -> None:
    with Ledger() as ledger:
        ledger.claim([claim("a")])
        ledger.lose("a")
        ledger.claim([claim("a")])
        ledger.release("a")
        charges = ledger.charges(["a"])
        assert (charges.requests, charges.tokens, charges.unknown) == (1, 10, 1)
        assert ledger.claim([claim("a")]) == [ClaimState.OURS]


def test_the_history_of_a_source_is_its_own() -> None:
    with Ledger() as ledger:
        ledger.claim([claim("a")])
        ledger.store("a", {}, prompt_tokens=3, completion_tokens=5)
        assert ledger.history("teacher").replies == 1
        assert ledger.history("another teacher").replies == 0


def test_a_call_whose_loss_could_not_be_written_may_be_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(doing: str, write: object) -> None:
        raise StorageError("full")

    with Ledger() as ledger:
        ledger.claim([claim("a")])
        with monkeypatch.context() as patched:
            patched.setattr(ledger, "_insist", refused)
            with pytest.raises(StorageError):
                ledger.lose("a")
        assert ledger.in_flight(["a"]) == set()
        assert ledger.claim([claim("a")]) == [ClaimState.OURS]
