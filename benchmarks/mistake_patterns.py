"""The confusion matrix of the teacher that labels mistake patterns, in the lab, where the true kinds are known.

    python benchmarks/mistake_patterns.py [--problems N] [--samples N] [--error SHARE] [--regime systematic|slips]

The scripted teacher is sampled, its wrong rationales mended, its right ones corrupted, and asked which pattern each
wrong text shows, with the prompts of the method. True are the mistakes it made on purpose when it wrote the text, which
no reply ever says. Nothing is trained.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from feints.bench import Bench, dual
from feints.curate.dual import pairs_from
from feints.curate.funnel import Funnel
from feints.curate.patterns import Confusion, confusion, named
from feints.curate.settings import CurateSettings
from feints.evaluate.settings import ExamSettings
from feints.generate.budget import Budget
from feints.generate.ledger import Ledger
from feints.generate.prompt import TEACHER
from feints.generate.scripted import ScriptedSource
from feints.generate.settings import SamplingSettings
from feints.lab.mistakes import MistakeSettings
from feints.lab.teacher import LabTeacher
from feints.lab.teacher_settings import LabTeacherSettings
from feints.lab.world import problems
from feints.methods.edit import CONTRAST, HINT, LABEL
from feints.records import Pair, Problem
from feints.runs import RunFolder
from feints.train.settings import StudentSettings, TrainSettings
from feints.verify.pool import CheckerPool


def heard(teacher: LabTeacher, truths: dict[tuple[str, str], str]) -> ScriptedSource:
    """The teacher, with a note of what it did in each reply, by problem and text."""

    def respond(body: dict[str, Any]) -> Mapping[str, Any]:
        for truth in teacher.explain(body):
            truths.setdefault((truth.question, truth.text), named(kind.value for kind in truth.kinds))
        return teacher.respond(body)

    return ScriptedSource.from_responder(respond, teacher.model)


def labelled(bench: Bench, truths: Mapping[tuple[str, str], str]) -> tuple[list[Pair], Confusion]:
    """Pairs of all sources with their labels, and the labels against the truth."""
    said = bench.ask("teacher", TEACHER)
    chosen = bench.choose(said, bench.judge("teacher", said))
    right, wrong = chosen.piles.right, chosen.piles.wrong
    mended = dual.mend(bench, HINT, wrong).piles.right
    bent = dual.corrupt(bench, CONTRAST, right, mended, wrong).piles.wrong
    rows = (right, wrong, mended, bent)
    pairs = dual.label(bench, LABEL, pairs_from(*rows, sources="all", seed=0), [row for part in rows for row in part])
    texts = {row.id: row for part in rows for row in part}
    once = {pair.wrong_id: pair for pair in pairs}.values()
    true = [truths[bench.by_id[pair.problem_id].question, texts[pair.wrong_id].text] or "none" for pair in once]
    return pairs, confusion(true, [pair.pattern for pair in once])


def main() -> None:
    """Print the matrix and the share of labels that are true."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=300)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--error", type=float, default=0.1, help="share of labels the teacher gets wrong on purpose")
    parser.add_argument("--regime", choices=("systematic", "slips"), default="systematic")
    arguments = parser.parse_args()
    settings = LabTeacherSettings(mistakes=MistakeSettings(regime=arguments.regime), label_error=arguments.error)
    teacher = LabTeacher(settings)
    truths: dict[tuple[str, str], str] = {}
    with TemporaryDirectory() as scratch, CheckerPool(workers=1) as pool:
        run = RunFolder(Path(scratch) / "run")
        asked = run.table("0_problems", "train", Problem, [arguments.problems],
                          lambda: problems("train", arguments.problems))  # fmt: skip
        bench = Bench(
            run=run,
            problems=asked,
            funnel=Funnel().start("in the task", "problems", len(asked)),
            teacher=heard(teacher, truths),
            ledger=Ledger(Path(scratch) / "ledger.sqlite"),
            budget=Budget(),
            pool=pool,
            sampling=SamplingSettings(n=arguments.samples, temperature=0.7),
            curate=CurateSettings(),
            student=StudentSettings(model="none"),
            student_identity="",
            training=TrainSettings(),
            exam=ExamSettings(),
            arm="patterns",
            seed=0,
        )
        pairs, found = labelled(bench, truths)
        bench.ledger.close()
    head, *rows = found.rows()
    table = Table(*head)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    print(f"{len(pairs):,} pairs; {found.agreed:,} of {found.total:,} labels true ({found.agreed / found.total:.1%})")


if __name__ == "__main__":
    main()
