from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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


@dataclass
class Said:
    """What an endpoint says to one call: a JSON value, or text as it is; None cuts the connection."""

    body: Any
    status: int = 200
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    gap: float = 0.0
    """Seconds before each event of a stream."""


def streamed(*pieces: Any, done: bool = True, gap: float = 0.0) -> Said:
    """Server-sent events, one for each piece."""
    events = [f"data: {json.dumps(piece)}\n\n" for piece in pieces] + ["data: [DONE]\n\n"] * done
    return Said("".join(events), kind="text/event-stream", gap=gap)


@dataclass
class Endpoint:
    """A running endpoint that says what a function of a test makes of each body and of the number of the call."""

    respond: Callable[[dict[str, Any], int], Said]
    address: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    """When each call came, in seconds."""


def handler(endpoint: Endpoint) -> type[BaseHTTPRequestHandler]:
    turn = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with turn:
                endpoint.calls.append(body)
                endpoint.moments.append(time.monotonic())
                said = endpoint.respond(body, len(endpoint.calls))
            if said.body is None:
                return
            text = said.body if isinstance(said.body, str) else json.dumps(said.body)
            self.send_response(said.status)
            for name, value in ({"Content-Type": said.kind} | said.headers).items():
                self.send_header(name, value)
            self.end_headers()
            for event in text.split("\n\n") if said.gap else [text]:
                time.sleep(said.gap)
                self.wfile.write((event + "\n\n").encode())
                self.wfile.flush()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    return Handler


@pytest.fixture
def endpoint() -> Iterator[Callable[[Callable[[dict[str, Any], int], Said]], Endpoint]]:
    """Starts endpoints in this process: `endpoint(lambda body, number: Said({...}))`."""
    servers = []

    def start(respond: Callable[[dict[str, Any], int], Said]) -> Endpoint:
        made = Endpoint(respond)
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler(made))
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        made.address = f"http://127.0.0.1:{server.server_port}"
        return made

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
