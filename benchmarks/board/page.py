"""docs/benchmarks.md and the short table of the README, rendered from benchmarks/results; nothing here is typed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from board.figures import OURS, Figure, Spread, shown
from board.machine import ROOT
from board.parts import PARTS, Part

RESULTS, PAGE, README = ROOT / "benchmarks" / "results", ROOT / "docs" / "benchmarks.md", ROOT / "README.md"
START, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"
VERDICTS = {"ours": "feints", "theirs": "**{peer}**", "even": "neither", "": ""}
HEAD = """# Benchmarks

Every figure was measured beside the peer's in the same run of `make bench`; this page is rendered from
`benchmarks/results/*.json`, which hold every round, the commit, the machine and the versions. `make bench` runs what
is missing or stale, `make bench PART=verify` a part, and both can be killed and started again. A ratio above 1 means
feints is better; it is that of a round, and its median, lowest and highest are shown. *Better* names who was better
in every round; where a peer was, its name is in bold.
"""


def load(results: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Recorded results by part."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))}


def page(results: dict[str, dict[str, Any]]) -> str:
    """The whole page."""
    losses = [f"- {line}" for part in PARTS for line in _losses(part, results.get(part.name, {}))]
    head = [HEAD, "## Where a peer is better\n", *(losses or ["Nowhere, in what is recorded."]), ""]
    sections = [_section(part, results.get(part.name)) for part in PARTS]
    return "\n".join([*head, *sections, _times(results)]).rstrip() + "\n"


def _times(results: dict[str, dict[str, Any]]) -> str:
    """How long everything takes, and how to run a tenth."""
    known = {part.name: results[part.name]["seconds"] / 60 for part in PARTS if part.name in results}
    whole, measured = sum(known.get(part.name, part.minutes) for part in PARTS), sum(known.values())
    return (
        f"## How long it takes\n\nAll parts take about {whole:.0f} minutes on two quiet cores, {measured:.0f} of them "
        f"measured ({len(known)} of {len(PARTS)} parts recorded), besides installing the peers. A tenth is "
        '`make bench PART="verify keysteps programs"`; `python benchmarks/bench.py --plan` tells what is due.\n'
    )


def short(results: dict[str, dict[str, Any]]) -> str:
    """The README's table: the figures a part names as its short ones, or all that have a ratio."""
    rows = ["| measured side by side | feints | peers |", "|---|---|---|"]
    for part in PARTS:
        figures = _figures(results.get(part.name, {}))
        for figure in figures:
            peers = [_peer_short(figure, peer) for peer in _short_peers(figure)]
            if peers and (not part.shown or f"{figure.what}, {figure.unit}".startswith(part.shown)):
                rows.append(f"| {_cell(figure.what)}, {figure.unit} | {_middle(figure, OURS)} | {'; '.join(peers)} |")
    return "\n".join(rows)


def written(readme: str, results: dict[str, dict[str, Any]]) -> str:
    """README text with the table between its marks replaced; unchanged where it has no marks."""
    if START not in readme or END not in readme:
        return readme
    head, _, rest = readme.partition(START)
    _, _, tail = rest.partition(END)
    return f"{head}{START}\n{short(results)}\n{END}{tail}"


def write() -> None:
    """Write both."""
    results = load()
    PAGE.write_text(page(results), encoding="utf-8")
    README.write_text(written(README.read_text(encoding="utf-8"), results), encoding="utf-8")


def _figures(record: dict[str, Any]) -> list[Figure]:
    return [Figure.read(kept) for kept in record.get("figures", ())]


def _peers(figure: Figure) -> list[str]:
    return [side for side in figure.sides if side != OURS]


def _short_peers(figure: Figure) -> list[str]:
    """Every peer once: of one that ran in several ways, only its best."""
    best = [peer for peer in _peers(figure) if peer.endswith("its best")]
    return best or _peers(figure)


