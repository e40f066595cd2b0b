from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SERVER = Path(__file__).with_name("fault_server.py")


@dataclass
class Server:
    """A running fault server."""

    process: subprocess.Popen[str]
    address: str

    def stats(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.address}/stats") as reply:
            found: dict[str, Any] = json.load(reply)
            return found


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts fault servers, each a process of its own: `serve("--latency", "0.1")`."""
    processes = []

    def start(*options: str) -> Server:
        process = subprocess.Popen([sys.executable, str(SERVER), *options], stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None
        return Server(process, f"http://127.0.0.1:{int(process.stdout.readline())}")

    yield start
    for process in processes:
        process.terminate()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
