"""Training examples of a run as files for other trainers: prompts, targets, and what each can use of the weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from feints.errors import DataError, MissingExtraError, UnknownNameError
from feints.records import Example, Role
from feints.report.texts import Lessons
from feints.runs import RunFolder, atomic, make_folder, read_table, storage_errors

Form = Literal["jsonl", "hf", "trl", "llamafactory", "axolotl"]
IGNORED = -100
"""Label of a token without loss, in every trainer built on transformers."""
PARTS = ("train", "validation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """An example with its text, the special tokens around it left out, as a trainer adds them itself."""

    example: Example
    prompt: str
    completion: str

    @property
    def weights(self) -> tuple[float, ...]:
        """Those of the target."""
        return self.example.weights[len(self.example.prompt_ids) :]

    @property
    def pulled(self) -> bool:
        """Whether any target token is to become more probable."""
        return any(weight > 0 for weight in self.weights)

    @property
    def even(self) -> bool:
        """Whether every target token pulls alike, so that a text says all there is to say."""
        return self.pulled and len(set(self.weights)) == 1


def export_run(run: Path, form: str, out: Path, arm: str | None = None) -> list[Path]:
    """Write the examples of one arm of a finished run, and a page that says what was left out and why.

    Args:
        run: a run folder.
        form: one of `Form`.
        out: a folder; files of the same names in it are replaced.
        arm: whose examples; the method's own unless given.

    Returns:
        The files, the page EXPORT.md last.

    Raises:
        UnknownNameError: there is no such form or arm.
        DataError: the arm has no examples or no tokenizer of its own.
        MissingExtraError: the package tokenizers is not installed.
        StorageError: the disk refuses.
    """
    if form not in get_args(Form):
        raise UnknownNameError("form of export", form, get_args(Form))
    opened = RunFolder.open(run)
    names = [str(entry["name"]) for entry in opened.manifest["arms"]]
    arm = names[0] if arm is None else arm
    if arm not in names:
        raise UnknownNameError("arm of this run", arm, names)
    lessons = dict(_lessons(opened, arm))
    if not lessons:
        raise DataError(
            f"{run} holds no training examples under the arm {arm!r}; arms that share them keep them under the first "
            f"one, so try --arm {names[0]}"
        )
    decode = _decoder(opened, arm)
    make_folder(out)
    written: list[Path] = []
    notes: list[str] = []
    for (lesson, part), examples in lessons.items():
        stem = "-".join(name for name in (arm, lesson, part) if name)
        for path, rows, note in _FORMS[form](out, stem, [decode(example) for example in examples]):
            notes.append(f"| {path.name} | {rows:,} | {note} |")
            written.append(path)
    if form == "llamafactory":
        written.append(_dataset_info(out, written))
    page = out / "EXPORT.md"
    head = [f"# {opened.manifest['name']}, arm {arm}, for {form}", "", "| file | rows | what is not in it |"]
    _write(page, "\n".join([*head, "| --- | --- | --- |", *notes, ""]))
    return [*dict.fromkeys(written), page]


# ------------------------------------------------------------------------------------------------------- reading


def _lessons(run: RunFolder, arm: str) -> Iterator[tuple[tuple[str, str], list[Example]]]:
    """Examples by (stage or round, part), in the order they were made."""
    for path, entry in run.outputs("3_examples"):
        lesson, _, part = str(entry["label"]).removeprefix(arm).lstrip("-").rpartition("-")
        if entry.get("arm") == arm and part in PARTS:
            examples = read_table(path, Example)
            if examples:
                yield (lesson, part), examples


def _decoder(run: RunFolder, arm: str) -> Callable[[Example], Text]:
    if find_spec("tokenizers") is None:
        raise MissingExtraError("tokenizers", "train", "writing examples as text")
    tokenizer = Lessons(run, arm).tokenizer
    if tokenizer is None:
        raise DataError(f"no student of {arm!r} in 4_student has a tokenizer.json; give the run that trained it")
    around = tuple(tokenizer.encode("").ids)

    def decode(example: Example) -> Text:
        prompt = example.prompt_ids
        if around and prompt[: len(around)] == around:
            prompt = prompt[len(around) :]
        elif around and prompt[-len(around) :] == around:
            prompt = prompt[: -len(around)]
        prompt_text = tokenizer.decode(list(prompt), skip_special_tokens=False)
        target_text = tokenizer.decode(list(example.target_ids[:-1]), skip_special_tokens=False)
        return Text(example=example, prompt=prompt_text, completion=target_text)

    return decode


def pairs(texts: Iterable[Text]) -> list[tuple[Text, Text]]:
    """Right and wrong text of each group that has both."""
    groups: dict[str, dict[Role, Text]] = {}
    for text in texts:
        if text.example.group:
            groups.setdefault(text.example.group, {}).setdefault(text.example.role, text)
    sides = [(found.get(Role.RIGHT), found.get(Role.WRONG)) for found in groups.values()]
    return [(right, wrong) for right, wrong in sides if right and wrong and right.prompt == wrong.prompt]


# --------------------------------------------------------------------------------------------------------- forms

Written = Iterator[tuple[Path, int, str]]
"""A file, its rows, and what of the examples it does not say."""


def _as_jsonl(out: Path, stem: str, texts: Sequence[Text]) -> Written:
    yield _lines(out / f"{stem}.jsonl", map(_everything, texts)), len(texts), "nothing"


def _as_hf(out: Path, stem: str, texts: Sequence[Text]) -> Written:
    path = out / f"{stem}.parquet"
    rows = [{**_everything(text), **_labelled(text)} for text in texts]
    with storage_errors(path), atomic(path) as partial:
        pq.write_table(pa.Table.from_pylist(rows), partial, compression="zstd")
    yield path, len(texts), "nothing; `labels` alone lose the size and the sign of weights"


def _as_trl(out: Path, stem: str, texts: Sequence[Text]) -> Written:
    pulled = [text for text in texts if text.pulled]
    if pulled:
        note = _loss_of_masks(texts, pulled)
        yield _lines(out / f"{stem}.sft.jsonl", map(_labelled, pulled)), len(pulled), note
    yield from _preferences(out / f"{stem}.preference.jsonl", texts)


def _as_axolotl(out: Path, stem: str, texts: Sequence[Text]) -> Written:
    pulled = [text for text in texts if text.pulled]
    if pulled:
        rows = ({**_labelled(text), "attention_mask": [1] * len(_ids(text.example))} for text in pulled)
        note = _loss_of_masks(texts, pulled)
        yield _lines(out / f"{stem}.tokenised.jsonl", rows, without=("token_weights",)), len(pulled), note
    yield from _preferences(out / f"{stem}.preference.jsonl", texts)


def _as_llamafactory(out: Path, stem: str, texts: Sequence[Text]) -> Written:
    even = [text for text in texts if text.even]
    if even:
        rows = [{"instruction": text.prompt, "input": "", "output": text.completion} for text in even]
        note = f"weights; {len(texts) - len(even):,} texts whose tokens do not all pull alike"
        yield _write(out / f"{stem}.json", json.dumps(rows, ensure_ascii=False, indent=1)), len(even), note
    found = pairs(texts)
    if found:
        both = [{"instruction": r.prompt, "input": "", "chosen": r.completion, "rejected": w.completion}
                for r, w in found]  # fmt: skip
        path = _write(out / f"{stem}.pairs.json", json.dumps(both, ensure_ascii=False, indent=1))
        yield path, len(both), _loss_of_pairs(texts, found)


_FORMS: dict[str, Callable[[Path, str, Sequence[Text]], Written]] = {
    "jsonl": _as_jsonl,
    "hf": _as_hf,
    "trl": _as_trl,
    "llamafactory": _as_llamafactory,
    "axolotl": _as_axolotl,
}


def _preferences(path: Path, texts: Sequence[Text]) -> Written:
    found = pairs(texts)
    if found:
        rows = ({"prompt": r.prompt, "chosen": r.completion, "rejected": w.completion} for r, w in found)
        yield _lines(path, rows), len(found), _loss_of_pairs(texts, found)


def _loss_of_masks(texts: Sequence[Text], pulled: Sequence[Text]) -> str:
    uneven = sum(len({weight for weight in text.weights if weight > 0}) > 1 for text in pulled)
    return (
        f"the size of weights (a token counts or does not; {uneven:,} texts had several sizes); "
        f"{len(texts) - len(pulled):,} texts in which nothing pulls"
    )


def _loss_of_pairs(texts: Sequence[Text], found: Sequence[tuple[Text, Text]]) -> str:
    return f"weights, so that key tokens are not told apart; {len(texts) - 2 * len(found):,} texts without a partner"


# --------------------------------------------------------------------------------------------------- rows and files


def _ids(example: Example) -> tuple[int, ...]:
    return (*example.prompt_ids, *example.target_ids)


def _everything(text: Text) -> dict[str, Any]:
    example = text.example
    return {
        "id": example.id,
        "problem_id": example.problem_id,
        "rationale_id": example.rationale_id,
        "group": example.group,
        "role": str(example.role),
        "prompt": text.prompt,
        "completion": text.completion,
        "prompt_ids": list(example.prompt_ids),
        "completion_ids": list(example.target_ids),
        "token_weights": list(example.weights),
    }


def _labelled(text: Text) -> dict[str, Any]:
    ids, weights = _ids(text.example), text.example.weights
    labels = [token if weight > 0 else IGNORED for token, weight in zip(ids, weights, strict=True)]
    return {"input_ids": list(ids), "labels": labels, "token_weights": list(weights)}


def _dataset_info(out: Path, files: Iterable[Path]) -> Path:
    """What LLaMA-Factory reads first: which file is which, and what its columns mean."""
    entries: dict[str, Any] = {}
    for path in files:
        is_pairs = path.name.endswith(".pairs.json")
        answers = {"chosen": "chosen", "rejected": "rejected"} if is_pairs else {"response": "output"}
        entries[path.stem.replace(".", "_")] = {
            "file_name": path.name,
            **({"ranking": True} if is_pairs else {}),
            "columns": {"prompt": "instruction", "query": "input", **answers},
        }
    return _write(out / "dataset_info.json", json.dumps(entries, indent=1) + "\n")


def _lines(path: Path, rows: Iterable[dict[str, Any]], without: Sequence[str] = ()) -> Path:
    kept = ({name: value for name, value in row.items() if name not in without} for row in rows)
    return _write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))


def _write(path: Path, text: str) -> Path:
    with storage_errors(path), atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path
