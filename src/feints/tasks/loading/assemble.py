"""The one way every task is loaded: rows, splits, draws, limits, and the check of every gold answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from feints.curate.split import unit_interval
from feints.errors import DataError, SettingsError
from feints.records import AnswerKind, Choice, Dropped, Problem
from feints.tasks.loading.files import Row, read_rows
from feints.tasks.loading.hub import HubTable, read_hub
from feints.tasks.loading.layouts import QUESTION_COLUMNS, LeftOut, Place, from_question_layout, id_of
from feints.tasks.loading.problems import STEP, About, Problems, TaskConfig
from feints.verify.gold import gold_error, written_options

ROLES = {"train": "train", "valid": "validation", "validation": "validation", "dev": "validation"}
Reader = Callable[[Row, Place], Problem | LeftOut]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a task's rows look and what they become."""

    name: str
    """Task name, written into every problem."""
    about: About
    """Source, licence and citation."""
    tables: Sequence[HubTable]
    """What is read from the hub; none where the hub does not hold the set."""
    columns: Sequence[tuple[str, ...]]
    """Columns by which the set's own row layouts are known, one tuple for each layout."""
    read: Reader
    """One row in a layout of the set's own -> one problem."""
    read_shared: Reader = from_question_layout
    """One row of the shared layout -> one problem."""
    roles: Mapping[str, str] = field(default_factory=lambda: ROLES)
    """A row's own split -> train or validation; any other split is a test set of that name."""
    default_split: str | None = None
    """Where rows go that carry no split; None asks the user to say it."""
    wanted: Callable[[Row, Place], bool] = lambda row, place: True
    """Whether a row of a mixed file is among those asked for."""
    resplit: Callable[[list[Problem]], list[Problem]] | None = None
    """Gives every problem its split anew, for sets published in one piece."""


def load_task(layout: Layout, config: TaskConfig) -> Problems:
    """Read a problem set.

    Raises:
        DataError: a file or row cannot be used, ids repeat, or gold answers cannot be parsed.
        MissingExtraError: the hub is wanted and `datasets` is not installed.
        SettingsError: neither a path nor a hub table.
    """
    reader = _from_files(layout, config) if config.path is not None else _from_hub(layout, config)
    reader.refuse_repeated()
    problems, left_out = reader.problems, reader.left_out
    if layout.resplit is not None and not isinstance(config.path, dict):  # who names roles has split already
        problems = layout.resplit(problems)
    if config.test_share is not None:
        _refuse_two_splits(layout, config)
        problems = [_split_anew(problem, config, numbered=problem.id in reader.numbered) for problem in problems]
    if not problems:
        raise DataError(f"task {layout.name}: none of the {len(left_out):,} rows read is a problem of this set")
    checked = _check(problems, config.limit, config.seed)
    if checked.unparsable and not config.skip_unparsable:
        raise DataError(checked.complaint(layout.name))
    kept = [shuffled(problem, config.seed) if config.shuffle_choices else problem for problem in checked.kept]
    return _sorted_by_split(layout, replace(checked, kept=kept), left_out)


def _from_files(layout: Layout, config: TaskConfig) -> _RowReader:
    reader = _RowReader(layout)
    paths = config.path
    files: Iterable[tuple[str | None, str]]
    if isinstance(paths, dict):
        files = [
            (role, path) for role, given in paths.items() for path in ([given] if isinstance(given, str) else given)
        ]
    else:
        files = [(None, path) for path in ([paths] if isinstance(paths, str) else paths or ())]
    for role, path in files:
        rows = read_rows(path)
        stem = Path(path).name.split(".")[0]
        shared = reader.is_shared(rows[0], str(path))
        for number, row in enumerate(rows, start=1):
            split = role or _own_split(layout, row, f"{path}, row {number}")
            reader.add(row, split, "" if shared else stem, shared=shared, where=f"{path}, row {number}")
    return reader


