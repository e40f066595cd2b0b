"""Soak: the tailored recipe over real HTTP under every injected fault, killed with -9 at random moments.

    python benchmarks/soak.py [--kills 50] [--seed 0] [--out /tmp/feints-soak]

One undisturbed run first, its server without faults. Then runs behind a server that answers 429 and 500, cuts, stalls
and garbles; each is killed after a random time and started again until it ends, when another begins, until there were
as many kills as asked for. Asserted of every run: nothing was paid twice beyond the calls in flight at each kill, by
the server's count; every student, table and output is that of the undisturbed run; every row is accounted for; the key
in the environment stands nowhere in run folder, ledger, report and output, packed tables and blobs read as well.

State lies in OUT/soak.jsonl: killed itself, the soak goes on after the last run that ended. A life is forked from this
process, which has torch loaded, so that kills fall on work and not on imports; it is a process group of its own, and
`kill -9` takes its checkers with it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import feints.cli
import feints.pipeline
import feints.train.loop
import soak_checks

KEY_ENV = "FEINTS_SOAK_KEY"
TEACHER = "the-lab"
FAULTS = "429=0.04,500=0.04,cut=0.03,garbage=0.02,stall=0.01"
CONCURRENCY = 4
RECIPE = """\
name: soak
task: {name: lab, train: TRAIN, test: 6}
teacher:
  source: openai
  model: lab-teacher
  name: the-lab  # the address changes with every server
  base_url: http://127.0.0.1:1/v1
  api_key_env: FEINTS_SOAK_KEY
  concurrency_ceiling: 4
  silence_s: 2
  terms: "none: the lab's teacher is a script"
sampling: {n: 2, max_tokens: 200}
decontaminate: null
student: {model: feints-nano}
curate: {validation: 0.2}
method: {name: tailored, rounds: 2, samples: 2}  # with its control: the teacher who does not see the mistakes
train: {batch_examples: 8, micro_tokens: 1024, learning_rate: 0.00025, checkpoint_steps: 1, log_steps: 1}
exam: {max_tokens: 48}
"""


@dataclass(kw_only=True)
class Tally:
    """What one run that was killed went through; a line of soak.jsonl."""

    run: int
    kills: int = 0
    stages: dict[str, int] = field(default_factory=dict)
    in_flight: int = 0
    paid_twice: int = 0
    requests: int = 0
    distinct: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    compared: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


def main() -> None:
    """Run what is left of the soak and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", type=int, default=16, help="training problems")
    parser.add_argument("--out", type=Path, default=Path("/tmp/feints-soak"))
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped; the same command goes on from here"))
    key = "sk-canary-" + hashlib.sha256(f"soak {args.seed}".encode()).hexdigest()[:32]
    os.environ |= {KEY_ENV: key, "OMP_NUM_THREADS": "1"}
    args.out.mkdir(parents=True, exist_ok=True)
    recipe = args.out / "soak.yaml"
    recipe.write_text(RECIPE.replace("TRAIN", str(args.train)), encoding="utf-8")
    state = args.out / "soak.jsonl"
    calm_s = undisturbed(args.out / "calm", recipe)
    tallies = read_state(state)
    while (killed := sum(tally.kills for tally in tallies)) < args.kills:
        tally = disturbed(args.out, recipe, len(tallies), killed, args, calm_s)
        tallies.append(tally)
        with state.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(tally)) + "\n")
        print(f"run {tally.run}: {asdict(tally)}", flush=True)
    wrong_key(args.out / "refused", recipe)
    held = soak_checks.places_of(key, args.out)
    assert not held, f"the key stands in {held}"
    report(tallies, args.out)


# ------------------------------------------------------------------------------------------------------------- runs


def undisturbed(folder: Path, recipe: Path) -> float:
    """The run that all others are held against; the seconds it took."""
    took = folder / "seconds"
    if not took.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        with served() as address:
            life = Life(folder, recipe, address)
            assert life.wait() == 0, f"the undisturbed run failed; see {life.log}"
            assert stats(address)["answered_again"] == 0
        soak_checks.require_all_accounted(folder / "run", folder / "ledger.sqlite", TEACHER)
        took.write_text(f"{life.seconds():.3f}", encoding="utf-8")
    return float(took.read_text(encoding="utf-8"))


def disturbed(out: Path, recipe: Path, number: int, killed: int, args: argparse.Namespace, calm_s: float) -> Tally:
    """One run under faults, killed until it ends (or there were kills enough), and all that is asserted of it."""
    folder = out / f"run-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    tally, began = Tally(run=number), time.monotonic()
    with served("--fail", FAULTS, "--seed", number, "--latency", 0.05) as address:
        while True:
            life = Life(folder, recipe, address)
            enough = killed + tally.kills >= args.kills
            after = random.Random(f"{args.seed}:{killed + tally.kills}:{number}").uniform(0.0, 0.4 * calm_s)
            status = life.wait(None if enough else after)
            if status is not None:
                assert status == 0, f"the run failed; see {life.log}"
                break
            life.kill()
            tally.kills += 1
            tally.in_flight += in_flight(folder / "ledger.sqlite")
            stage = life.stage()
            tally.stages[stage] = tally.stages.get(stage, 0) + 1
        seen = stats(address)
    tally.requests, tally.distinct, tally.paid_twice = seen["requests"], seen["distinct"], seen["answered_again"]
    tally.faults = {kind: count for kind, count in seen["statuses"].items() if kind != "ok"}
    require(tally, out / "calm", folder)
    tally.compared = soak_checks.require_same(out / "calm/run", folder / "run")
    tally.rows = soak_checks.require_all_accounted(folder / "run", folder / "ledger.sqlite", TEACHER)
    tally.seconds = round(time.monotonic() - began, 1)
    return tally


