"""Nothing a program tries gets out of the sandbox, and each ends inside its limit plus a second."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from feints.records import Form
from feints.verify import launchers
from feints.verify.confined import confinement, run_confined
from feints.verify.execution import Execution, Failure, Limits
from feints.verify.executor import Executor
from feints.verify.interpreter import Interpreter

_spec = importlib.util.spec_from_file_location("escapes", Path(__file__).with_name("escapes.py"))
assert _spec is not None and _spec.loader is not None
escapes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(escapes)

pytest.importorskip("pydantic_monty", reason="the extra execute is not installed")
LIMITS = Limits(seconds=0.6)
SECRET = "the canary sings 4711"
confined = pytest.mark.skipif(bool(confinement().missing), reason=confinement().missing or "confined")


class Outside:
    """What must stay as it is: a file, its folder, a port, our environment, our children."""

    def __init__(self, folder: Path) -> None:
        self.canary = folder / "canary"
        self.canary.write_text(SECRET, encoding="utf-8")
        (folder / "canary.link").symlink_to(self.canary)
        with contextlib.suppress(OSError):  # a file system without them
            os.setxattr(self.canary, b"user.secret", b"4711")
        self._state = self._stated()
        self.reached: list[bytes] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._datagrams.bind(("127.0.0.1", self.port))
        self.abstract = f"feints-{os.getpid()}-{self.port}"
        self._servers = [self._server]
        # a path of a socket may hold a hundred bytes only, so it is bound from beside
        for name in ("\0" + self.abstract, f"/proc/self/fd/{os.open(folder, os.O_RDONLY)}/canary.sock"):
            self._servers.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            self._servers[-1].bind(name)
            self._servers[-1].listen()
        for server in self._servers:
            threading.Thread(target=self._listen, args=(server,), daemon=True).start()
        threading.Thread(target=self._hear, daemon=True).start()
        self._beside = sorted(path.name for path in folder.iterdir())

    @property
    def port(self) -> int:
        return int(self._server.getsockname()[1])

    def _listen(self, server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                self.reached.append(b"connected")

    def _hear(self) -> None:
        while True:
            try:
                self.reached.append(self._datagrams.recv(99))
            except OSError:
                return

    def _stated(self) -> tuple[object, ...]:
        found = self.canary.stat()
        extended = os.listxattr(self.canary) if hasattr(os, "listxattr") else []
        return found.st_mode, found.st_uid, found.st_mtime_ns, found.st_nlink, extended

    def program(self, text: str) -> str:
        return (
            text.replace("CANARY", str(self.canary)).replace("PORT", str(self.port)).replace("ABSTRACT", self.abstract)
        )

    def check(self, found: Execution) -> None:
        assert sorted(path.name for path in self.canary.parent.iterdir()) == self._beside
        assert self.canary.read_text(encoding="utf-8") == SECRET
        assert self._stated() == self._state
        assert not self.reached
        assert "4711" not in f"{found.value} {found.detail}"
        assert found.value != "OUT"
        assert found.failure not in (Failure.NOT_RUN, Failure.NOTHING) or found.ran_in == "monty"
        assert f"{found.value} {found.detail}".encode()
        assert "777" not in (found.value or "") or found.ran_in != "monty"

    def close(self) -> None:
        for ear in (*self._servers, self._datagrams):
            ear.close()


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outside]:
    monkeypatch.setenv("SECRET_CANARY", SECRET)
    found = Outside(tmp_path)
    yield found
    found.close()


@pytest.fixture(scope="module")
def interpreter() -> Iterator[Interpreter]:
    with Interpreter(LIMITS) as found:
        found.run("ans = 1")
        yield found


@pytest.fixture(scope="module")
def start() -> Callable[[str], float]:
    """Seconds that launching and loading take on this machine now: not the program's time."""

    def measured(packages: tuple[str, ...]) -> float:
        began = time.monotonic()
        run_confined("".join(f"import {package}\n" for package in packages) + "ans = 1", LIMITS)
        return 2 * (time.monotonic() - began)

    known = {packages: cache(measured) for packages in ((), ("numpy",), ("sympy",))}
    return lambda program: max(own(names) for names, own in known.items() if all(n in program for n in names))


def test_the_corpus_is_large_enough() -> None:
    assert len(escapes.ALL) >= 60


@pytest.mark.slow
@pytest.mark.parametrize("name", escapes.ALL)
def test_monty_lets_nothing_out(name: str, interpreter: Interpreter, outside: Outside) -> None:
    """KPDD-P7: no file, no network, no program without an end."""
    began = time.monotonic()
    found, _ = interpreter.run(outside.program(escapes.ALL[name]))
    assert time.monotonic() - began < LIMITS.seconds + 1.0
    outside.check(found)
    assert interpreter.run("ans = 6 * 7")[0].value == "42"


