"""Stage 3 as the bench does it: rationales to examples, apart for training and validation, with the funnel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from feints.curate.choice import Chosen
from feints.curate.examples import Built
from feints.curate.funnel import Funnel, FunnelStep
from feints.records import Dropped, Example, Rationale, content_hash
from feints.runs import Stored

if TYPE_CHECKING:
    from feints.bench import Bench
    from feints.train.student import Student

Builder = Callable[["Student", Sequence[Rationale]], Built]
"""Makes examples of rationales with a student's renderer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """Examples to fit and to validate on."""

    train: Stored[Example]
    validation: Stored[Example]


def examples(
    bench: Bench,
    chosen: Chosen,
    how: Sequence[object],
    build: Builder,
    used: list[Rationale],
    name: str,
    compared: bool,
) -> Lesson:
    """See `Bench.examples`."""
    if not used:
        chosen.funnel.refuse_empty(cut_short=bool(bench.stopped))
    label = f"{bench.arm}-{name}" if name else bench.arm
    about: dict[str, Any] = {"arm": bench.arm, **({"compared": True} if compared else {})}
    depends = [
        chosen.address,
        bench.student_identity,
        [bench.student.chat, bench.curate.thinking, bench.curate.max_tokens],
        list(how),
        content_hash([[row.id, bench.by_id[row.problem_id].answer] for row in used]),  # some learn the gold answer
    ]

    @cache
    def built() -> Built:
        return build(bench.fresh_student(), used)

    def part(which: str, held_back: bool) -> Stored[Example]:
        def make() -> list[Example]:
            return [e for e in built().examples if (e.problem_id in chosen.validation) == held_back]

        return bench.run.table("3_examples", f"{label}-{which}", Example, [*depends, which], make, **about)

    lesson = Lesson(train=part("train", False), validation=part("validation", True))
    dropped = bench.run.table(
        "3_dropped",
        f"{label}-rows",
        Dropped,
        [*depends, content_hash([asdict(row) for row in chosen.dropped])],
        lambda: [*chosen.dropped, *built().dropped],
    )
    funnel = _funnel(chosen, len(used), lesson, dropped)
    steps = [*depends, [asdict(step) for step in funnel.steps]]
    bench.run.table("3_dropped", f"{label}-funnel", FunnelStep, steps, lambda: funnel.steps, arm=bench.arm)
    funnel.refuse_empty(cut_short=bool(bench.stopped))
    return lesson


def _funnel(chosen: Chosen, used: int, lesson: Lesson, dropped: Stored[Dropped]) -> Funnel:
    """The funnel of the choice down to the examples trained on."""
    reasons = Counter(row.reason for row in dropped.rows[len(chosen.dropped) :])
    train, validation = len(lesson.train), len(lesson.validation)
    funnel = chosen.funnel.start("to learn from", "examples", used).step("examples", train + validation, reasons)
    return funnel.step("to train on", train, Counter({"held back for validation": validation}))
