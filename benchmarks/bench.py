"""`make bench`: every comparison with the peers, part by part, each recorded as it ends; kill it and run it again.

    python benchmarks/bench.py                        every part that is not recorded for the files it depends on
    python benchmarks/bench.py --part verify,sizes    only these
    python benchmarks/bench.py --part client --again  measure anew
    python benchmarks/bench.py --plan                 what would run, and about how long
    python benchmarks/bench.py --tables               docs/benchmarks.md and the README's table from what is recorded

A part installs the peers it needs under .bench, runs its scripts one after the other, keeps what each found in
.bench/steps, and writes benchmarks/results/PART.json with command, commit, date, machine, versions and all rounds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from board import environments, page
from board.figures import MISSED, OURS, SKIPPED
from board.machine import ROOT, commit, machine, versions
from board.parts import Part, Step, chosen
from feints.runs import atomic


def fingerprint(part: Part) -> str:
    """Content of our files a part depends on, its settings and the pinned versions of its peers."""
    digest = hashlib.sha256(repr(part.steps).encode())
    places = [*part.covers, *(f"benchmarks/peers/{peer}.txt" for peer in part.peers)]
    for place in map(ROOT.joinpath, places):
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()[:16]


def recorded(part: Part) -> dict[str, Any] | None:
    """The result on disk."""
    path = page.RESULTS / f"{part.name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def measure(part: Part, again: bool) -> None:
    """Run the steps of a part that are not kept yet, then record it.

    Raises:
        SystemExit: a script failed; what earlier ones found is kept for the next run.
    """
    mark, before = fingerprint(part), machine()
    places = {peer: environments.install(peer) for peer in part.peers}
    found: list[dict[str, Any]] = []
    for number, step in enumerate(part.steps):
        kept = environments.PLACE / "steps" / f"{part.name}-{number}-{mark}.json"
        if again:
            kept.unlink(missing_ok=True)
        if not kept.exists():
            run_step(part, number, step, kept)
        found.append(json.loads(kept.read_text(encoding="utf-8")))
    own = versions()
    record = {
        "part": part.name,
        "command": f"make bench PART={part.name}",
        "commit": commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "seconds": round(sum(one["seconds"] for one in found), 1),
        "fingerprint": mark,
        "machine": before,
        "versions": {OURS: own, **{peer: versions(python) for peer, python in places.items()}},
        "notes": [note for one in found for note in one.get("notes", ())],
        "skipped": " ".join(one["skipped"] for one in found if one.get("skipped")),
        "figures": [figure for one in found for figure in one.get("figures", ())],
    }
    page.RESULTS.mkdir(exist_ok=True)
    path = page.RESULTS / f"{part.name}.json"
    with atomic(path) as partial:
        partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for kept in (environments.PLACE / "steps").glob(f"{part.name}-*.json"):
        kept.unlink()
    print(f"{part.name}: recorded in {path.relative_to(ROOT)}", flush=True)


def run_step(part: Part, number: int, step: Step, kept: Path) -> None:
    """One script in a process of its own; its figures appear under their name only when they are whole."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    fresh = kept.with_suffix(".part")
    fresh.unlink(missing_ok=True)
    command = [sys.executable, str(ROOT / "benchmarks" / step[0]), *step[1:], "--json", str(fresh)]
    print(f"{part.name}, step {number + 1} of {len(part.steps)}: {' '.join(step)}", flush=True)
    started = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False, env=dict(os.environ))
    print(done.stdout, end="", flush=True)
    if done.returncode == SKIPPED:
        said = done.stdout.strip().splitlines() or ["it cannot run here"]
        found = {"figures": [], "skipped": said[-1]}
    elif done.returncode not in (0, MISSED):
        raise SystemExit(f"{part.name}: {step[0]} ended with {done.returncode}; see above, then run this again")
    else:
        found = json.loads(fresh.read_text(encoding="utf-8"))
    fresh.write_text(json.dumps({**found, "seconds": time.monotonic() - started}), encoding="utf-8")
    fresh.rename(kept)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", default="", help="names, separated by commas or spaces; all unless given")
    parser.add_argument("--again", action="store_true", help="measure what is recorded already, too")
    parser.add_argument("--plan", action="store_true", help="only say what would run")
    parser.add_argument("--tables", action="store_true", help="only write the page and the README's table")
    arguments = parser.parse_args()
    if arguments.tables:
        page.write()
        return
    parts = chosen(arguments.part)
    current = {p.name for p in parts if (r := recorded(p)) and r["fingerprint"] == fingerprint(p)}
    due = [part for part in parts if arguments.again or part.name not in current]
    for part in parts:
        state = f"about {part.minutes:g} min" if part in due else "recorded for these files"
        print(f"{part.name:10} {state:26} {part.title}")
    print(f"{len(due)} of {len(parts)} parts to run, about {sum(part.minutes for part in due):g} minutes", flush=True)
    if arguments.plan:
        return
    for part in due:
        measure(part, arguments.again)
        page.write()
    page.write()


if __name__ == "__main__":
    main()
