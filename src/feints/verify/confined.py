"""Programs that need all of Python: one process each, confined by Landlock and seccomp where the machine has them."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from feints.verify.execution import Execution, Failure, Limits, failed, value_text

RAN_IN = "sandlock"
_LAUNCHER = Path(__file__).with_name("confined_launcher.py")
_RUNNER = Path(__file__).with_name("confined_runner.py")
_MEMORY = 512 << 20
"""Bytes of address space: sympy and numpy alone take two hundred million."""
_ROOM = 1 << 16
"""Bytes of the memory file that carries the program in and the value out; it cannot grow, so nothing floods us."""
_START_LIMIT = 40.0
"""Seconds beyond the limit after which launcher and program are killed from here, whatever the launcher does."""
_LATE, _FULL, _UNSTARTED = 3, 4, 5
"""Exit codes of the launcher when time or memory was up, and when the program never began."""
_TOLD = frozenset((Failure.SYNTAX, Failure.RUNTIME, Failure.MEMORY, Failure.NO_ANSWER))
"""Failures that the runner tells of; a program that writes over its reply can claim no other."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """What this machine offers."""

    missing: str
    """Why programs cannot be confined here; "" where they can."""


@cache
def confinement() -> Confinement:
    """Whether programs can be confined here, tried once with a program that must succeed and one that must not."""
    if not sys.platform.startswith("linux"):
        return Confinement(f"Landlock and seccomp are Linux's, and this is {sys.platform}")
    if importlib.util.find_spec("sandlock") is None:
        return Confinement("sandlock is not installed; run: pip install 'feints[execute]'")
    import sandlock  # noqa: PLC0415  an extra, Linux only

    if sandlock.landlock_abi_version() < sandlock.min_landlock_abi():
        return Confinement("this kernel's Landlock is too old for sandlock")
    limits = Limits(seconds=20.0)
    good = run_confined("ans = 6 * 7", limits)
    if good.value != "42":
        return Confinement(f"a harmless program failed in sandlock: {good.detail}")
    bad = run_confined(f"ans = open({str(_RUNNER.parent / 'judge.py')!r}).read()[:1]", limits)
    if bad.failure is not Failure.RUNTIME:
        return Confinement("sandlock let a program read a file")
    return Confinement("")


def run_confined(program: str, limits: Limits) -> Execution:
    """Run a program in a confined process of its own; it must be known that the machine can.

    Its only way out is a memory file that cannot grow, so no flood of output reaches us.
    """
    encoded = program.encode("utf-8", "replace")
    if len(encoded) > _ROOM - 1024:
        return failed(Failure.SYNTAX, "the program is too long", RAN_IN)
    place = os.memfd_create("program", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    try:
        _fill(place, encoded)
        command = [sys.executable, "-I", "-S", "-B", str(_LAUNCHER), f"{limits.seconds:g}", str(_MEMORY)]
        launcher = subprocess.Popen(
            [*command, str(_RUNNER), _packages(), *_readable()],
            stdin=place,
            stdout=place,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            start_new_session=True,
        )
        try:
            code = launcher.wait(_START_LIMIT + limits.seconds)
        except subprocess.TimeoutExpired:
            code = _LATE
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(launcher.pid, signal.SIGKILL)
            launcher.kill()
            launcher.wait()
        return _read(os.pread(place, 8192, 0).partition(b"\n")[0], code, limits)
    except OSError as error:
        return failed(Failure.NOT_RUN, f"the sandbox failed: {error}", RAN_IN)
    finally:
        os.close(place)


def _fill(place: int, program: bytes) -> None:
    import fcntl  # noqa: PLC0415  not on Windows

    os.ftruncate(place, _ROOM)
    os.pwrite(place, str(len(program)).encode() + b"\n" + program, 0)
    fcntl.fcntl(place, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)


def _read(line: bytes, code: int, limits: Limits) -> Execution:
    if code == _LATE:
        return failed(Failure.TIME, f"no end within {limits.seconds:g} s", RAN_IN)
    if code == _FULL:
        return failed(Failure.MEMORY, f"it needs more than {_MEMORY >> 20} MiB", RAN_IN)
    if code == _UNSTARTED or code < 0:
        return failed(Failure.NOT_RUN, "the sandbox did not start, or was lost", RAN_IN)
    try:
        reply = json.loads(line)
        value, failure, detail = reply.get("value"), reply.get("failure"), str(reply.get("detail", ""))
        if isinstance(value, str):
            text = value_text(value)
            return Execution(value=text, ran_in=RAN_IN) if text else failed(Failure.NO_ANSWER, "ans is empty", RAN_IN)
        if isinstance(failure, str) and failure in _TOLD:
            return failed(Failure(failure), detail, RAN_IN)
        return failed(Failure.RUNTIME, "its reply was written over", RAN_IN)
    except (ValueError, AttributeError, RecursionError):  # it ended before it said anything, or wrote over it
        return failed(Failure.RUNTIME, f"its process ended with code {code} and no value", RAN_IN)


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
