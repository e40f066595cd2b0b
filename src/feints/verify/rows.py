"""Judge anyone's rows: a JSONL file of gold answers and texts in, the same rows with verdicts out."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from feints.records import AnswerKind, Choice, Finish, Judgement, Problem, Verdict
from feints.verify.choices import options_of
from feints.verify.gold import gold_error, whole_number
from feints.verify.pool import DEADLINE, CheckerPool
from feints.verify.row_files import KINDS, batches, checked, read_rows, writer
from feints.verify.yesno import gold_truth

QUIET = 2.0
"""Seconds before progress is shown."""
ADDED = ("verdict", "lenient", "extracted", "checker", "reason")
"""Fields a judged row has more than before; a row that has one already keeps it as input_<field>, or input_input_..."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Summary:
    """What judging a file came to."""

    rows: int
    """Rows judged."""
    verdicts: Mapping[str, int]
    """How many of each value of the strict verdict."""
    unusable_gold: int
    """Rows whose gold answer cannot be read; their verdict is not_checked."""
    seconds: float
    """Time taken."""

    @property
    def per_second(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds if self.seconds else 0.0


def judge_rows(
    in_path: Path, out_path: Path, *, workers: int | None = None, deadline: float = DEADLINE, quiet: bool = False
) -> Summary:
    """Judge every row of `in_path` and write them, in order and with their own fields, to `out_path`.

    A row is a JSON object {id?, gold, text, kind?, question?, choices?}; kind is number, latex, choice, boolean or
    text and read off the gold answer (and the choices) where it is missing. Each gains verdict, lenient, extracted,
    checker and reason. Both files may be gzip-compressed; `out_path` may be .jsonl, .jsonl.gz or .parquet. The file
    is read twice: nothing is written before every line is known to be a row. A gold answer that cannot be read makes
    its row not_checked, with the reason.

    Raises:
        DataError: lines that are no rows, listed by number; nothing has been written then.
        StorageError: `out_path` cannot be written.
    """
    total = checked(in_path)
    started = time.monotonic()
    counts: Counter[str] = Counter()
    unusable = 0
    with ExitStack() as stack:
        out = stack.enter_context(writer(out_path))
        pool = stack.enter_context(CheckerPool(workers, deadline))
        progress = stack.enter_context(_Progress(total, quiet))
        for batch in batches(read_rows(in_path)):
            judged = _judge_batch(batch, pool)
            out.write([row for row, _, _ in judged])
            for _, verdict, readable in judged:
                counts[verdict.value.value] += 1
                unusable += not readable
            progress.advance(len(batch))
    verdicts = {value.value: counts[value.value] for value in Judgement}
    return Summary(total, verdicts, unusable, time.monotonic() - started)


_WORD = re.compile(r"[^\W\d_]{2}|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
"""Letters that are no product of variables, of any script; one character is a word in some."""


def infer_kind(gold: str, choices: tuple[Choice, ...], question: str = "") -> AnswerKind:
    """The kind of a gold answer that comes without one."""
    if choices and any(choice.label.casefold() == gold.strip("(). ").casefold() for choice in choices):
        return AnswerKind.CHOICE
    if whole_number(gold) is not None and not any(char in gold for char in "\\^{"):
        return AnswerKind.NUMBER
    if gold_truth(gold) is not None:
        return AnswerKind.BOOLEAN
    stripped = gold.strip()
    if len(stripped.strip("()")) == 1 and stripped.strip("()").isupper() and "(B)" in question:
        return AnswerKind.CHOICE
    if not re.search(r"[\\^$=<>{}()\[\]/*+\d]", gold) and _WORD.search(gold):
        return AnswerKind.TEXT
    problem = Problem(id="", question="", answer=gold, answer_kind=AnswerKind.LATEX, task="", split="")
    return AnswerKind.LATEX if gold_error(problem) is None else AnswerKind.TEXT


def _judge_batch(
    batch: list[tuple[int, dict[str, Any]]], pool: CheckerPool
) -> list[tuple[dict[str, Any], Verdict, bool]]:
    items = [
        (_problem(number, row), row["text"], str(row.get("thinking") or ""), _finish(row)) for number, row in batch
    ]
    judged = []
    for (_, row), (problem, _, _, _), found in zip(batch, items, pool.check_each(items), strict=True):
        readable = isinstance(found, Verdict)
        verdict = found if isinstance(found, Verdict) else _unusable(gold_error(problem) or str(found))
        judged.append((_with_verdict(row, verdict), verdict, readable))
    return judged


def _problem(number: int, row: dict[str, Any]) -> Problem:
    choices = options_of(row.get("choices"))
    gold, question = str(row["gold"]), str(row.get("question") or "")
    kind = KINDS[row["kind"]] if row.get("kind") else infer_kind(gold, choices, question)
    if kind is AnswerKind.CHOICE:
        gold = next((c.label for c in choices if c.text.strip() == gold.strip()), gold)
    return Problem(
        id=str(row.get("id", f"line {number}")),
        question=question,
        answer=gold,
        answer_kind=kind,
        task="file",
        split="test",
        choices=choices,
    )


def _finish(row: dict[str, Any]) -> Finish:
    try:
        return Finish(row.get("finish") or "unknown")
    except ValueError:
        return Finish.UNKNOWN


def _unusable(error: str) -> Verdict:
    return Verdict(
        rationale_id="",
        value=Judgement.NOT_CHECKED,
        lenient=Judgement.NOT_CHECKED,
        extracted=None,
        checker="gold",
        reason=error,
    )


def _with_verdict(row: dict[str, Any], verdict: Verdict) -> dict[str, Any]:
    kept = {_kept_as(name, row): value for name, value in row.items()}
    added = (verdict.value.value, verdict.lenient.value, verdict.extracted, verdict.checker, verdict.reason)
    return {**kept, **dict(zip(ADDED, added, strict=True))}


def _kept_as(name: str, row: dict[str, Any]) -> str:
    """The column an input column is kept in, beside those that are added."""
    if name in ADDED:
        while name in ADDED or name in row:
            name = f"input_{name}"
    return name


class _Progress:
    """A bar with rate and time left for runs of more than two seconds; plain log lines where there is no terminal."""

    def __init__(self, total: int, quiet: bool) -> None:
        self._total, self._done = total, 0
        self._started = self._logged = time.monotonic()
        console = Console(stderr=True)
        self._live = console.is_terminal and not quiet
        self._quiet = quiet
        self._bar: Progress | None = None
        self._console = console

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, rows: int) -> None:
        """Count rows done."""
        self._done += rows
        now = time.monotonic()
        if self._quiet or now - self._started < QUIET:
            return
        rate = self._done / (now - self._started)
        if self._live:
            self._draw(rate)
        elif now - self._logged >= 10 or self._done == self._total:
            self._logged = now
            left = (self._total - self._done) / rate
            _log.info("%d of %d rows judged, %.0f rows/s, %.0f s left", self._done, self._total, rate, left)

    def _draw(self, rate: float) -> None:
        if self._bar is None:
            self._bar = Progress(
                TextColumn("judging"),
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("{task.fields[rate]:.0f} rows/s"),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._bar.start()
            self._bar.add_task("judging", total=self._total, rate=rate)
        self._bar.update(self._bar.task_ids[0], completed=self._done, rate=rate)
