"""A source that answers from recorded completions, found by the question a request holds."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from feints.errors import DataError, SourceError
from feints.generate.desk import Desk
from feints.generate.json_lines import json_lines
from feints.generate.reply import parse_reply, whole
from feints.generate.sample import sample
from feints.generate.scripted import text_reply
from feints.generate.source import Completion, Request
from feints.records import Finish, content_hash

_ANCHOR = 24
"""Characters of a question by which it is looked up; the rest is then compared."""
_SHOWN = 3
"""Missing questions named in an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One recorded completion."""

    text: str
    model: str = ""
    """Who wrote it, as recorded."""
    finish: Finish = Finish.UNKNOWN
    """Why it ended, where recorded."""


class ReplaySource:
    """Recorded completions by question: a request is answered by the longest question its last user turn holds.

    The sample index picks the sample. Whitespace is compared as single spaces. Nothing is paid: cost is 0, and
    usage is estimated from characters and marked so in the raw reply.
    """

    free = True
    """Budgets are not charged."""
    plain_only = True
    """The question alone is read of a request, not what it says besides (a hint, a mistake)."""

    def __init__(
        self,
        records: Mapping[str, Sequence[str | Recorded]],
        missing: Literal["error", "skip"] = "error",
        name: str | None = None,
    ) -> None:
        self._samples: dict[str, list[Recorded]] = {}
        self._anchors: dict[int, dict[str, list[str]]] = {}
        self._missing = missing
        self._found: dict[str, str | None] = {}
        for question, samples in records.items():
            self._add(question, [Recorded(text=s) if isinstance(s, str) else s for s in samples])
        self.identity = name or f"replay {self._content()}"
        """Hash of the records, for the ledger key."""

    def _add(self, question: str, samples: Sequence[Recorded]) -> None:
        asked = _normal(question)
        if not asked:
            raise DataError("a recorded completion has an empty question; remove the row")
        if asked not in self._samples:
            self._samples[asked] = []
            length = min(_ANCHOR, len(asked))
            self._anchors.setdefault(length, {}).setdefault(asked[:length], []).append(asked)
        self._samples[asked] += samples

    def _content(self) -> str:
        digest = hashlib.blake2b(digest_size=8)
        for question in sorted(self._samples):
            rows = [[s.text, s.model, s.finish.value] for s in self._samples[question]]
            digest.update(content_hash(question, rows).encode())
        return digest.hexdigest()

    @classmethod
    def from_jsonl(
        cls,
        path: Path | str,
        *,
        model: str | None = None,
        method: str | None = None,
        missing: Literal["error", "skip"] = "error",
    ) -> ReplaySource:
        """Read rows `{question, samples: [{text, model?, method?, finish?, final?}]}` or `{question, text, ...}`.

        An answer sentence asked for afterwards (`final`) is put on a line of its own after the text. `model` and
        `method` keep only samples recorded under these names.

        Raises:
            DataError: the file cannot be read, a row is not of this shape, or nothing is left.
        """
        records: dict[str, list[Recorded]] = {}
        for number, row in _rows(Path(path)):
            question = row.get("question")
            samples = row.get("samples", [row] if "text" in row else None)
            if not isinstance(question, str) or not isinstance(samples, list):
                found = ", ".join(f"{name} ({type(value).__name__})" for name, value in sorted(row.items()))
                raise DataError(
                    f"{path}, line {number}: a row needs question, a text, and text or a list of samples; found {found}"
                )
            if not _normal(whole(question)):
                raise DataError(f"{path}, line {number}: an empty question; write it, or remove the row")
            kept = [s for s in samples if _matches(s, "model", model) and _matches(s, "method", method)]
            records.setdefault(whole(question), []).extend(_recorded(s, f"{path}, line {number}") for s in kept)
        if not any(records.values()):
            names = "" if model is method is None else f" of model {model!r} and method {method!r}"
            raise DataError(f"{path} holds no completion{names}; check the names, and that rows have samples or a text")
        return cls({question: samples for question, samples in records.items() if samples}, missing)

    def parse(self, request: Request, key: str, raw: Mapping[str, Any]) -> Completion:
        """See `DeskSource.parse`."""
        return parse_reply(request, key, raw)

    def complete(self, requests: Sequence[Request]) -> AsyncIterator[tuple[Request, Completion]]:
        """See `TextSource.complete`."""
        return sample(self, requests)

    async def work(self, desk: Desk) -> None:
        """See `DeskSource.work`.

        Raises:
            SourceError: requests without a recorded completion, unless they are skipped; raised after all others
                are answered.
        """
        absent: list[Request] = []
        while await desk.more():
            while taken := await desk.take():
                request = taken[0]
                recorded = self.find(request)
                if recorded is not None:
                    desk.arrived(request, _raw(request, recorded))
                else:
                    absent.append(request)
                    desk.absent(request, f"{len(absent)} requests have no recorded completion")
            if absent and self._missing == "error":
                raise SourceError(self._complaint(absent))

    def _complaint(self, absent: Sequence[Request]) -> str:
        shown = "; ".join(f"sample {r.sample_index} of {_last_turn(r)[:80]!r}" for r in absent[:_SHOWN])
        return (
            f"{len(absent)} requests have no recorded completion, the first: {shown}. Ask for fewer samples, check "
            "that the prompt holds the recorded question word for word, or set teacher.missing: skip"
        )

    def find(self, request: Request) -> Recorded | None:
        """The recorded completion for `request`, or None."""
        text = _last_turn(request)
        if text not in self._found:
            self._found[text] = self._longest_question(_normal(text))
        question = self._found[text]
        if question is None or request.sample_index >= len(self._samples[question]):
            return None
        return self._samples[question][request.sample_index]

    def _longest_question(self, text: str) -> str | None:
        if text in self._samples:
            return text
        found = (
            question
            for length, anchors in self._anchors.items()
            for start in range(len(text) - length + 1)
            for question in anchors.get(text[start : start + length], ())
            if text.startswith(question, start) and _stands_alone(text, start, start + len(question))
        )
        return max(found, key=len, default=None)


def _normal(text: str) -> str:
    return " ".join(text.split())


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether the words at start and end of text[start:end] are whole: "2+2" is not found in "12+25"."""
    cut_before = start > 0 and text[start - 1].isalnum() and text[start].isalnum()
    cut_after = end < len(text) and text[end - 1].isalnum() and text[end].isalnum()
    return not (cut_before or cut_after)


