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
from feints.runs import RunFolder, atomic, make_folder, storage_errors
from feints.tables import read_table

Form = Literal["jsonl", "hf", "trl", "llamafactory", "axolotl"]
IGNORED = -100
"""Label of a token without loss, in every trainer built on transformers."""
PARTS = ("train", "validation")
IN_ONE_SEQUENCE = ("trl", "axolotl")
"""Forms whose trainers take causal students only: prompt and target stand in one row of ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """An example with its text, the special tokens around it left out, as a trainer adds them itself."""

    example: Example
    prompt: str
    completion: str
    seq2seq: bool
    """Whether the student is an encoder-decoder, which reads the prompt apart."""
    compared: bool
    """Whether it is one side of a pair that a ranker tells apart, and nobody learns to write it."""

    @property
    def weights(self) -> tuple[float, ...]:
        """Those of the target."""
        return self.example.weights[len(self.example.prompt_ids) :]

    @property
    def pulled(self) -> bool:
        """Whether any target token is to become more probable."""
        return not self.compared and any(weight > 0 for weight in self.weights)

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
        DataError: the arm has no examples or no tokenizer of its own, or its student is an encoder-decoder and the form
            is for causal ones.
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
    if not (lessons := _named(arm, _lessons(opened, arm))):
        other = f"; arms that share them keep them under the first one, so try --arm {names[0]}"
        raise DataError(f"{run} holds no training examples under the arm {arm!r}{other if arm != names[0] else ''}")
    decoder = _decoder(opened, arm, form)
    make_folder(out)
    written: list[Path] = []
    notes: list[str] = []
    for stem, lesson in lessons.items():
        texts = [decoder.text(example, compared=lesson.compared) for example in lesson.examples]
        for path, rows, note in _FORMS[form](out, stem, texts):
            notes.append(f"| {path.name} | {rows:,} | {note}{_of_wrong(texts)} |")
            written.append(path)
    if form == "llamafactory":
        written.append(_dataset_info(out, written))
    page = out / "EXPORT.md"
    head = [f"# {opened.manifest['name']}, arm {arm}, for {form}", "", "| file | rows | what is not in it |"]
    _write(page, "\n".join([*head, "| --- | --- | --- |", *notes, ""]))
    return [*dict.fromkeys(written), page]


# ------------------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lesson:
    """One table of examples, and what tells it from the others of its arm."""

    within: str
    """Folder inside the run, such as that of a round."""
    name: str
    """Stage or round, where the method names one."""
    part: str
    """One of `PARTS`."""
    seeds: tuple[int, ...]
    """Training seeds that learnt from it."""
    examples: Sequence[Example]
    compared: bool
    """Whether they are pairs for a ranker."""


def _lessons(run: RunFolder, arm: str) -> Iterator[_Lesson]:
    """What an arm learnt from, in the order it was made, by whichever arm it was made first."""
    for path, entry in run.outputs("3_examples"):
        made_by = entry.get("arm")
        seeds = sorted(int(seed) for user, seed in entry.get("used_by", ()) if user == arm)
        name, _, part = str(entry["label"]).removeprefix(str(made_by)).lstrip("-").rpartition("-")
        if part in PARTS and (made_by == arm or seeds):
            examples = read_table(path, Example)
            if examples:
                within = str(entry.get("within", ""))
                yield _Lesson(
                    within=within,
                    name=name,
                    part=part,
                    seeds=tuple(seeds),
                    examples=examples,
                    compared=bool(entry.get("compared")),
                )


def _named(arm: str, lessons: Iterable[_Lesson]) -> dict[str, _Lesson]:
    """Each lesson under a file name of its own: the seeds are in it where they learnt differently."""
    alike: dict[tuple[str, str, str], list[_Lesson]] = {}
    for lesson in lessons:
        alike.setdefault((lesson.within, lesson.name, lesson.part), []).append(lesson)
    found: dict[str, _Lesson] = {}
    for (within, name, part), group in alike.items():
        for lesson in group:
            seeds = "seed" + "_".join(map(str, lesson.seeds)) if len(group) > 1 and lesson.seeds else ""
            stem = "-".join(word for word in (arm, within.replace("/", "-"), name, seeds, part) if word)
            while stem in found:  # a method may make several tables under one name
                stem += "-more"
            found[stem] = lesson
    return found


def _decoder(run: RunFolder, arm: str, form: str) -> _Decoder:
    if find_spec("tokenizers") is None:
        raise MissingExtraError("tokenizers", "train", "writing examples as text")
    lessons = Lessons(run, arm)
    if lessons.student is None:
        raise DataError(f"no student of {arm!r} in 4_student has a tokenizer.json; give the run that trained it")
    decoder = _Decoder(lessons.tokenizer, lessons.student)
    if decoder.seq2seq and form in IN_ONE_SEQUENCE:
        raise DataError(
            f"the student of {arm!r} is an encoder-decoder, and {form} reads prompt and target as one sequence; take "
            "--format hf, whose input_ids are the encoder's and labels the decoder's, or a form of texts (jsonl, "
            "llamafactory)"
        )
    return decoder


class _Decoder:
    """Turns the ids of one student back into texts."""

    def __init__(self, tokenizer: Any, student: Path) -> None:
        named = _settings(student / "tokenizer_config.json")
        pad, end = (_id_of(tokenizer, named.get(f"{which}_token")) for which in ("pad", "eos"))
        self.seq2seq = bool(_settings(student / "config.json").get("is_encoder_decoder"))
        self._tokenizer = tokenizer
        self._around = tuple(tokenizer.encode("").ids)
        self._pad = pad or 0  # as where they are filled up
        self._ends = {end, *tokenizer.get_added_tokens_decoder()}

    def text(self, example: Example, *, compared: bool = False) -> Text:
        """An example with its text."""
        prompt, around = example.prompt_ids, self._around
        if around and prompt[: len(around)] == around:
            prompt = prompt[len(around) :]
        elif around and prompt[-len(around) :] == around:
            prompt = prompt[: -len(around)]
        return Text(
            example=example,
            prompt=self._tokenizer.decode(list(prompt), skip_special_tokens=False),
            completion=self._tokenizer.decode(self._body(example), skip_special_tokens=False),
            seq2seq=self.seq2seq,
            compared=compared,
        )

    def _body(self, example: Example) -> list[int]:
        """The target without its end token, or, where it learns to write padding instead of one, without that."""
        body = list(example.target_ids)
        while body and body[-1] == self._pad:
            body.pop()
        return body[:-1] if body and body[-1] in self._ends else body


def _settings(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def _id_of(tokenizer: Any, token: str | dict[str, Any] | None) -> int | None:
    """The id of a token as a tokenizer's settings name it."""
    name = token.get("content") if isinstance(token, dict) else token
    return None if name is None else tokenizer.token_to_id(name)


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
    uneven = sum(len({weight for weight in text.example.weights if weight > 0}) > 1 for text in pulled)
    return (
        f"the size of weights (a token counts or does not; {uneven:,} texts had several sizes); "
        f"{len(texts) - len(pulled):,} texts in which nothing pulls"
    )


def _of_wrong(texts: Sequence[Text]) -> str:
    """Word of what a careless reader would take for right."""
    if any(text.compared for text in texts):
        return "; these are pairs that a ranker tells apart by their roles, no texts to imitate"
    wrong = sum(text.pulled and text.example.role is Role.WRONG for text in texts)
    return f"; {wrong:,} texts of role wrong are learnt on purpose" if wrong else ""


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
    """Ids and labels as transformers take them; an encoder-decoder's labels and weights are those of the target.

    A prompt that is learnt at a smaller weight has no labels: without the sizes most of the loss would be its.
    """
    example = text.example
    ids, weights = (example.target_ids, text.weights) if text.seq2seq else (_ids(example), example.weights)
    least = max(text.weights, default=0.0) if text.pulled else float("inf")
    begins = 0 if text.seq2seq else len(example.prompt_ids)
    labels = [
        token if weight > 0 and (place >= begins or weight >= least) else IGNORED
        for place, (token, weight) in enumerate(zip(ids, weights, strict=True))
    ]
    read = example.prompt_ids if text.seq2seq else ids
    return {"input_ids": list(read), "labels": labels, "token_weights": list(weights)}


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
