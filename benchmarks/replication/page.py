"""The tables of the evidence, from the recorded results alone: docs/replication.md, and a short one for the README."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path

from replication import claims as claims_file
from replication import tokens
from replication.claims import Claim, Finding, claims, find, recorded_arms, verdict
from replication.jobs import REGIMES, ROOT, SETS, Job, groups, seeds_of
from replication.results import accuracy, flags_of, mean_expense

DOCS = ROOT / "docs" / "replication.md"
README = ROOT / "README.md"
SECONDS = (
    "Seconds are those of training, judging and exams on one of two busy cores; those of code before commit c2fdbd7 "
    "(the commits stand below) leave out the sampling of texts to learn from, which for rounds takes nearly as long as "
    "their training."
)
MARKS = ("<!-- replication -->", "<!-- /replication -->")
SET_NAMES = tuple(re.findall(r"task\.(\w+)", " ".join(SETS)))


def write() -> None:
    """Write both, and the figures."""
    DOCS.write_text(docs_text(), encoding="utf-8")
    for regime, drawn in figures():
        drawing(regime).write_text(drawn, encoding="utf-8")
    README.write_text(with_short_table(README.read_text(encoding="utf-8")), encoding="utf-8")


def docs_text() -> str:
    """The whole page."""
    rule = inspect.getdoc(claims_file) or ""
    parts = [
        "# Every claim tried",
        "Written by `python benchmarks/replicate.py tables` from `benchmarks/replication/results`; nothing is typed "
        "by hand. Each arm is trained and examined in the lab, those of one claim on the same problems with the same "
        "student. `make replicate` runs what is missing.",
        rule.split("\n\n", 1)[1],
    ]
    parts += [f"## Verdicts\n\n{verdict_table()}", "## Claims"]
    parts += [f"### {name}\n\n{claim_text(claim)}" for name, claim in claims().items()]
    parts += [f"## Accuracy against teacher tokens\n\n{figure_text()}"]
    parts += [
        f"## Arms\n\n{SECONDS}",
        *arm_tables(),
        f"## How each was run\n\n{commands()}",
        f"## How long it takes\n\n{times()}",
    ]
    return "\n\n".join(parts) + "\n"


def with_short_table(readme: str) -> str:
    """The README with the short table between its marks."""
    before, rest = readme.split(MARKS[0])
    _, after = rest.split(MARKS[1])
    return f"{before}{MARKS[0]}\n{verdict_table(short=True)}\n{MARKS[1]}{after}"


def verdict_table(short: bool = False) -> str:
    """A row per claim; the figures are those of the pair that decides least well, on the deciding set."""
    rows = []
    for name, claim in claims().items():
        if short and not any(any(find(claim, regime, claim.decides)) for regime in REGIMES):
            continue  # the page lists those not run
        cells = [claim.of, f"[{claim.says}](replication.md#{name})" if not short else claim.says]
        for regime in REGIMES:
            findings = find(claim, regime, claim.decides)
            known = [finding for finding in findings if finding is not None]
            weakest = min(known, key=lambda finding: (finding.side, finding.difference)) if known else None
            said: str = verdict(claim, findings)
            if said == "not run" and len(known) == len(findings):
                said = f"{min(finding.seeds for finding in known)} seeds so far"
            cells.append(f"{said}{': ' + _difference(weakest) if weakest else ''}")
        rows.append(cells)
    heads = ["Paper", "Claim", *(f"Mistakes {regime}" for regime in REGIMES)]
    return _table(heads, rows) if rows else "Nothing is recorded yet."


def claim_text(claim: Claim) -> str:
    """A claim with every pair on every set, under both regimes."""
    said = [
        f"**{claim.says}** {claim.paper}.",
        f"There: {claim.figure}. Equal here: {claim.matched}"
        + (" The lab was written so: by construction, no evidence." if claim.by_construction else ""),
    ]
    rows = []
    for regime in REGIMES:
        for on in SET_NAMES:
            for finding in find(claim, regime, on):
                if finding is not None:
                    rows.append(
                        [
                            f"{finding.better} over {finding.worse}",
                            regime,
                            f"**{on}**" if on == claim.decides else on,
                            f"{finding.seeds}",
                            f"{finding.first:.1%}",
                            f"{finding.second:.1%}",
                            _difference(finding),
                        ]
                    )
    counted = {"accuracy": "", "misread": " misreads", "overlap": " solves"}[claim.metric]
    what = {"accuracy": "Difference", "misread": "Fewer misread", "overlap": "Overlap below chance"}[claim.metric]
    heads = ["Pair", "Mistakes", "Set", "Seeds", f"First{counted}", f"Second{counted}", f"{what}, 95 %"]
    said.append(_table(heads, rows) if rows else "Not run yet.")
    return "\n\n".join(said)


def figures() -> list[tuple[str, str]]:
    """A drawing for each regime under which an arm is recorded."""
    known = [(regime, tokens.points(regime)) for regime in REGIMES]
    return [(regime, tokens.figure(found)) for regime, found in known if found]


def drawing(regime: str) -> Path:
    """Where the drawing of a regime lies."""
    return DOCS.parent / f"tokens-{regime}.svg"


def figure_text() -> str:
    """The drawings, with what they show."""
    said = (
        "Every recorded arm on its test set; bars are 95 % intervals over seeds and problems. Named are the arms a "
        "point or more above all that take as many tokens or fewer. Rings were examined on "
        "problems of another seed than the rest."
    )
    shown = [
        f"![Accuracy against teacher tokens, mistakes {regime}]({drawing(regime).name})"
        for regime in REGIMES
        if any(recorded_arms(group, regime) for group in groups())
    ]
    return "\n\n".join([said, *shown]) if shown else "Nothing is recorded yet."


def arm_tables() -> Iterator[str]:
    """Accuracy of every arm with its interval over seeds and problems, and what it took."""
    heads = ["Arm", "Seeds", *SET_NAMES, "Teacher tokens", "Steps", "Target tokens", "Passes", "Seconds"]
    for group in groups():
        for regime in REGIMES:
            rows = [_arm_row(found) for found in _recorded(group, regime)]
            if rows:
                yield f"### {group}, mistakes {regime}\n\n{_table(heads, rows)}"


def _recorded(group: str, regime: str) -> list[dict]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in recorded_arms(group, regime)]


def _arm_row(found: dict) -> list[str]:
    cells = [found["arm"], str(len(found["seeds"]))]
    for of in SET_NAMES:
        solved = accuracy(found, of)
        if solved is None:
            cells.append("not asked")
            continue
        seeds = len(flags_of(found, of))
        fewer = f", {seeds} seeds" if seeds < len(found["seeds"]) else ""
        cells.append(f"{solved.difference:.1%} [{solved.low:.1%}, {solved.high:.1%}]{fewer}")

    def mean(*names: str) -> str:
        value, seeds = mean_expense(found, *names)
        fewer = f", {seeds} seeds" if seeds < len(found["seeds"]) else ""
        return f"{value:,.0f}{fewer}" if seeds else "not known"

    return [
        *cells,
        mean("prompt_tokens", "completion_tokens", "unanswered_tokens"),
        mean("steps"),
        mean("target_tokens"),
        mean("passes"),
        mean("seconds"),
    ]


def commands() -> str:
    """The command of every group, and the commits and machines its results come from."""
    rows = []
    for group in groups():
        seeds = [row for regime in REGIMES for one in _recorded(group, regime) for row in one["seeds"].values()]
        commits = ", ".join(sorted({row["commit"][:7] for row in seeds})) or "not run"
        machines = ", ".join(sorted({row["machine"] for row in seeds}))
        job = Job(group, "systematic", seeds_of(group)[0])
        command = job.command(job.sets())
        rows.append([group, f"`{command}`", commits, machines, str(len(seeds))])
    return _table(["Group", "Command (first seed, systematic)", "Commits", "Machines", "Arms x seeds"], rows)


def times() -> str:
    """Core-hours of what is recorded, and how to run a part."""
    spent = sum(
        row["expense"].get("seconds", 0.0)
        for group in groups()
        for regime in REGIMES
        for found in _recorded(group, regime)
        for row in found["seeds"].values()
    )
    return (
        f"What is recorded took at most {spent / 3600:.1f} core-hours, as far as its time is known and without that "
        "sampling: what arms of a group share (the teacher's answers, a first stage) counts for each of them. "
        "`make replicate` says its hours before it starts, runs two jobs at a time, one core each, and goes on where "
        "it was killed; sets that decide no claim come last. A tenth of its eight hours is "
        "`make replicate HOURS=0.8`, which leaves out whole arms, never seeds or problems, and names them; "
        '`make replicate PART="edit tdg-nat-over-cot-kd"` runs what these groups or claims need, and '
        "`python benchmarks/replicate.py plan` with the same options only tells."
    )


def _difference(finding: Finding) -> str:
    points = [100 * value for value in (finding.difference, finding.low, finding.high)]
    return "{:+.1f} [{:+.1f}, {:+.1f}]".format(*points)


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def is_current() -> bool:
    """Whether the committed tables are those of the committed results."""
    readme = README.read_text(encoding="utf-8")
    drawn = all(drawing(regime).read_text(encoding="utf-8") == found for regime, found in figures())
    return drawn and Path(DOCS).read_text(encoding="utf-8") == docs_text() and with_short_table(readme) == readme
