"""Live progress of sampling: rate, right and wrong so far, tokens, money, time left."""

from __future__ import annotations

import time
from collections import Counter
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from feints.generate.source import Completion, TextSource
from feints.records import Finish, Judgement

_SILENT_SECONDS = 2.0
"""Rounds shorter than this show nothing."""
_SHORT_WAIT = 1.0
"""Seconds; waiting less is not told."""
_PLAIN_SECONDS = 5.0
"""Between two plain lines, where the output is no terminal."""


class SamplingProgress:
    """A bar on a terminal, a line every few seconds elsewhere, nothing for short rounds. Use it in `with`.

    Give it to the sampling functions as `observer`; tell it verdicts with `judged` as they become known.
    """

    def __init__(self, console: Console | None = None, label: str = "sampling", currency: str = "") -> None:
        self._console = console or Console(stderr=True)
        self._label, self._currency = label, currency
        self._start = self._shown_at = time.monotonic()
        self._asked = self._done = self._stored = self._tokens = 0
        self._cost = 0.0
        self._malformed = 0
        self._waiting = ""
        self._verdicts: Counter[Judgement] = Counter()
        self._bar: Progress | None = None
        self._spoken = False

    def __enter__(self) -> SamplingProgress:
        self._start = self._shown_at = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._update()
            self._bar.stop()
            self._bar = None
        elif self._spoken or self._malformed:
            self._console.print(self.summary(), highlight=False, soft_wrap=True)

    def asked(self, count: int) -> None:
        """`count` more requests are to be answered."""
        self._asked += count
        self._show()

    def answered(self, completion: Completion, *, stored: bool) -> None:
        """One request has its completion; stored ones cost nothing now."""
        self._done += 1
        self._stored += stored
        self._malformed += completion.finish is Finish.MALFORMED
        self._waiting = ""
        if not stored:
            self._tokens += completion.usage.prompt_tokens + completion.usage.completion_tokens
            self._cost += completion.cost
        self._show()

    def waiting(self, why: str, seconds: float) -> None:
        """A call waits before it is sent again; told at once, since nothing else may happen meanwhile."""
        if seconds < _SHORT_WAIT:
            return
        self._waiting = f"{why}, waiting {seconds:.0f} s"
        self._show(wait=seconds)

    def judged(self, judgement: Judgement) -> None:
        """One more completion was judged."""
        self._verdicts[judgement] += 1

    def summary(self) -> str:
        """Where sampling stands, in one line."""
        seconds = max(1e-9, time.monotonic() - self._start)
        rate = (self._done - self._stored) / seconds
        parts = [f"{self._label}: {self._done:,} of {self._asked:,}"]
        if self._stored:
            parts.append(f"{self._stored:,} stored")
        if self._malformed:
            parts.append(f"{self._malformed:,} malformed")
        parts.append(f"{rate:,.1f} a second")
        if self._verdicts:
            parts.append(f"{self._verdicts[Judgement.CORRECT]:,} right, {self._verdicts[Judgement.WRONG]:,} wrong")
        parts.append(f"{self._tokens:,} tokens")
        if self._cost:
            parts.append(f"{self._cost:,.2f} {self._currency}".rstrip())
        if rate and self._done < self._asked:
            parts.append(f"{_duration((self._asked - self._done) / rate)} left")
        if self._waiting:
            parts.append(self._waiting)
        return ", ".join(parts)

    def _show(self, wait: float = 0.0) -> None:
        """Show where sampling stands, if it is time to; `wait`: seconds in which nothing else may be told."""
        now = time.monotonic()
        if now - self._start + wait < _SILENT_SECONDS:
            return
        if self._console.is_terminal:
            if self._bar is None:
                self._bar = Progress(BarColumn(bar_width=24), TextColumn("{task.description}"), console=self._console)
                self._bar.add_task(self.summary(), total=self._asked)
                self._bar.start()
            if now - self._shown_at >= 0.1:
                self._shown_at = now
                self._update()
        elif now - self._shown_at >= _PLAIN_SECONDS or (wait and not self._spoken):
            self._shown_at = now
            self._spoken = True
            self._console.print(self.summary(), highlight=False, soft_wrap=True)

    def _update(self) -> None:
        if self._bar:
            task = self._bar.task_ids[0]
            self._bar.update(task, completed=self._done, total=self._asked, description=self.summary())


def currency_of(source: TextSource) -> str:
    """What the replies of a source are paid in; "" where no price is known."""
    price = getattr(source, "price", None)
    return price.currency if price else ""


def _duration(seconds: float) -> str:
    """Seconds as h:mm:ss, hours only where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
