"""The child process of the pool: reads one case a line, writes one finding a line, and can be killed at any time."""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import sys
from dataclasses import asdict
from typing import IO, Any

from feints.errors import DataError
from feints.verify.judge import judge
from feints.verify.wire import PATIENCE, item_from, reply

MEMORY_LIMIT = 4 << 30
"""Bytes of address space a worker may take, where the system can limit it."""
GRACE = 5.0
"""Seconds after its deadline at which a worker whose parent is gone ends itself."""


def main() -> None:
    """Serve cases until the input ends; everything else that prints goes nowhere."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    limit_memory()
    for line in sys.stdin:
        message = json.loads(line)
        number = message["number"]
        if "items" in message:
            _say(out, {"number": number, "replies": [_judged(item) for item in message["items"]]})
        elif "prepare" in message:
            importlib.import_module("feints.verify.symbolic")  # slow (sympy, about a second), and only here
            _say(out, {"number": number})
        else:
            _say(out, {"number": number, **_settled(message, out)})


def _judged(item: list[Any]) -> list[Any]:
    problem, text, thinking, finish = item_from(item)
    try:
        return reply(judge(problem, text, thinking=thinking, finish=finish))
    except DataError as error:
        return [str(error)]


def _settled(case: dict[str, Any], out: IO[str]) -> dict[str, Any]:
    """The second opinion on a case; the watchdog ends a process that hangs although nobody is left to kill it."""
    symbolic = importlib.import_module("feints.verify.symbolic")
    faulthandler.dump_traceback_later(PATIENCE * case["deadline"] + GRACE, exit=True, file=out)
    try:
        return asdict(symbolic.second_opinion(case["gold"], case["answer"], case["evidence"]))
    except RecursionError:
        return {"failed": "the expression is nested too deeply"}
    except MemoryError:
        return {"failed": "the expression needs too much memory"}
    except Exception as error:  # whatever sympy raises is this case's failure, never the run's
        return {"failed": f"{type(error).__name__}: {error}"[:300]}
    finally:
        faulthandler.cancel_dump_traceback_later()


def _say(out: IO[str], message: dict[str, object]) -> None:
    out.write(json.dumps(message) + "\n")
    out.flush()


def limit_memory() -> None:
    """Take away the right to fill the machine, where the system can limit that."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        resource = importlib.import_module("resource")  # not on Windows
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))


if __name__ == "__main__":
    main()