def _own_split(layout: Layout, row: Row, where: str) -> str:
    own = row.get("split")
    own = own or layout.default_split
    if own is None:
        raise DataError(
            f"{where}: has no field split, so it is not known what the file is for; say "
            "path: {train: FILE, test: FILE}, or path: {train: FILE} with test_share: 0.2 to hold back a fifth"
        )
    return layout.roles.get(str(own), str(own))


def _from_hub(layout: Layout, config: TaskConfig) -> _RowReader:
    if not layout.tables:
        raise SettingsError(f"task {layout.name}: the hub holds no maintained copy of it; give a local file as `path`")
    reader = _RowReader(layout)
    for table in layout.tables:
        for split, role in table.splits.items():
            for number, row in enumerate(read_hub(table, split, config.revision), start=1):
                where = f"{table.repository} ({table.name or 'default'}, {split}), row {number}"
                reader.add(row, role, table.topic, shared=False, where=where)
    return reader


class _RowReader:
    """Turns rows into problems one by one and keeps count for the ids of rows that bring none."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.problems: list[Problem] = []
        self.left_out: list[Dropped] = []
        self.numbered: set[str] = set()
        """Ids of problems whose rows bring none."""
        self._places: dict[str, list[str]] = {}
        self._counts: Counter[tuple[str, str]] = Counter()

    def is_shared(self, first: Row, where: str) -> bool:
        """Whether a file is in the shared layout rather than the hub's own; by the columns of its first row."""
        if set(QUESTION_COLUMNS) <= set(first):
            return True
        if any(set(columns) <= set(first) for columns in self.layout.columns):
            return False
        known = dict.fromkeys(", ".join(columns) for columns in (*self.layout.columns, QUESTION_COLUMNS))
        settings = "; other columns and one kind for all rows: task.question_column, answer_column, answer_kind"
        raise DataError(
            f"{where}: has the columns {', '.join(first)}; task {self.layout.name} needs {', or '.join(known)}"
            + (settings if self.layout.name == "file" else "")
        )

    def add(self, row: Row, split: str, topic: str, *, shared: bool, where: str) -> None:
        index = self._counts[split, topic]
        self._counts[split, topic] += 1
        place = Place(task=self.layout.name, split=split, index=index, topic=topic)
        try:
            if not self.layout.wanted(row, place):
                reason = "not among those asked for"
                self.left_out.append(Dropped(item_id=id_of(row, place), step=STEP, reason=reason))
                return
            found = (self.layout.read_shared if shared else self.layout.read)(row, place)
        except KeyError as error:
            raise DataError(f"{where}: has no column {error}; its columns are {', '.join(row)}") from error
        except (TypeError, ValueError, AttributeError, IndexError) as error:
            raise DataError(f"{where}: cannot be read as a problem of {self.layout.name}: {error}") from error
        if isinstance(found, LeftOut):
            self.left_out.append(Dropped(item_id=place.id, step=STEP, reason=found.reason))
        elif not found.question:
            raise DataError(f"{where}: its question is empty; fill it in or remove the row")
        else:
            self.problems.append(found)
            if found.id == place.id:
                self.numbered.add(found.id)
            self._places.setdefault(found.id, []).append(where)

    def refuse_repeated(self) -> None:
        """Refuse ids that occur more than once."""
        repeated = [(id_, places) for id_, places in self._places.items() if len(places) > 1]
        if repeated:
            id_, places = repeated[0]
            raise DataError(
                f"task {self.layout.name}: {len(repeated):,} ids occur more than once, the first {id_!r} "
                f"({places[0]}; {places[1]}); give every problem an id of its own (is one file listed twice?)"
            )


def _refuse_two_splits(layout: Layout, config: TaskConfig) -> None:
    """Whoever gives a test file and a share to hold back would train on the test file.

    Raises:
        SettingsError: `path` names other roles than train.
    """
    if isinstance(config.path, dict) and (others := sorted(set(config.path) - {"train"})):
        raise SettingsError(
            f"task {layout.name}: test_share puts all problems together and splits them anew, and path gives "
            f"{', '.join(others)} too; leave out test_share, or give the training file alone"
        )


