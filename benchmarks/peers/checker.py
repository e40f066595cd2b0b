"""math-verify seen from our side: started in the environment of the peer, spoken to in lines of JSON."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from board import environments


class MathVerify:
    """math-verify as its users run it, in an environment of its own."""

    name = "math-verify"

    def __init__(self) -> None:
        self.python = environments.install(self.name)
        command = [str(self.python), "-W", "ignore", str(Path(__file__).with_name("math_verify_side.py"))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def keep(self, rows: Sequence[tuple[str, str]]) -> None:
        """Give it the rows that all later questions are about."""
        self._ask({"rows": rows})

    def seconds(self) -> float:
        """Time of one round over them."""
        return float(self._ask({"do": "time"})["seconds"])

    def judge(self) -> list[bool]:
        """Whether it calls each right."""
        return list(self._ask({"do": "judge"})["right"])

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        reply: dict[str, Any] = json.loads(self._process.stdout.readline())
        return reply
