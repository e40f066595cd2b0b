"""Ceiling: what a recipe names, opened: problems, teacher, ledger; needs torch only where a model runs here."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from feints import methods, tasks
from feints.arms import UNTRAINED, arms_of, check_start
from feints.bench import Bench
from feints.bench.serving import Serving
from feints.curate.funnel import Funnel
from feints.curate.leak import Decontaminated, remove_leaks
from feints.curate.split import split_by_problem
from feints.errors import MissingExtraError, SettingsError, UnknownNameError
from feints.generate.guard import alone
from feints.generate.ledger import Ledger
from feints.generate.opening import check_prices, open_source
from feints.generate.plan import most_of_replies, plan
from feints.generate.prompt import TEACHER, Prompt, own_prompt, read_prompt
from feints.generate.rationales import requests_for
from feints.generate.scripted import ScriptedSource
from feints.generate.source import TextSource
from feints.lab import world
from feints.lab.teacher import LabTeacher
from feints.recipe import LAB, LabTask, Recipe
from feints.records import Dropped, Judgement, Problem, content_hash
from feints.runs import LOCK, RunFolder, Stored, make_folder
from feints.tasks.loading.problems import About, Problems
from feints.verify.pool import CheckerPool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemSets:
    """What is learnt from and what is examined on."""

    train: Stored[Problem]
    """Training problems, leaks removed."""
    tests: Mapping[str, Stored[Problem]]
    """Test sets by name."""
    funnel: Funnel
    """What became of the training problems."""
    without_leaks: Callable[[Sequence[Problem]], Decontaminated]
    """Sorts out problems that occur in a test set of the task, whether it is examined on or not."""
    notices: tuple[str, ...]
    """What was found on loading, and what of the sampling asked for has no effect."""
    about: Mapping[str, str]
    """Source, licence, citation and canary of the data, for model cards."""


@contextmanager
def open_run(out: Path) -> Iterator[RunFolder]:
    """The run folder, begun anew and this process's alone: it counts as unfinished until its facts are described again.

    Raises:
        SettingsError: `out` is a file, or another process writes this run.
        StorageError: the folder or its lock cannot be made.
        DataError, VersionError: it is no run folder, or one of another version.
    """
    if out.exists() and not out.is_dir():
        raise SettingsError(f"{out} is a file, and a run needs a folder; choose another --out")
    make_folder(out)
    # The lock before the manifest: one read while another process wrote would later overwrite what that one noted.
    with alone(out / LOCK) as is_ours:
        if not is_ours:
            raise SettingsError(f"another process writes the run in {out}; let it end, or choose another --out")
        run = RunFolder(out)
        run.start()
        run.manifest.pop("arms", None)
        for left in out.rglob(".*.partial"):  # a killed run could not clear them away
            if left.is_file():
                left.unlink()
        yield run


def load_problems(recipe: Recipe, run: RunFolder) -> ProblemSets:
    """What the task holds, in tables of the run; before one is written, what would be refused on it is refused.

    The tables are named by what they hold: more test problems, or another way to the same, train nothing anew.

    Raises:
        FeintsError: what an arm would refuse once the teacher is paid, see `check_start`.
        EmptyPileError: problems too few to hold some back, as every method does.
    """
    loaded = _lab(recipe.task) if isinstance(recipe.task, LabTask) else tasks.find(recipe.task.name).load(recipe.task)
    tests = _examined_on(recipe, loaded)
    pile = (*loaded.train, *(loaded.validation or ()))
    if not pile:
        raise SettingsError(f"task {recipe.task.name!r} has no training problems; give it a path that holds some")
    without_leaks = partial(remove_leaks, tests=loaded.tests, ngram=recipe.decontaminate)
    clean = without_leaks(pile)
    split_by_problem(clean.kept, validation=recipe.curate.validation, seed=recipe.curate.seed)
    check_start(recipe, clean.kept)
    dropped = [*loaded.dropped, *clean.named()]
    run.table("3_dropped", "problems", Dropped, [_contents(dropped)], dropped.__iter__)
    return ProblemSets(
        train=run.table("0_problems", "train", Problem, ["train", _contents(clean.kept)], clean.kept.__iter__),
        tests={
            name: run.table("0_problems", name, Problem, [name, _contents(asked)], asked.__iter__, set=name)
            for name, asked in tests.items()
        },
        funnel=Funnel().start("in the task", "problems", len(pile)).step("not leaked", len(clean.kept), clean.dropped),
        without_leaks=without_leaks,
        notices=(loaded.notice(), clean.notice(), *recipe.sampling.notices()),
        about=asdict(loaded.about),
    )


def _lab(task: LabTask) -> Problems:
    """The problems of the lab, as a task from the shelf yields them; its splits are disjoint by construction."""
    sizes = {"test": task.test, "longer": task.longer, "unseen": task.unseen}
    return Problems(
        task=f"lab (world {world.WORLD_VERSION})",
        train=tuple(world.problems("train", task.train, task.seed)),
        validation=None,
        tests={name: tuple(world.problems(name, size, task.seed)) for name, size in sizes.items() if size},
        about=About(source=f"the lab of feints, world {world.WORLD_VERSION}", licence="Apache-2.0", citation=""),
    )


def _examined_on(recipe: Recipe, loaded: Problems) -> dict[str, Sequence[Problem]]:
    """The test sets a recipe names, as many problems of each as it wants."""
    wanted = tuple(loaded.tests) if recipe.exam.sets is None else recipe.exam.sets
    for name in wanted:
        if name not in loaded.tests:
            raise UnknownNameError("test set of this task", name, loaded.tests)
    if not any(loaded.tests[name] for name in wanted):
        raise SettingsError(
            f"task {recipe.task.name!r} has no test problems to examine on; add some (path: {{test: FILE}}), "
            "hold back a share of the training problems (task.test_share: 0.2), or name sets that it has in exam.sets"
        )
    return {name: loaded.tests[name][: recipe.exam.limit] for name in wanted}


def _contents(rows: Sequence[Problem] | Sequence[Dropped]) -> str:
    return content_hash([asdict(row) for row in rows])


def open_teacher(recipe: Recipe) -> TextSource:
    """The teacher a recipe names."""
    settings = recipe.teacher
    check_prices(settings, recipe.budget)
    if settings.source == LAB:
        teacher = LabTeacher(recipe.lab)
        return ScriptedSource.from_responder(teacher.respond, teacher.model)
    if settings.source == "transformers":
        if not settings.model:
            raise SettingsError(
                "teacher.source is transformers but teacher.model is not set; name a folder or a hub id"
            )
        require_torch("a teacher on this computer")
        from feints.generate.local import LocalSource  # noqa: PLC0415  torch only where a model runs here

        return LocalSource.from_folder(settings.model, device=recipe.device)
    return open_source(settings)


def require_torch(purpose: str) -> None:
    """Say how to install what training needs, where it is missing.

    Raises:
        MissingExtraError: torch or transformers is not installed.
    """
    for package in ("torch", "transformers", "accelerate", "peft"):
        if find_spec(package) is None:
            raise MissingExtraError(package, "train", purpose)


def check_device(device: str | None) -> None:
    """Refuse a device that is not there before anything is paid.

    Raises:
        SettingsError: torch cannot use it here.
    """
    if device is None:
        return
    import torch  # noqa: PLC0415  torch only where a model runs here

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise SettingsError(f"device {device!r} cannot be used here ({reason}); leave it out, or set cpu") from error


@contextmanager
def open_ledger(recipe: Recipe, out: Path) -> Iterator[Ledger]:
    """The ledger beside the run folder, shared by all runs there, unless the recipe names another."""
    with closing(Ledger(_ledger_path(recipe, out))) as ledger:
        yield ledger


@contextmanager
def _known_ledger(recipe: Recipe, out: Path) -> Iterator[Ledger]:
    """The ledger of a run if there is one, else an empty one in memory: planning leaves no file behind."""
    path = _ledger_path(recipe, out)
    with closing(Ledger(path if path.exists() else None)) as ledger:
        yield ledger


def _ledger_path(recipe: Recipe, out: Path) -> Path:
    # Made whole first: the parent of "." is "." itself. Links stay as written, since the ledger lies beside them.
    return Path(recipe.ledger) if recipe.ledger else Path(os.path.abspath(out)).parent / "ledger.sqlite"


def open_bench(
    recipe: Recipe,
    run: RunFolder,
    problems: ProblemSets,
    ledger: Ledger,
    pool: CheckerPool,
    console: Console,
    *,
    student_identity: str = "",
) -> Bench:
    """The bench of a recipe, everything on it open; without a student's identity it can ask and judge only."""
    return Bench(
        run=run,
        problems=problems.train,
        funnel=problems.funnel,
        teacher=open_teacher(recipe),
        ledger=ledger,
        budget=recipe.budget.open(),
        pool=pool,
        sampling=recipe.sampling,
        curate=recipe.curate,
        student=recipe.student,
        student_identity=student_identity,
        training=recipe.train,
        exam=recipe.exam,
        arm=UNTRAINED,
        seed=recipe.seeds[0],
        device=recipe.device,
        console=console,
        prompts=read_prompts(recipe),
        without_leaks=problems.without_leaks,
        serving=_serving(recipe, run),
    )