def _losses(part: Part, record: dict[str, Any]) -> list[str]:
    return [
        f"{part.title}: {peer} in {figure.what}, {_middle(figure, peer)} beside {_middle(figure, OURS)} {figure.unit}."
        for figure in _figures(record)
        for peer in _peers(figure)
        if figure.verdict(peer) == "theirs"
    ]


def _section(part: Part, record: dict[str, Any] | None) -> str:
    lines = [f"## {part.title}\n"]
    if record is None:
        return "\n".join(
            [*lines, f"Not measured yet: `make bench PART={part.name}`, about {part.minutes:g} minutes.\n"]
        )
    if record.get("skipped"):
        return "\n".join([*lines, f"Skipped: {record['skipped']} `{record['command']}` measures it.\n"])
    figures = _figures(record)
    ruled = [figure for figure in figures if _peers(figure)]
    alone = [figure for figure in figures if not _peers(figure)]
    if ruled:
        lines += ["| | feints | beside | | ratio | better |", "|---|---|---|---|---|---|"]
        lines += [row for figure in ruled for row in _rows(figure)]
        lines.append("")
    if alone:
        lines += ["| | feints |", "|---|---|"]
        lines += [f"| {_cell(f.what)}, {f.unit} | {_spread(f, OURS)} |" for f in alone]
        lines.append("")
    lines += [f"- {note}" for note in [*part.notes, *record.get("notes", ())]]
    return "\n".join([*lines, "", _origin(record), ""])


def _rows(figure: Figure) -> list[str]:
    """A row for each peer; the first says what is measured."""
    rows = []
    for number, peer in enumerate(_peers(figure)):
        what = f"{_cell(figure.what)}, {figure.unit}" if number == 0 else ""
        ours = _spread(figure, OURS) if number == 0 else ""
        better = VERDICTS[figure.verdict(peer)].format(peer=peer)
        rows.append(f"| {what} | {ours} | {peer} | {_spread(figure, peer)} | {_ratio(figure, peer)} | {better} |")
    return rows


def _spread(figure: Figure, side: str) -> str:
    """The median, the range, and the remark."""
    rounds, remark = figure.sides.get(side, ()), figure.remarks.get(side, "")
    if not rounds:
        return _cell(remark or "not measured")
    told = _range(rounds)
    return f"{told}; {_cell(remark)}" if remark else told


def _range(rounds: Sequence[float], digits: int = 15) -> str:
    """Median and ends, each to so many digits that count."""
    spread = Spread.of(rounds)
    ends = (spread.median, spread.minimum, spread.maximum)
    middle, low, high = (shown(float(f"{end:.{digits}g}")) for end in ends)
    return middle if low == high else f"{middle} ({low} to {high})"


def _middle(figure: Figure, side: str) -> str:
    rounds = figure.sides.get(side, ())
    return shown(Spread.of(rounds).median) if rounds else _cell(figure.remarks.get(side, "not measured"))


def _ratio(figure: Figure, peer: str) -> str:
    ratios = figure.ratios(peer)
    return f"{_range(ratios, 3)} x" if ratios else ""


def _peer_short(figure: Figure, peer: str) -> str:
    """A peer's median and our ratio to it; in bold where the peer is better."""
    said, ratios, verdict = f"{peer} {_middle(figure, peer)}", figure.ratios(peer), figure.verdict(peer)
    if ratios:
        said += f" ({shown(float(f'{Spread.of(ratios).median:.3g}'))} x{', neither better' * (verdict == 'even')})"
    return f"**{said}**" if verdict == "theirs" else said


def _origin(record: dict[str, Any]) -> str:
    machine, own = record["machine"], record["versions"].get(OURS, {})
    versions = dict(own)
    for where, found in record["versions"].items():
        versions |= {f"{name} ({where})": told for name, told in found.items() if own.get(name) != told}
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"`{record['command']}`, commit {record['commit']}, {record['date']}, {record['seconds'] / 60:.1f} minutes; "
        f"{machine['cores']} cores of {machine['processor']}, {machine['memory_gib']:g} GiB, {machine['system']}, "
        f"Python {machine['python']}, load before {machine['load']:g}. {told}."
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
