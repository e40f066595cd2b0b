"""Stage 1 as the bench does it: a teacher or a student asked through the ledger; torch only where a student answers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from feints.bench.serving import Learner, identity_of, opened
from feints.errors import BudgetError, SettingsError
from feints.generate.budget import Budget
from feints.generate.progress import SamplingProgress, currency_of
from feints.generate.prompt import Prompt
from feints.generate.rationales import Asked, Asking, ask_all, rationale_from
from feints.generate.settings import SamplingSettings
from feints.generate.source import Completion, TextSource
from feints.records import Finish, Form, Judgement, Origin, Problem, Rationale, content_hash
from feints.runs import Stored

if TYPE_CHECKING:
    from feints.bench import Bench

STAGE = "1_rationales"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One call of `Bench.ask`, everything settled; its fields are described there."""

    label: str
    prompt: Prompt
    askings: tuple[Asking, ...]
    source: TextSource | Learner | None
    sampling: SamplingSettings
    origin: Origin
    form: Form
    round: int


def askings_of(asked: Iterable[Problem | Asking]) -> tuple[Asking, ...]:
    """Problems as questions that fill no further slots."""
    return tuple(item if isinstance(item, Asking) else Asking(problem=item) for item in asked)


def ask(bench: Bench, order: Order) -> Stored[Rationale]:
    """The rationales of an order: read where they are known, else asked for; what ended early is marked as such.

    Raises:
        BudgetError: the budget allows no request at all. Once the run holds rationales it goes on with those.
    """
    depends = _depends(bench, order)
    if bench.serving is not None and isinstance(order.source, Path):
        bench.serving.orders.add(order.label)
    key = content_hash(order.label, depends)
    if key in bench.stopped:  # another arm or seed was cut short here; this one learns from the same and used it too
        rows = list(bench.stopped[key].rows)
        stored = bench.run.table(STAGE, order.label, Rationale, [*depends, *_cut(rows)], lambda: rows)
    elif (known := bench.run.known(STAGE, order.label, Rationale, depends)) is not None:
        stored = known
    else:
        began = time.perf_counter()
        asked, author = _asked(bench, order)
        rows = _rationales(order, asked, author)
        if not asked.left:
            stored = bench.run.table(STAGE, order.label, Rationale, depends, lambda: rows, began=began)
        else:
            if not rows and not asked.interrupted and not bench.run.outputs(STAGE):
                raise BudgetError(
                    f"{order.label}: {asked.left} were not sent, {asked.why}; raise the budget or ask for fewer samples"
                )
            bench.notices.append(
                f"{order.label}: {asked.left} were not answered ({asked.why}); once that is mended, run again to go on "
                "from here"
            )
            cut = [*depends, *_cut(rows)]
            stored = bench.run.table(STAGE, order.label, Rationale, cut, lambda: rows, began=began)
            bench.stopped[key] = stored
    bench.sampled[stored.address] = order.sampling
    _note_unanswered(bench, order, stored)
    _notice_unread(bench, order, stored)
    return stored


def _cut(rows: Sequence[Rationale]) -> list[object]:
    """What tells rationales that ended early from those of a further run."""
    return ["stopped early", content_hash([row.id for row in rows])]


def _note_unanswered(bench: Bench, order: Order, stored: Stored[Rationale]) -> None:
    """Note in the manifest which attempts at these replies were paid for and brought nothing usable.

    Also for replies that were known: the run that asked for them may have been killed before it could note it.
    """
    if order.source is None and (found := bench.ledger.unanswered({row.ledger_key for row in stored})):
        bench.run.describe(stored.path, unanswered=found)


def _notice_unread(bench: Bench, order: Order, stored: Stored[Rationale]) -> None:
    """Say how many replies could not be read; from the table alone, so a rerun says it too."""
    if unread := sum(row.finish is Finish.MALFORMED for row in stored):
        notice = (
            f"{order.label}: {unread:,} of {len(stored):,} replies could not be read and count as no answer; the "
            "ledger holds what came instead"
        )
        if notice not in bench.notices:  # every arm and seed reads the same table
            bench.notices.append(notice)


def _depends(bench: Bench, order: Order) -> list[object]:
    return [
        bench.problems.address,
        content_hash([[a.problem.id, dict(a.filled), a.parent, *[a.sample] * (a.sample > 0)] for a in order.askings]),
        identity_of(bench, order.source),
        order.prompt.hash,
        order.sampling.model_dump(mode="json"),
        [order.origin, order.form, order.round],
    ]


def _asked(bench: Bench, order: Order) -> tuple[Asked, str]:
    """What came of an order, and who answered."""

    def judged(problem: Problem, completion: Completion) -> Judgement:
        said = completion
        return bench.pool.check(problem, said.text, thinking=said.thinking, finish=said.finish, form=order.form).value

    with (
        opened(bench, order.source) as author,
        SamplingProgress(bench.console, order.label, currency_of(author)) as progress,
    ):
        _refuse_unheard(order, author)
        asked = ask_all(
            author,
            order.askings,
            order.prompt,
            order.sampling,
            judge=judged,
            ledger=bench.ledger,
            budget=bench.budget if order.source is None else Budget(),
            watcher=progress,
        )
    return asked, author.identity


def _refuse_unheard(order: Order, author: TextSource) -> None:
    """Recorded texts answer the question alone; as mended ones they would pass for what they are not.

    Raises:
        SettingsError: the order says more than the question to such a source.
    """
    said = sorted({slot for asking in order.askings for slot in asking.filled})
    wanted = f"read {', '.join(said)} beside the question" if said else "make a problem of the question"
    if (said or order.origin is Origin.PROBLEM) and getattr(author, "plain_only", False):
        raise SettingsError(
            f"{order.label}: the teacher is to {wanted}, and recorded completions (teacher.source: replay) answer the "
            "question alone; take an endpoint, or a method or settings that ask nothing else (docs/teachers.md)"
        )


def _rationales(order: Order, asked: Asked, author: str) -> list[Rationale]:
    return [
        rationale_from(
            asking.problem,
            request,
            completion,
            prompt=order.prompt,
            author=author,
            form=order.form,
            origin=order.origin,
            round=order.round,
            parent=asking.parent,
        )
        for asking, request, completion in asked.answered
    ]
