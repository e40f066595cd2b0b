"""Programs that need all of Python: one process each, confined by Landlock and seccomp where the machine has them."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from functools import cache

from feints.verify.execution import Execution, Failure, Limits, failed, value_text
from feints.verify.launchers import FULL, LATE, MEMORY, UNSTARTED, launch

RAN_IN = "sandlock"
_ROOM = 1 << 16
"""Bytes of the memory file that carries the program in and the value out; it cannot grow, so nothing floods us."""
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
    # No file of ours: where feints is installed it lies beside sympy, which may be read.
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as canary:
        canary.write("canary")
        canary.flush()
        bad = run_confined(f"ans = open({canary.name!r}).read()[:1]", limits)
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
        code = launch(place, limits.seconds)
        return _read(os.pread(place, 8192, 0), code, limits)
    except OSError as error:
        return failed(Failure.NOT_RUN, f"the sandbox failed: {error}", RAN_IN)
    finally:
        os.close(place)


def _fill(place: int, program: bytes) -> None:
    import fcntl  # noqa: PLC0415  not on Windows

    os.ftruncate(place, _ROOM)
    os.pwrite(place, str(len(program)).encode() + b"\n" + program, 0)
    fcntl.fcntl(place, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)


def _read(place: bytes, code: int, limits: Limits) -> Execution:
    """What became of a program, by what the launcher told and what stands in the memory file."""
    if code == LATE:
        return failed(Failure.TIME, f"no end within {limits.seconds:g} s", RAN_IN)
    if code == FULL:
        return failed(Failure.MEMORY, f"it needs more than {MEMORY >> 20} MiB", RAN_IN)
    if code == UNSTARTED:
        return failed(Failure.NOT_RUN, "the sandbox did not start, or was lost", RAN_IN)
    size, _, rest = place.partition(b"\n")
    if not re.fullmatch(rb"=\d{1,4}", size):  # it ended before it said anything, or wrote over it
        return failed(Failure.RUNTIME, f"its process ended with code {code} and no value", RAN_IN)
    kind, _, told = rest[: int(size[1:])].decode("utf-8", "replace").partition("\n")
    if kind == "value":
        text = value_text(told)
        return Execution(value=text, ran_in=RAN_IN) if text else failed(Failure.NO_ANSWER, "ans is empty", RAN_IN)
    if kind in _TOLD:
        return failed(Failure(kind), told, RAN_IN)
    return failed(Failure.RUNTIME, "its reply was written over", RAN_IN)
