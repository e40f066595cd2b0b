"""The processes that start confined programs, kept from one program to the next."""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

MEMORY = 512 << 20
"""Bytes of address space: sympy and numpy alone take two hundred million."""
LATE, FULL, UNSTARTED = 3, 4, 5
"""What a launcher tells when time or memory was up, and when the program never began."""
_LAUNCHER = Path(__file__).with_name("confined_launcher.py")
_RUNNER = Path(__file__).with_name("confined_runner.py")
_START_LIMIT = 40.0
"""Seconds beyond the limit after which launcher and program are killed from here, whatever the launcher does."""
_MOST = 100
"""Programs after which a launcher is replaced: its own processor time is limited too, and nothing in it may pile up."""


class Launcher:
    """A launcher and the socket it is spoken to by; it ends itself when this process is gone."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.owner, self.lost = seconds, os.getpid(), False
        self._served = 0
        self._channel, theirs = socket.socketpair()
        command = [sys.executable, "-I", "-S", "-B", str(_LAUNCHER), f"{seconds:g}", str(MEMORY), str(_RUNNER)]
        with theirs:
            self._process = subprocess.Popen(
                [*command, _packages(), *_readable()],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def usable(self) -> bool:
        """Whether it may serve another program."""
        return not self.lost and self._served < _MOST and self._process.poll() is None

    def run(self, place: int) -> int:
        """Run the program in the memory file `place`; what the launcher tells of its end, or LATE or UNSTARTED."""
        self._served += 1
        self._channel.settimeout(_START_LIMIT + self.seconds)
        try:
            socket.send_fds(self._channel, [b"P"], [place])
            told = self._channel.recv(1)
        except TimeoutError:
            told = bytes([LATE])
            self.lost = True
        except ConnectionError:
            told = b""
        if not told or told[0] == UNSTARTED:
            self.lost = True
        return told[0] if told else UNSTARTED

    def close(self) -> None:
        """Kill it and whatever it started."""
        self._channel.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()


_idle: list[Launcher] = []
"""Launchers nobody uses now: as many as threads have run programs at once."""


def launch(place: int, seconds: float) -> int:
    """Run the program in the memory file `place` within `seconds`; 0 when it ended, else see `Launcher.run`.

    Raises:
        OSError: no process can be started.
    """
    launcher = _taken(seconds)
    try:
        return launcher.run(place)
    except BaseException:
        launcher.lost = True
        raise
    finally:
        if launcher.usable:
            _idle.append(launcher)
        else:
            launcher.close()


def _taken(seconds: float) -> Launcher:
    """An idle launcher of this process with this limit, or a new one."""
    while True:
        try:
            found = _idle.pop()
        except IndexError:
            return Launcher(seconds)
        if found.owner != os.getpid():  # we are a fork, and it is our parent's
            continue
        if found.usable and found.seconds == seconds:
            return found
        found.close()


def idle_pids() -> list[int]:
    """Process ids of the launchers that wait for a program."""
    return [launcher.pid for launcher in _idle]


@atexit.register
def close_idle() -> None:
    """End the launchers that wait; those under way stay, and a further program starts another."""
    while _idle:
        found = _idle.pop()
        if found.owner == os.getpid():
            found.close()


@cache
def _packages() -> str:
    spec = importlib.util.find_spec("sympy")
    return str(Path(spec.origin).parents[1]) if spec is not None and spec.origin else ""


@cache
def _readable() -> list[str]:
    """Python's own installation, the packages beside sympy, system libraries; nothing of the user's."""
    places = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/dev/urandom", str(_RUNNER), _packages()]
    places += [str(Path(sys.base_prefix) / "lib"), str(Path(sys.base_prefix) / "bin"), str(Path(sys.executable).parent)]
    places += [str(Path(os.path.realpath(sys.executable)))]
    return [place for place in dict.fromkeys(places) if place and Path(place).exists()]