def require(tally: Tally, calm: Path, hurt: Path) -> None:
    """Nothing paid twice beyond what was in flight, and the same replies in the ledger."""
    assert tally.paid_twice <= tally.in_flight <= CONCURRENCY * tally.kills, (
        f"paid twice beyond calls in flight: {tally}"
    )
    paid, wanted = (soak_checks.calls(folder / "ledger.sqlite", TEACHER) for folder in (hurt, calm))
    assert paid["paid_again"] == 0 and paid.get("sent", 0) == 0, f"the ledger of {hurt} says {paid}"
    assert paid["complete"] == wanted["complete"] == tally.distinct, f"{hurt}: {paid}, undisturbed {wanted}, {tally}"
    assert soak_checks.keys(hurt / "ledger.sqlite") == soak_checks.keys(calm / "ledger.sqlite")


def wrong_key(folder: Path, recipe: Path) -> None:
    """A server that refuses the key: what the user is told goes through the same search."""
    shutil.rmtree(folder, ignore_errors=True)
    with served(key="another") as address:
        life = Life(folder, recipe, address)
        status, said = life.wait(), life.log.read_text(encoding="utf-8")
    assert status == 1 and "error:" in said and "Traceback" not in said, f"status {status}: {said}"


def in_flight(ledger: Path) -> int:
    """Calls to the teacher that were sent and not stored when the run was killed."""
    return soak_checks.calls(ledger, TEACHER).get("sent", 0) if ledger.is_file() else 0


# ------------------------------------------------------------------------------------------------- processes, reports


class Life:
    """One `feints run` from its start to its end or its kill, in a process group of its own."""

    def __init__(self, folder: Path, recipe: Path, address: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.log = folder, folder / "output.log"
        words = ["feints", "run", str(recipe), "--out", str(folder / "run"), "--set", f"teacher.base_url={address}"]
        sys.stdout.flush()
        self.began = time.monotonic()
        self.pid = os.fork()
        if not self.pid:
            self._live(words)

    def _live(self, words: list[str]) -> None:
        status = 70
        try:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            for stream in (1, 2):
                os.dup2(log, stream)
            sys.argv = words
            feints.cli.main()
            status = 0
        except SystemExit as stopped:
            status = stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def wait(self, seconds: float | None = None) -> int | None:
        """Exit status, or None if it still runs after so many seconds."""
        until = None if seconds is None else self.began + seconds
        try:
            while until is None or time.monotonic() < until:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    self.ended = time.monotonic()
                    return os.waitstatus_to_exitcode(status)
                time.sleep(0.02)
        except BaseException:
            self.kill()
            raise
        return None

    def kill(self) -> None:
        """`kill -9` of the whole group."""
        with suppress(ProcessLookupError):  # before it has a group of its own
            os.kill(self.pid, signal.SIGKILL)
            os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def seconds(self) -> float:
        """How long it lived."""
        return self.ended - self.began

    def stage(self) -> str:
        """Where it was: the last folder it wrote into."""
        run = self.folder / "run"
        files = [path for path in run.rglob("*") if path.is_file() and path.parent != run]
        if not files:
            return "before the first table"
        last = max(files, key=lambda path: path.stat().st_mtime_ns).relative_to(run)
        return "/".join(part for part in last.parts[:-1] if re.match(r"\d_|round_|final", part))


@contextmanager
def served(*options: object, key: str | None = None) -> Iterator[str]:
    """The lab's teacher in a process of its own, which wants the key of the environment, or another."""
    words = [sys.executable, "-m", "feints", "lab", "serve", "--port", 0, "--api-key-env", KEY_ENV, *options]
    environment = os.environ | ({KEY_ENV: key} if key else {})
    process = subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    try:
        found = re.search(r"http://\S+/v1", process.stdout.readline())
        assert found, "the server did not say where it listens"
        yield found.group()
    finally:
        process.kill()
        process.wait()


def stats(address: str) -> dict[str, Any]:
    """What the server counted."""
    with urllib.request.urlopen(address.removesuffix("/v1") + "/lab/stats?keys=0") as reply:
        found: dict[str, Any] = json.load(reply)
        return found


def read_state(state: Path) -> list[Tally]:
    """The runs that ended so far."""
    lines = state.read_text(encoding="utf-8").splitlines() if state.is_file() else []
    return [Tally(**json.loads(line)) for line in lines]


def report(tallies: list[Tally], out: Path) -> None:
    """The figures of all runs."""
    stages, faults = Counter[str](), Counter[str]()
    for tally in tallies:
        stages.update(tally.stages)
        faults.update(tally.faults)
    first = tallies[0]
    files = [path for path in out.rglob("*") if path.is_file()]
    print(
        f"{sum(t.kills for t in tallies)} kills in {len(tallies)} runs, {sum(t.seconds for t in tallies):.0f} s\n"
        f"requests {sum(t.requests for t in tallies)}, needed {sum(t.distinct for t in tallies)}, "
        f"in flight at kills {sum(t.in_flight for t in tallies)}, paid twice {sum(t.paid_twice for t in tallies)}\n"
        f"faults met: {dict(faults.most_common())}\n"
        f"killed in: {dict(stages.most_common())}\n"
        f"each run as the undisturbed one: {first.compared}; rows accounted for: {first.rows}\n"
        f"key searched for in {len(files)} files, {sum(path.stat().st_size for path in files):,} bytes: nowhere"
    )


if __name__ == "__main__":
    main()