def _serving(recipe: Recipe, run: RunFolder) -> Serving | None:
    """The endpoint that writes students' texts, if the recipe names one."""
    settings = recipe.student_endpoint
    return None if settings is None else Serving(settings=settings, base=Path(recipe.student.model), run=run.path)


def read_prompts(recipe: Recipe) -> dict[str, Prompt]:
    """The user's prompts by the id of the one each stands in for."""
    short = {TEACHER.id: recipe.teacher_prompt} if recipe.teacher_prompt else {}
    return {name: read_prompt(path) for name, path in (short | recipe.prompts).items()}


def plan_recipe(recipe: Recipe, out: Path) -> list[str]:
    """What the questions to the teacher will take at most, in lines; sends nothing.

    Tokens and money are those of the first round of sampling, which all seeds share. What a method asks later depends
    on the answers, and where these come from the student, on the seed: of it the replies alone can be bounded.
    """
    with TemporaryDirectory() as scratch, _known_ledger(recipe, out) as ledger:
        problems = load_problems(recipe, RunFolder(Path(scratch) / "plan"))
        keyless = recipe.teacher.model_copy(update={"api_key_env": None})  # nothing is sent, so no key is needed
        teacher = open_teacher(recipe.model_copy(update={"teacher": keyless}))
        prompt = own_prompt(TEACHER, read_prompts(recipe))
        sampling = recipe.sampling
        most = sampling.adaptive.maximum if sampling.adaptive else sampling.n
        pairs = requests_for(problems.train, prompt, sampling.sampling(), samples=most, seed=sampling.seed)
        price = recipe.teacher.prices.get(recipe.teacher.model)
        most_tokens = getattr(teacher, "most_tokens", None)
        found = plan([request for _, request in pairs], teacher.identity, ledger, price, most_tokens)
        asked = _asked(recipe, len(pairs))
        limit = sampling.max_tokens if most_tokens is None else most_tokens
        plainly = found.lines() if any(one.plain for one in asked.values()) or not asked else []
        return [
            *problems.notices,
            f"teacher: {teacher.identity}",
            *plainly,
            *(found.beyond(recipe.budget) if plainly else ()),
            *_further(asked, bool(plainly), len(recipe.seeds), partial(most_of_replies, limit=limit, price=price)),
        ]