def _split_anew(problem: Problem, config: TaskConfig, *, numbered: bool) -> Problem:
    """Hold a problem back by its own id, or by its text: the number of a row changes with the rows before it."""
    key = [problem.question, [choice.text for choice in problem.choices]] if numbered else problem.id
    held = unit_interval("test", config.seed, key) < (config.test_share or 0.0)
    return replace(problem, split="test" if held else "train")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """Problems whose gold answers were read, as many as are wanted, and what became of the others."""

    kept: Sequence[Problem]
    """In the order read."""
    unparsable: tuple[tuple[str, str], ...]
    """Those whose gold answer cannot be read: (id, why)."""
    over: Sequence[Dropped]
    """Those beyond the limit; their gold answers were not looked at."""

    @property
    def looked_at(self) -> int:
        """Gold answers that were read, or could not be."""
        return len(self.kept) + len(self.unparsable)

    def complaint(self, name: str) -> str:
        """What is wrong with the set."""
        listed = "".join(f"\n  {why}" for _, why in self.unparsable[:5])
        return (
            f"task {name}: {len(self.unparsable):,} of {self.looked_at:,} gold answers cannot be read, such as:{listed}"
            "\ncorrect them, or set skip_unparsable: true to leave these problems out"
        )


def _check(problems: Sequence[Problem], limit: int | None, seed: int) -> _Checked:
    """Read gold answers until each split has `limit` problems: one that is left out does not count towards it."""
    drawn = problems
    if limit is not None:
        drawn = sorted(problems, key=lambda problem: (unit_interval("limit", seed, problem.id), problem.id))
    sizes: Counter[str] = Counter()
    errors: dict[str, str | None] = {}
    for problem in drawn:
        if limit is None or sizes[problem.split] < limit:
            errors[problem.id] = why = gold_error(problem) or _lacking_options(problem)
            sizes[problem.split] += why is None
    reason = f"over the limit of {limit} a split"
    return _Checked(
        kept=[p for p in problems if errors.get(p.id, reason) is None],
        unparsable=tuple((p.id, why) for p in problems if (why := errors.get(p.id)) is not None),
        over=[Dropped(item_id=p.id, step=STEP, reason=reason) for p in problems if p.id not in errors],
    )


def _lacking_options(problem: Problem) -> str | None:
    """Why nobody could choose, or None."""
    if problem.answer_kind is not AnswerKind.CHOICE or problem.choices or written_options(problem.question):
        return None
    return (
        f"{problem.id}: a choice without options; give them in the column options (in a file of your own, the one that "
        "task.choices_column names), or in the question as (A) ... (B) ..."
    )


def shuffled(problem: Problem, seed: int) -> Problem:
    """The problem with its options in a drawn order under the labels as they stood; the answer moves along."""
    if problem.answer_kind is not AnswerKind.CHOICE:
        return problem
    order = sorted(problem.choices, key=lambda choice: unit_interval("choices", seed, problem.id, choice.label))
    labels = [choice.label for choice in problem.choices]
    answer = next((new for new, old in zip(labels, order, strict=True) if old.label == problem.answer), problem.answer)
    choices = tuple(Choice(label=label, text=old.text) for label, old in zip(labels, order, strict=True))
    return replace(problem, choices=choices, answer=answer)


def _sorted_by_split(layout: Layout, checked: _Checked, left_out: Sequence[Dropped]) -> Problems:
    splits: dict[str, list[Problem]] = {}
    for problem in checked.kept:
        splits.setdefault(problem.split, []).append(problem)
    train = tuple(splits.pop("train", ()))
    validation = splits.pop("validation", None)
    return Problems(
        task=layout.name,
        train=train,
        validation=None if validation is None else tuple(validation),
        tests={name: tuple(rows) for name, rows in splits.items()},
        about=layout.about,
        unparsable=checked.unparsable,
        left_out=(*left_out, *checked.over),
        checked=checked.looked_at,
    )
