"""Hold a run's verdicts on recorded rationales against the labels recorded with them: shares, time, disagreements."""

from __future__ import annotations

import argparse
import gzip
import json
from collections import Counter
from pathlib import Path

from feints.records import Judgement, Rationale, Verdict
from feints.runs import RunFolder
from feints.tables import read_table


def main() -> None:
    """Print the shares and list every disagreement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="run folder of a replay recipe")
    parser.add_argument("records", type=Path, help="the recorded .jsonl.gz the run replayed")
    parser.add_argument("--list", type=Path, help="write the disagreements here as JSON Lines")
    arguments = parser.parse_args()
    run = RunFolder.open(arguments.run)
    ((rationale_path, _),) = run.outputs("1_rationales")
    ((verdict_path, entry),) = run.outputs("2_verdicts")
    verdicts = {verdict.rationale_id: verdict for verdict in read_table(verdict_path, Verdict)}
    with gzip.open(arguments.records, "rt", encoding="utf-8") as lines:
        recorded = {row["id"]: row for row in map(json.loads, lines)}
    table: Counter[tuple[str, str]] = Counter()
    disagreements = []
    for rationale in read_table(rationale_path, Rationale):
        row = recorded[rationale.problem_id]
        sample = row["samples"][rationale.sample_index]
        verdict = verdicts[rationale.id]
        label = {True: "right", False: "wrong", None: "not judged"}[sample["correct"]]
        table[label, verdict.value.value] += 1
        ours = {Judgement.CORRECT: True, Judgement.WRONG: False}.get(verdict.value)
        if sample["correct"] is not None and ours != sample["correct"]:
            disagreements.append(
                {
                    "problem": rationale.problem_id,
                    "sample": rationale.sample_index,
                    "gold": row["answer"],
                    "recorded": label,
                    "recorded_answer": sample.get("pred"),
                    "ours": verdict.value.value,
                    "extracted": verdict.extracted,
                    "checker": verdict.checker,
                    "reason": verdict.reason,
                }
            )
    _show(table, disagreements, entry.get("seconds"))
    if arguments.list:
        arguments.list.write_text("".join(json.dumps(row) + "\n" for row in disagreements), encoding="utf-8")


def _show(table: Counter[tuple[str, str]], disagreements: list[dict[str, object]], seconds: float | None) -> None:
    columns = [judgement.value for judgement in Judgement]
    print(f"{'recorded':<12}" + "".join(f"{column:>13}" for column in columns))
    for label in ("right", "wrong", "not judged"):
        print(f"{label:<12}" + "".join(f"{table[label, column]:>13,}" for column in columns))
    total = sum(table.values())
    labelled = sum(count for (label, _), count in table.items() if label != "not judged")
    recorded_right = sum(count for (label, _), count in table.items() if label == "right")
    right = sum(count for (_, ours), count in table.items() if ours == "correct")
    wrong = sum(count for (_, ours), count in table.items() if ours == "wrong")
    print(f"right: {recorded_right:,} of {labelled:,} recorded as judged ({recorded_right / labelled:.2%})")
    print(
        f"right: {right:,} of {right + wrong:,} judged by us ({right / (right + wrong):.2%}), of {total:,} rationales"
    )
    print(f"disagreements on labelled rows: {len(disagreements):,} ({len(disagreements) / labelled:.2%})")
    kinds = Counter((row["recorded"], row["ours"]) for row in disagreements)
    for (label, ours), count in kinds.most_common():
        print(f"  recorded {label}, ours {ours}: {count:,}")
    if seconds:
        print(f"judged in {seconds:.1f} s ({total / seconds:,.0f} rows/s)")


if __name__ == "__main__":
    main()