@pytest.mark.slow
@confined
@pytest.mark.parametrize("name", escapes.ALL)
def test_the_system_sandbox_lets_nothing_out(name: str, outside: Outside, start: Callable[[str], float]) -> None:
    """KPDD-P7: no file, no network, no program without an end."""
    program = outside.program(escapes.ALL[name])
    began = time.monotonic()
    found = run_confined(program, LIMITS)
    assert time.monotonic() - began < LIMITS.seconds + 1.0 + start(program)
    outside.check(found)
    assert not _left_over()


def _left_over() -> list[str]:
    """Programs that still run, a moment later; the launcher, which names the runner too, stays for the next one."""
    for _ in range(20):
        # Twice w: else lines end where the environment says the terminal does.
        shown = subprocess.run(["ps", "-wweo", "args"], capture_output=True, text=True, check=True).stdout
        programs = [line for line in shown.splitlines() if "confined_runner.py" in line]
        found = [line for line in programs if "confined_launcher.py" not in line]
        if not found:
            return []
        time.sleep(0.05)
    return found


@confined
def test_a_program_that_runs_is_seen_among_the_left_over() -> None:
    """The search above finds what it is after."""
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(run_confined, "while True:\n  pass", Limits(seconds=3.0))
        seen = 0
        while not running.done() and not seen:
            seen = len(_left_over())
    assert seen == 1
    assert not _left_over()


@confined
def test_a_launcher_serves_many_programs_and_a_dead_one_is_replaced() -> None:
    run_confined("ans = 1", LIMITS)
    (first,) = launchers.idle_pids()
    assert run_confined("ans = 2", LIMITS).value == "2"
    assert launchers.idle_pids() == [first]
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert run_confined("ans = 3", LIMITS).value == "3"
    assert launchers.idle_pids() != [first]


@confined
def test_a_launcher_lost_under_a_program_is_no_answer_and_no_failure_of_the_program() -> None:
    run_confined("ans = 1", LIMITS)
    (launcher,) = launchers.idle_pids()
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(run_confined, "while True:\n  pass", LIMITS)
        time.sleep(0.2)
        os.kill(launcher, signal.SIGKILL)
        assert running.result().failure is Failure.NOT_RUN
    assert not _left_over()


@confined
@pytest.mark.slow
def test_a_launcher_is_replaced_before_it_is_worn() -> None:
    found = [run_confined(f"ans = {number}", LIMITS).value for number in range(250)]
    assert found == [str(number) for number in range(250)]


@confined
def test_a_launcher_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """Also where that is killed and can clean nothing up."""
    text = (
        "import os, signal\nfrom feints.verify import confined, execution, launchers\n"
        "assert confined.run_confined('ans = 1', execution.Limits()).value == '1'\n"
        "print(launchers.idle_pids()[0], flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    launcher = Path("/proc") / done.stdout.strip()
    end = time.monotonic() + 20
    while launcher.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not launcher.exists()


@confined
def test_no_launcher_outlives_the_executor_that_used_it() -> None:
    with Executor(LIMITS) as executor:
        assert executor.run(Form.POT, "import statistics\nans = statistics.median([5, 1, 3])").value == "3"
        assert launchers.idle_pids()
    assert launchers.idle_pids() == []


@confined
def test_threads_have_a_launcher_each() -> None:
    with ThreadPoolExecutor(3) as threads:
        programs = [f"total = 0\nfor i in range({n}000):\n  total += i\nans = total" for n in range(1, 13)]
        found = list(threads.map(lambda program: run_confined(program, LIMITS).value, programs))
    assert found == [str(sum(range(n * 1000))) for n in range(1, 13)]


@confined
def test_a_program_that_needs_all_of_python_gets_it() -> None:
    sums = {
        "from fractions import Fraction\nans = Fraction(1, 3) + Fraction(1, 6)": "1/2",
        "import statistics\nans = statistics.median([5, 1, 3])": "3",
        "def g():\n  yield 1\n  yield 2\nans = sum(g())": "3",
        "from sympy import symbols, solve\nx = symbols('x')\nans = solve(2 * x - 3, x)[0]": "3/2",
    }
    limits = Limits(seconds=10.0)
    assert {program: run_confined(program, limits).value for program in sums} == sums


def test_what_cannot_be_confined_is_not_run(monkeypatch: pytest.MonkeyPatch, interpreter: Interpreter) -> None:
    from feints.verify import confined as module
    from feints.verify import programs

    monkeypatch.setattr(programs, "confinement", lambda: module.Confinement("no sandbox here"))
    found = programs.run("import statistics\nans = statistics.median([5, 1, 3])", interpreter, LIMITS)
    assert found.failure is Failure.NOT_RUN
    assert "no sandbox here" in found.detail


@confined
def test_programs_are_confined_also_where_feints_lies_among_the_packages_they_may_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = str(Path(launchers.__file__).parents[1])
    readable = [*launchers._readable(), ours]
    monkeypatch.setattr(launchers, "_readable", lambda: readable)
    assert confinement.__wrapped__().missing == ""
    own_file = f"ans = open({launchers.__file__!r}).read()[:3]"
    assert run_confined(own_file, Limits(seconds=20.0)).value == '"""'
    launchers.close_idle()


def test_another_system_is_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "darwin" in confinement.__wrapped__().missing