def _asked(recipe: Recipe, sampled: int) -> dict[str, methods.Asks]:
    """What every arm asks; nothing where the files of methods cannot be read."""
    if find_spec("torch") is None:
        return {}
    return {arm.name: methods.asked(arm.method, arm.config, sampled) for arm in arms_of(recipe)}


def _further(asked: Mapping[str, methods.Asks], plainly: bool, seeds: int, most: Callable[[int], str]) -> list[str]:
    """What is asked besides the plain question, in lines; `most` says what so many replies take."""
    lines = []
    each = " with each seed" if seeds > 1 else ""
    for name, one in asked.items():
        bound = most(one.further) if one.tokens is None else f"{one.tokens:,} tokens in all"
        if one.further:
            begin = ("and at most", "further requests") if plainly else ("at most", "requests")
            lines.append(f"{begin[0]} {one.further:,} {begin[1]}{each} by {name}, {bound}")
    if len(lines) > 1 or (lines and seeds > 1):
        lines.append("what several ask alike is sent once")
    return lines or ([] if plainly else ["no request"])


def sample_recipe(recipe: Recipe, out: Path, console: Console) -> list[str]:
    """Sample the first round and judge it, and say what came of it, in lines; needs no torch.

    The tables are those a run of the same recipe makes first, so that a run in the same folder goes on from here.

    Raises:
        SettingsError: no arm asks the plain question, so that what is sampled would be paid for nothing.
    """
    asked = _asked(recipe, 0)
    if asked and not any(one.plain for one in asked.values()):
        raise SettingsError(
            f"no arm of this recipe asks about every problem ({', '.join(asked)}), so sampling first would pay for "
            "replies that nothing learns from; let `feints run` ask what it needs"
        )
    with open_run(out) as run, open_ledger(recipe, out) as ledger, CheckerPool() as pool:
        problems = load_problems(recipe, run)
        bench = open_bench(recipe, run, problems, ledger, pool, console)
        rationales = bench.ask("teacher", TEACHER)
        verdicts = bench.judge("teacher", rationales)
    counts = Counter(verdict.value.value for verdict in verdicts)
    judged = ", ".join(f"{counts[value]:,} {value}" for value in Judgement)
    return [
        *dict.fromkeys((*problems.notices, *bench.notices)),
        f"{len(rationales):,} rationales of {len(problems.train):,} problems: {judged}",
        f"rationales: {rationales.path}",
        f"verdicts: {verdicts.path}",
    ]
