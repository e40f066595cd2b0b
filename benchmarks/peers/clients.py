"""Teacher clients side by side: speed, `kill -9` at 60 % and run again, an identical rerun, one row more.

Every side is a program `COMMAND ADDRESS PLACE COUNT` that asks the same COUNT questions, keeps what it keeps in PLACE,
and prints {"seconds": of its call, "answered": rows, "note": to be said} last; importing is nobody's time.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from board import environments
from board.figures import Figure

COUNT, KILLED_AT, LATENCY = 1000, 600, "0.3"
Server = Callable[..., AbstractContextManager[str]]
Stats = Callable[[str], dict[str, int]]


@dataclass(frozen=True, slots=True)
class Side:
    """One client with its settings."""

    name: str
    command: list[str]
    place: str
    options: tuple[str, ...] = ()

    def run(self, address: str, folder: str, count: int, limit: float) -> dict[str, Any] | str:
        """What one run found, or why it found nothing."""
        words = [*self.command, address, str(Path(folder) / self.place), str(count), *self.options]
        process = _start(words)
        try:
            out, error = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            _kill(process)
            return f"had not finished after {limit:g} s"
        if process.returncode:
            return f"ended with an error: {error.strip().splitlines()[-1][:160] if error.strip() else '?'}"
        found: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
        return found if found["answered"] == count else f"answered {found['answered']:g} of {count}"

    def die(self, address: str, folder: str, stats: Stats, limit: float) -> str:
        """Start, and `kill -9` with all its processes once the server has answered 60 %; why not, where it failed."""
        words = [*self.command, address, str(Path(folder) / self.place), str(COUNT), *self.options]
        process = _start(words, subprocess.DEVNULL)  # nobody reads while we wait: a full pipe would stop it
        until = time.monotonic() + limit
        while stats(address)["answered"] < KILLED_AT:
            if process.poll() is not None or time.monotonic() > until:
                _kill(process)
                return "never came to 60 %"
            time.sleep(0.005)
        _kill(process)
        time.sleep(1.0)
        return ""


def _start(words: list[str], to: int = subprocess.PIPE) -> subprocess.Popen[str]:
    environment = os.environ | {"OPENAI_API_KEY": "none", "HF_HUB_OFFLINE": "1", "TELEMETRY_ENABLED": "false"}
    return subprocess.Popen(words, stdout=to, stderr=to, text=True, env=environment, start_new_session=True)


def _kill(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def peer_sides() -> list[Side]:
    """The peers, as shipped and as fast as their settings go."""
    here, sides = Path(__file__).parent, []
    for peer, name, options in (
        ("curator", "curator", ()),
        ("distilabel", "distilabel", ("--batch", "50")),
        ("distilabel", "distilabel, batch 1000", ("--batch", str(COUNT))),
    ):
        command = [str(environments.install(peer)), str(here / f"{peer}_side.py")]
        sides.append(Side(name, command, "cache", options))
    return sides


@dataclass(slots=True)
class _Rounds:
    """Rounds of one measurement by side, and what went wrong."""

    what: str
    unit: str
    values: dict[str, list[float]]
    remarks: dict[str, str]

    def note(self, side: Side, value: float | str, remark: str = "") -> None:
        """A round, or why it gave nothing."""
        rounds = self.values.setdefault(side.name, [])
        if isinstance(value, str):
            remark = value
        else:
            rounds.append(value)
        if remark:
            self.remarks[side.name] = remark

    def figure(self) -> Figure:
        return Figure(what=self.what, unit=self.unit, better="less", sides=self.values, remarks=self.remarks)


def compare(sides: list[Side], server: Server, stats: Stats, rounds: int, limit: float) -> list[Figure]:
    """All measurements, sides in turn in every round."""
    speed = _Rounds(f"{COUNT:,} requests at 300 ms", "s", {}, {})
    same = _Rounds("requests of an identical rerun (needed: 0)", "requests", {}, {})
    more = _Rounds("requests of a run with one row more (needed: 1)", "requests", {}, {})
    again = _Rounds("requests sent again after kill -9 at 60 % and a rerun", "requests", {}, {})
    rerun = _Rounds("that rerun", "s", {}, {})
    for number in range(rounds):
        for side in sides:
            _whole(side, server, stats, limit, speed, same, more)
            _crash(side, server, stats, limit, again, rerun)
            print(f"round {number + 1} of {rounds}: {side.name}", file=sys.stderr, flush=True)
    return [part.figure() for part in (speed, again, rerun, same, more)]


def _whole(
    side: Side, server: Server, stats: Stats, limit: float, speed: _Rounds, same: _Rounds, more: _Rounds
) -> None:
    """A run to its end, the same again, and one row more."""
    with server("--latency", LATENCY) as address, tempfile.TemporaryDirectory() as folder:
        for part, count in ((speed, COUNT), (same, COUNT), (more, COUNT + 1)):
            before = stats(address)["calls"]
            found = side.run(address, folder, count, limit)
            if isinstance(found, str):
                part.note(side, found)
                return
            value = found["seconds"] if part is speed else stats(address)["calls"] - before
            part.note(side, value, found.get("note", ""))


def _crash(side: Side, server: Server, stats: Stats, limit: float, again: _Rounds, rerun: _Rounds) -> None:
    """A run that is killed, and another that goes on."""
    with server("--latency", LATENCY) as address, tempfile.TemporaryDirectory() as folder:
        failed = side.die(address, folder, stats, limit)
        found = failed or side.run(address, folder, COUNT, limit)
        if isinstance(found, str):
            again.note(side, found)
            rerun.note(side, found)
            return
        again.note(side, stats(address)["calls"] - COUNT)
        rerun.note(side, found["seconds"])