def _last_turn(request: Request) -> str:
    if request.prompt is not None:
        return request.prompt
    return next((turn.content for turn in reversed(request.messages) if turn.role == "user"), "")


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a JSON Lines file with their numbers from 1."""
    for number, row in json_lines(path, "recorded completions"):
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: a row must be an object, found {type(row).__name__}")
        yield number, row


def _matches(sample: Any, field: str, wanted: str | None) -> bool:
    return wanted is None or (isinstance(sample, dict) and sample.get(field) == wanted)


def _recorded(sample: Any, where: str) -> Recorded:
    if not isinstance(sample, dict) or not isinstance(sample.get("text"), str):
        raise DataError(f"{where}: a sample must be an object with a text, found {str(sample)[:80]!r}")
    finish = sample.get("finish", Finish.UNKNOWN.value)
    if not isinstance(finish, str) or finish not in set(Finish):
        raise DataError(f"{where}: finish is {finish!r}; use one of {', '.join(Finish)}")
    final = sample.get("final") or ""
    if not isinstance(final, str):
        raise DataError(f"{where}: final is {final!r}; give the answer sentence as a text")
    parts = [sample["text"].rstrip(), final]
    text = "\n".join(part for part in parts if part) if parts[1] else sample["text"]
    return Recorded(text=whole(text), model=whole(str(sample.get("model", ""))), finish=Finish(finish))


def _raw(request: Request, recorded: Recorded) -> dict[str, Any]:
    return text_reply(request, recorded.text, recorded.finish) | {"model": recorded.model, "recorded": True}
