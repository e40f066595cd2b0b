"""Agreement of our verdicts with the labelled public triples; every disagreement is printed.

    python benchmarks/verify_agreement.py [--data FOLDER] [--infer]

Rows with review=convention, correct=null and kind="other form" are left out; not_checked counts as disagreement.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from feints.records import AnswerKind, Choice, Finish, Problem
from feints.verify.pool import CheckerPool
from feints.verify.rows import infer_kind

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


def main() -> None:
    """Print each disagreement, then a line per file."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data" / "answer_check"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--infer", action="store_true", help="infer kinds from the gold answers")
    arguments = parser.parse_args()
    totals = []
    with CheckerPool(deadline=20) as pool:
        for name in ("unit_pairs.jsonl", "math_pairs.jsonl", "responses.jsonl.gz"):
            rows = load(arguments.data / name)
            items = [(problem(row, arguments.infer), row["response"], "", Finish.UNKNOWN) for row in rows]
            verdicts = pool.check_all(items)
            right = wrongly_right = 0
            for row, verdict in zip(rows, verdicts, strict=True):
                said = verdict.value.value
                if said != "not_checked" and (said == "correct") == row["correct"]:
                    right += 1
                    continue
                wrongly_right += said == "correct"
                print(f"{row['id']}: label {row['correct']}, verdict {said} ({verdict.checker}: {verdict.reason})")
                print(f"    gold {row['gold'][-100:]!r}, read {(verdict.extracted or '')[:100]!r}")
            share = 100 * right / len(rows)
            totals.append(
                f"{name}: {right} of {len(rows)} agree, {share:.2f} %; {wrongly_right} labelled wrong called correct"
            )
    print("\n".join(totals))


if __name__ == "__main__":
    main()
