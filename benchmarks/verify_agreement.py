"""Agreement of our verdicts with the labelled public triples; every disagreement is printed.

    python benchmarks/verify_agreement.py [--data FOLDER] [--infer] [--peer] [--json FILE]

Rows with review=convention, correct=null and kind="other form" are left out; not_checked counts as disagreement.
`--peer` puts math-verify's verdicts on the same rows beside ours. Labels of math_pairs were partly made with
math-verify itself: only its hand-decided rows tell the two apart, and they are counted by themselves.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from board import figures
from feints.records import AnswerKind, Choice, Finish, Judgement, Problem
from feints.verify.pool import CheckerPool
from feints.verify.rows import infer_kind
from peers.checker import MathVerify

KINDS = {
    "number": AnswerKind.NUMBER,
    "option": AnswerKind.CHOICE,
    "yesno": AnswerKind.BOOLEAN,
    "text": AnswerKind.TEXT,
    "latex": AnswerKind.LATEX,
}


def load(path: Path) -> list[dict[str, Any]]:
    """Rows whose label counts."""
    opener: Callable[..., Any] = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [
        row
        for row in rows
        if row.get("review") != "convention" and row["correct"] is not None and row["kind"] != "other form"
    ]


def problem(row: dict[str, Any], infer: bool) -> Problem:
    """The problem of a row, its kind as the data states it or inferred from the gold answer."""
    options = tuple(Choice(label=o["label"], text=o["text"]) for o in row.get("options") or ())
    question = row.get("question") or ""
    kind = infer_kind(row["gold"], options, question) if infer else KINDS[row.get("answer_type", "latex")]
    return Problem(
        id=row["id"], question=question, answer=row["gold"], answer_kind=kind, task="t", split="test", choices=options
    )


def ours(rows: list[dict[str, Any]], pool: CheckerPool, infer: bool) -> list[Judgement]:
    """Our verdicts; every disagreement is printed."""
    verdicts = pool.check_all([(problem(row, infer), row["response"], "", Finish.UNKNOWN) for row in rows])
    for row, verdict in zip(rows, verdicts, strict=True):
        if verdict.value is Judgement.NOT_CHECKED or (verdict.value is Judgement.CORRECT) != row["correct"]:
            print(f"{row['id']}: label {row['correct']}, verdict {verdict.value} ({verdict.checker}: {verdict.reason})")
            print(f"    gold {row['gold'][-100:]!r}, read {(verdict.extracted or '')[:100]!r}")
    return [verdict.value for verdict in verdicts]


def parts(name: str, rows: list[dict[str, Any]]) -> dict[str, list[int]]:
    """Places of the rows counted together: a file, and of two files what both sides are made for."""
    found = {name: list(range(len(rows)))}
    if name.startswith("responses"):
        made_for = ("number", "latex")
        found["responses, numbers and LaTeX only"] = [i for i, r in enumerate(rows) if r["answer_type"] in made_for]
    if name.startswith("math_pairs"):
        by_hand = ("equal, both rules missed it", "near miss, hand-checked")
        found["math_pairs decided by hand"] = [i for i, r in enumerate(rows) if r["kind"] in by_hand]
    return found


def counted(what: str, rows: list[dict[str, Any]], right: dict[str, list[bool]], unjudged: int) -> list[figures.Figure]:
    """Errors of either kind by side; what we could not judge is an error of ours."""
    wrongs, missed = {}, {}
    for side, verdicts in right.items():
        pairs = list(zip(rows, verdicts, strict=True))
        wrongs[side] = [float(sum(said and not row["correct"] for row, said in pairs))]
        missed[side] = [float(sum(row["correct"] and not said for row, said in pairs))]
    missed[figures.OURS][0] += unjudged
    share = f"of {len(rows):,} {what}"
    return [
        figures.Figure(what=f"wrong answers called right, {share}", unit="rows", better="less", sides=wrongs),
        figures.Figure(what=f"right answers called wrong, {share}", unit="rows", better="less", sides=missed),
    ]


def main() -> None:
    """Print each disagreement, then the errors of each file."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data" / "answer_check"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--infer", action="store_true", help="infer kinds from the gold answers")
    parser.add_argument("--peer", action="store_true", help="math-verify beside ours")
    parser.add_argument("--json", help="where to write the figures")
    arguments = parser.parse_args()
    found: list[figures.Figure] = []
    for name in ("unit_pairs.jsonl", "math_pairs.jsonl", "responses.jsonl.gz"):
        rows = load(arguments.data / name)
        with CheckerPool(deadline=20) as pool:
            values = ours(rows, pool, arguments.infer)
        right = {figures.OURS: [value is Judgement.CORRECT for value in values]}
        if arguments.peer:
            with MathVerify() as peer:
                peer.keep([(row["gold"], row["response"]) for row in rows])
                right[peer.name] = peer.judge()
        for what, places in parts(name.partition(".")[0], rows).items():
            # A row we could not judge whose label is wrong is not "called right", and still no agreement.
            unjudged = sum(values[i] is Judgement.NOT_CHECKED and not rows[i]["correct"] for i in places)
            part = {side: [verdicts[i] for i in places] for side, verdicts in right.items()}
            found += counted(what, [rows[i] for i in places], part, unjudged)
    for figure in found:
        print(figures.line(figure))
    figures.write(arguments.json, found)


if __name__ == "__main__":
    main()
