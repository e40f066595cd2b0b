"""Every claim of the papers tried in the lab: run the arms, record each as it ends, judge the claims, write the tables.

    python benchmarks/replicate.py plan                    hours, arms, and what would be dropped
    python benchmarks/replicate.py run [--part tdg ...]    what is missing, two jobs at a time; kill it, run it again
    python benchmarks/replicate.py tables                  docs/replication.md and the short table of the README

`--part` takes names of groups or of claims. A job (group, regime, seed) is a run folder under runs/replication; an arm
that has sat its exams is recorded under benchmarks/replication/results, and committed with `--commit`. A run that does
not fit into `--hours` drops arms, never seeds or problems, and says which.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from feints.evaluate.error_kinds import ErrorKind
from feints.records import Answer, Judgement, Problem
from lab_errors import label
from replication import page
from replication.claims import claims, needed_arms
from replication.jobs import REGIMES, ROOT, Job, groups
from replication.planning import Plan, Wanted, make_plan
from replication.results import RECORDED, collect

LOOK_EVERY = 10.0
"""Seconds between two looks at what the jobs have finished."""


def misread(problem: Problem, answer: Answer) -> bool:
    """Whether a wrong answer misunderstands the problem, as the lab's world knows it."""
    return answer.judgement is not Judgement.CORRECT and label(problem, answer) is ErrorKind.MISUNDERSTANDING


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("plan", "run", "tables", "job"))
    parser.add_argument("--part", nargs="*", default=[], help="groups or claims; all unless given")
    parser.add_argument("--regimes", nargs="*", default=list(REGIMES), choices=REGIMES)
    parser.add_argument(
        "--seeds", nargs="*", type=int, help="counted from a group's first; all it is to have unless given"
    )
    parser.add_argument("--hours", type=float, default=8.0, help="arms that do not fit are dropped")
    parser.add_argument(
        "--workers", type=int, default=max(1, (os.cpu_count() or 2)), help="jobs at a time, one core each"
    )
    parser.add_argument("--commit", action="store_true", help="commit each finished arm")
    parser.add_argument("--job", help="GROUP/REGIME/SEED; used by `run`")
    parser.add_argument("--arms", nargs="*", help="of the job")
    arguments = parser.parse_args()
    if arguments.what == "tables":
        page.write()
        return
    if arguments.what == "job":
        group, regime, seed = arguments.job.split("/")
        Job(group, regime, int(seed)).run(arguments.arms)
        return
    plan = make_plan(_parts(arguments.part), arguments.regimes, arguments.seeds, arguments.hours, arguments.workers)
    print(plan.words())
    if arguments.what == "run":
        failed = run(plan, arguments.workers, arguments.commit)
        page.write()
        if failed:
            raise SystemExit(f"{len(failed)} jobs failed: {', '.join(failed)}; run the same command again to go on")


def _parts(names: list[str]) -> Wanted:
    """Arms wanted by group with the sets that decide; a named group gives every claim that needs an arm of it."""
    known = claims()
    unknown = [name for name in names if name not in known and name not in groups()]
    if unknown:
        raise SystemExit(f"no claim or group is called {', '.join(unknown)}; known: {', '.join([*groups(), *known])}")
    wanted: Wanted = {}
    for name, claim in known.items():
        needed = needed_arms(claim)
        if not names or name in names or any(group in names for group, _ in needed):
            for group, arm in needed:
                wanted.setdefault(group, {}).setdefault(arm, set()).add(claim.decides)
    return wanted


def run(plan: Plan, workers: int, commit: bool) -> list[str]:
    """Run the jobs of the plan, `workers` at a time, and record arms as they end; the names of those that failed.

    Whatever ends this early ends the jobs too.
    """
    running: dict[Job, subprocess.Popen[bytes]] = {}
    try:
        return _run(plan, running, workers, commit)
    finally:
        for process in running.values():
            process.terminate()
            process.wait()


def _run(plan: Plan, running: dict[Job, subprocess.Popen[bytes]], workers: int, commit: bool) -> list[str]:
    waiting, failed = list(plan.jobs), []
    started, done = time.monotonic(), 0
    while waiting or running:
        while waiting and len(running) < workers:
            job, arms = waiting.pop(0)
            running[job] = _start(job, arms)
            print(f"{job.name}: {', '.join(arms)}", flush=True)
        time.sleep(LOOK_EVERY)
        for job, process in list(running.items()):
            ended = process.poll() is not None
            _keep(job, commit)
            if not ended:
                continue
            del running[job]
            done += 1
            failed += [job.name] if process.returncode else []
            spent = time.monotonic() - started
            left = spent / done * (len(plan.jobs) - done) / 3600
            state = "done" if process.returncode == 0 else f"FAILED ({process.returncode}), see {job.folder.parent}/log"
            print(f"{job.name}: {state}; {done} of {len(plan.jobs)} jobs, about {left:.1f} h left", flush=True)
    return failed


def _start(job: Job, arms: list[str]) -> subprocess.Popen[bytes]:
    job.folder.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, "job", "--job", f"{job.group}/{job.regime}/{job.seed}", "--arms", *arms]
    # One core a job: two jobs of one thread each do more than one job of two threads.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (job.folder.parent / "log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=ROOT)


def _keep(job: Job, commit: bool) -> None:
    """Record what the job has finished, and commit it where that is wanted; what git refuses is left for a person."""
    new = collect(job, misread)
    if new and commit:
        place = str(RECORDED.relative_to(ROOT))
        message = f"Results of {job.name}: {', '.join(new)}"
        for command in (["add", place], ["commit", "--quiet", "-m", message, "--", place]):
            if subprocess.run(["git", *command], cwd=ROOT, check=False).returncode:
                print(f"{job.name}: recorded in {place}, but git {command[0]} failed; commit it by hand", flush=True)
                return


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
