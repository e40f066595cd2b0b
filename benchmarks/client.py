"""Teacher client: speed at 300 ms latency, `kill -9` and resume, reruns, and 10,000 requests under every fault.

    python benchmarks/client.py [speed] [resume] [faults]
    python benchmarks/client.py peers [--runs 3] [--json FILE]    beside curator and distilabel (see peers/clients.py)

The server is a process of its own, as a teacher is.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from board import figures
from feints.generate.ledger import Ledger
from feints.generate.openai import OpenAISource
from feints.generate.sample import complete_all, sample_all
from feints.generate.settings import TeacherSettings
from feints.generate.source import Message, Request, Sampling
from feints.records import Finish
from peers import clients
from peers.questions import questions

SERVER = Path(__file__).parents[1] / "tests" / "generate" / "fault_server.py"


@contextmanager
def server(*options: str) -> Iterator[str]:
    """A fault server; yields its address."""
    process = subprocess.Popen([sys.executable, str(SERVER), *options], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait()


def stats(address: str) -> dict[str, int]:
    """What the server counted."""
    with urllib.request.urlopen(f"{address}/stats") as reply:
        return json.load(reply)


def settings(address: str) -> TeacherSettings:
    """Defaults, with a name that does not change with the port."""
    return TeacherSettings(base_url=f"{address}/v1", model="teacher", name="benchmark teacher")


def requests(count: int) -> list[Request]:
    """A request for each question of the comparison."""
    sampling = Sampling(temperature=0.7, max_tokens=512)
    return [Request(messages=(Message(role="user", content=text),), sampling=sampling) for text in questions(count)]


def speed(runs: int) -> None:
    """1,000 prompts at 300 ms, default settings, ledger on disk: at most 3.5 s."""
    times = []
    for _ in range(runs):
        with server("--latency", "0.3") as address, tempfile.TemporaryDirectory() as folder:
            source = OpenAISource(settings(address))
            with Ledger(Path(folder) / "ledger.sqlite") as ledger:
                start, busy = time.perf_counter(), time.process_time()
                completions = complete_all(source, requests(1000), ledger)
                times.append(time.perf_counter() - start)
                busy = time.process_time() - busy
            assert len(completions) == 1000 and all(c.finish is Finish.STOP for c in completions)
            print(f"  1,000 requests: {times[-1]:.2f} s (own CPU {busy:.2f} s), {stats(address)}")
    print(f"speed: best {min(times):.2f} s, median {sorted(times)[len(times) // 2]:.2f} s; bar 3.5 s")


def resume() -> None:
    """`kill -9` at 60 %, run again, run again, one more row."""
    with server("--latency", "0.3") as address, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        command = [sys.executable, __file__, "--child", address, str(path), "1000"]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while stats(address)["answered"] < 600:
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        time.sleep(0.5)
        before = stats(address)
        with Ledger(path) as ledger:
            stored = ledger.count()
            source = OpenAISource(settings(address))
            first = complete_all(source, requests(1000), ledger)
            after = stats(address)
            again = complete_all(source, requests(1000), ledger)
            rerun = stats(address)["calls"] - after["calls"]
            more = complete_all(source, requests(1001), ledger)
            added = stats(address)["calls"] - after["calls"] - rerun
            assert first == again == more[:1000]
        resent = after["calls"] - 1000
        print(f"resume: killed with {stored['complete']} stored, {stored['sent']} in flight; sent again {resent}")
        print(f"        identical rerun: {rerun} requests; one row added: {added}; before {before}, after {after}")


def faults(count: int, latency: str) -> None:
    """Every fault at once: every row accounted for, none lost, none paid twice."""
    fail = "429=0.05,500=0.02,cut=0.01,garbage=0.01,stall=0.001"
    options = ("--latency", latency, "--fail", fail, "--retry-after", "0.2")
    with server(*options) as address, tempfile.TemporaryDirectory() as folder:
        chosen = settings(address).model_copy(update={"silence_s": 3.0})
        with Ledger(Path(folder) / "ledger.sqlite") as ledger:
            start = time.perf_counter()
            sampled = sample_all(OpenAISource(chosen), requests(count), ledger)
            seconds = time.perf_counter() - start
            marked = sum(completion.finish is Finish.MALFORMED for _, completion in sampled.answered)
            print(f"faults: {len(sampled.answered)} of {count} answered ({marked} malformed) in {seconds:.1f} s")
            print(f"        ledger {ledger.count()}\n        report {sampled.report}\n        server {stats(address)}")


def child(address: str, path: str, count: int) -> None:
    """What is killed, and what is measured beside the peers: it says how long the calls took, and what came of them."""
    begun = time.perf_counter()
    with Ledger(path) as ledger:
        found = complete_all(OpenAISource(settings(address)), requests(count), ledger)
    answered = sum(one.finish is Finish.STOP for one in found)
    print(json.dumps({"seconds": time.perf_counter() - begun, "answered": answered}))


def peers(runs: int, limit: float, path: str | None) -> None:
    """The same requests through our client and the peers', one after the other, every round."""
    own = clients.Side(figures.OURS, [sys.executable, __file__, "--child"], "ledger.sqlite")
    found = clients.compare([own, *clients.peer_sides()], server, stats, runs, limit)
    for figure in found:
        print(figures.line(figure))
    figures.write(path, found)


def main() -> None:
    """Run the parts named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["speed", "resume", "faults"])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--latency", default="0.05")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds after which a peer's rerun is given up")
    parser.add_argument("--json", help="where to write the figures of `peers`")
    parser.add_argument("--child", nargs=3, metavar=("ADDRESS", "LEDGER", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], options.child[1], int(options.child[2]))
        return
    if "peers" in options.parts:
        peers(options.runs, options.limit, options.json)
    if "speed" in options.parts:
        speed(options.runs)
    if "resume" in options.parts:
        resume()
    if "faults" in options.parts:
        faults(options.count, options.latency)


if __name__ == "__main__":
    main()
