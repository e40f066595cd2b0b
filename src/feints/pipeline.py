"""Ceiling: one recipe from top to bottom: problems, teacher, method and control, exams, report."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from feints.arms import UNTRAINED, arms_of
from feints.bench import Bench
from feints.bench.inner import made_by
from feints.errors import DataError, SettingsError, UnknownNameError
from feints.evaluate.adaptive_vote import AdaptiveVote
from feints.evaluate.error_kinds import JUDGE
from feints.evaluate.exam import examine
from feints.evaluate.solver import Solver, load_solver
from feints.evaluate.vote import Key, by_answer
from feints.evaluate.vote_curve import VotePoint, vote_curve
from feints.generate.prompt import STUDENT
from feints.generate.weights import local_folder, on_device, weights_identity
from feints.lab.nano import NANO_FOLDER, NANO_NAME
from feints.preparation import (
    ProblemSets,
    check_device,
    load_problems,
    open_bench,
    open_ledger,
    open_run,
    open_teacher,
)
from feints.recipe import Recipe
from feints.records import Answer, Problem
from feints.report.card import model_card
from feints.report.gather import gather
from feints.report.page import render_page
from feints.runs import RunFolder, Stored, atomic, storage_errors
from feints.tables import read_table
from feints.train.admission import check_student
from feints.train.integrate_files import UNIT_FILE
from feints.verify.fingerprint import code_hash
from feints.verify.pool import CheckerPool


def run_recipe(recipe: Recipe, out: Path, console: Console) -> Path:
    """Do all that a recipe says, or what is left of it, and return the path of the page.

    Killed at any moment and called again, it ends in the same result; a finished run is only read.

    Raises:
        FeintsError: anything a user can mend, in one sentence.
    """
    with open_run(out) as run, on_device(recipe.device):
        return _run(recipe, run, console)


def _run(recipe: Recipe, run: RunFolder, console: Console) -> Path:
    """What `run_recipe` does once the run folder is ours."""
    out = run.path
    # What is refused is refused before the folder is touched: a finished run stays one.
    check_device(recipe.device)
    if recipe.teacher.source == "openai":
        open_teacher(recipe)
    local = with_student_folder(recipe)
    identity = weights_identity(Path(local.student.model))
    check_arms(local)
    problems = load_problems(recipe, run)
    write_whole(out / "recipe.yaml", recipe_text(recipe))
    for notice in problems.notices:
        console.print(notice, highlight=False)
    with open_ledger(recipe, out) as ledger, CheckerPool() as pool:
        bench = open_bench(local, run, problems, ledger, pool, console, student_identity=identity)
        arms = distil_and_examine(local, bench, problems)
        bench.notices.extend(unused(bench))
    run.describe(
        name=recipe.name,
        recipe=recipe.model_dump(mode="json"),
        seeds=list(recipe.seeds),
        arms=arms,
        profile=profile_of(recipe),
        sets=list(problems.tests),
        teacher=bench.teacher.identity,
        data=problems.about,
        notices=list(dict.fromkeys((*problems.notices, *bench.notices))),
    )
    contents = gather(out)
    for (arm, seed), folder in run.solvers().items():
        layers = sorted(str(path.relative_to(folder)) for path in folder.rglob(UNIT_FILE))
        write_whole(folder / "README.md", model_card(contents, arm, seed, run.manifest, layers))
    page = out / "6_report" / "index.html"
    write_whole(page, render_page(contents))
    return page


def check_arms(recipe: Recipe) -> None:
    """Refuse what would fail in any arm before the first of them pays.

    Raises:
        FeintsError: the student cannot learn or be examined, or an endpoint is to serve it whole.
    """
    arms = arms_of(recipe)
    if recipe.student_endpoint is not None and recipe.student.adapter.kind == "full":
        raise SettingsError(
            "student_endpoint serves adapters of a base it has loaded, but student.adapter.kind is full; set it to lora"
        )
    check_student(recipe.student, [arm.name for arm in arms if made_by(arm.method, arm.config).causal])


def profile_of(recipe: Recipe) -> str:
    """The profile of the method, and which arms have another one, for the head of the report."""
    profiles = {arm.name: _profile(arm.config.model_dump()) for arm in arms_of(recipe)}
    first = next(iter(profiles.values()))
    others = [f"{profile} in {name}" for name, profile in profiles.items() if profile != first]
    return ", ".join([first, *others])


def _profile(settings: Mapping[str, Any]) -> str:
    """The profile of a method, or of the one inside it."""
    own, inner = str(settings.get("profile", "clean")), settings.get("inner")
    return _profile(inner) if own == "clean" and inner else own


def distil_and_examine(recipe: Recipe, bench: Bench, problems: ProblemSets) -> list[dict[str, str]]:
    """The method and its control with every seed, and the untrained student; the arms in the order shown."""
    exams = Exams(recipe, problems)
    on_the_way = exams.take if recipe.exam.on_the_way else None
    arms = arms_of(recipe)
    for arm in arms:
        for seed in recipe.seeds:
            run = bench.run.used_by(arm.name, seed)
            own = replace(bench, run=run, arm=arm.name, seed=seed, examiner=on_the_way)
            solver = arm.method.distil(own, arm.config)
            label = f"{arm.name}-solver-seed{seed}"
            depends = [solver.identity, arm.name, seed]
            run.folder("4_student", label, depends, solver.save, arm=arm.name, seed=seed, solver=True)
            exams.take(own, solver)
    exams.take(replace(bench, arm=UNTRAINED), bench.one_shot(Path(recipe.student.model), bench.prompt(STUDENT)))
    shown = [{"name": arm.name, "role": arm.role, "explanation": arm.explanation} for arm in arms]
    return [*shown, {"name": UNTRAINED, "role": "floor", "explanation": "the student before any training"}]


def unused(bench: Bench) -> list[str]:
    """Word of what the user set and no method of the run asked for: prompts, an endpoint for the student's texts."""
    known = ", ".join(sorted(bench.prompt_ids))
    said = [
        f"prompts.{name} was not used: no method of this run has a prompt of this id; used were {known}"
        for name in bench.prompts
        if name not in bench.prompt_ids | {JUDGE.id}  # which `feints errors` sends after a run
    ]
    if bench.serving is not None and not bench.serving.orders:
        said.append(
            "student_endpoint was not used: no method of this run learns from what its student writes "
            "(those with rounds do, such as tailored); exams are written here"
        )
    return said


def recipe_text(recipe: Recipe) -> str:
    """A recipe as YAML, every default written out, and a ledger's path whole: from any folder it is the same one."""
    said = recipe.model_dump(mode="json")
    said["ledger"] = os.path.abspath(recipe.ledger) if recipe.ledger else None
    return yaml.safe_dump(said, sort_keys=False, allow_unicode=True)


def write_whole(path: Path, text: str) -> None:
    """Write a file so that nobody ever sees half of it; one that says the same already is left alone."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    with storage_errors(path), atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


def with_student_folder(recipe: Recipe) -> Recipe:
    """The recipe with the student's weights as a folder: the nano student comes with the package."""
    folder = NANO_FOLDER if recipe.student.model == NANO_NAME else local_folder(recipe.student.model)
    return recipe.model_copy(update={"student": recipe.student.model_copy(update={"model": str(folder)})})


class Exams:
    """The exams of a run: every solver on every test set, each taken once."""

    def __init__(self, recipe: Recipe, problems: ProblemSets) -> None:
        self.exam, self.seeds, self.tests = recipe.exam, recipe.seeds, problems.tests
        self.main = next(iter(problems.tests))
        self._taken: dict[tuple[str, str], tuple[Answer, ...]] = {}

    def take(self, bench: Bench, solver: Solver, name: str = "") -> None:
        """Examine the solver of the bench's arm; `name` tells one on the way, whose answers lie in its round's folder.

        An exam already taken is only read, and solvers that are the same in all share theirs.
        """
        for of, stored in self.tests.items():
            settings = self.exam.model_dump(mode="json", exclude={"sets", "on_the_way"})
            about: dict[str, Any] = {"arm": bench.arm, "set": of, "seed": bench.seed} | ({"name": name} if name else {})
            label = "-".join(part for part in (bench.arm, name, of, f"seed{bench.seed}") if part)
            depends = [solver.identity, stored.address, settings, code_hash(), about]

            def answers(of: str = of, asked: Stored[Problem] = stored) -> Sequence[Answer]:
                key = (solver.identity, of)
                if key not in self._taken:
                    self._taken[key] = tuple(examine(solver, asked.rows, bench.arm, of, self.exam.seed)[0])
                return self._taken[key]

            rows = bench.run.table("5_answers", label, Answer, depends, answers, **about)
            self._taken.setdefault((solver.identity, of), rows.rows)
            if not name and of == self.main and bench.seed == self.seeds[0]:
                self._keep_curve(bench, solver, stored, rows)

    def _keep_curve(self, bench: Bench, solver: Solver, problems: Stored[Problem], answers: Stored[Answer]) -> None:
        """Accuracy against samples and tokens, where every answer kept the same number of samples."""
        counts = {len(answer.samples) for answer in answers}
        if len(counts) != 1 or (most := counts.pop()) < 2:
            return
        ks = [*takewhile(lambda k: k < most, (2**power for power in range(10))), most]
        weights = (solver.offset, solver.slope, solver.error) if isinstance(solver, AdaptiveVote) else (1.0, 0.0, 0.05)
        offset, slope, error = weights
        key: Key = getattr(solver, "key", by_answer)
        apart = [] if key is by_answer else [key.__name__]  # so that curves of the usual votes keep their address

        def points() -> list[VotePoint]:
            return vote_curve(problems.rows, answers.rows, ks, offset=offset, slope=slope, error=error, key=key)

        bench.run.table(
            "6_report",
            f"{bench.arm}-votes",
            VotePoint,
            ["votes", answers.address, problems.address, ks, weights, *apart],
            points,
            arm=bench.arm,
            votes=True,
        )


def solve_one(folder: Path, question: str, arm: str | None, seed: int | None, device: str | None = None) -> str:
    """The text with which a solver of a run answers a question, on `device` or on the one its recipe names.

    Raises:
        SettingsError: torch cannot use the device here.
        UnknownNameError: the run has no such arm.
        DataError: the run has not ended, or has no such seed.
    """
    run = RunFolder.open(folder)
    solvers = run.solvers()
    wanted = arm or str(run.manifest["arms"][0]["name"])
    if wanted not in {name for name, _ in solvers}:
        raise UnknownNameError("solver of this run", wanted, {name for name, _ in solvers})
    seeds = [number for name, number in solvers if name == wanted]
    if seed is not None and seed not in seeds:
        raise DataError(f"{folder} has {wanted} of the training seeds {seeds}, not {seed}; choose one of them")
    solver = load_solver(solvers[wanted, seeds[0] if seed is None else seed])
    device = device or run.manifest["recipe"].get("device")
    check_device(device)
    with on_device(device):
        return solver.solve([_asked(run, question)], run.manifest["recipe"]["exam"]["seed"])[0].text


def _asked(run: RunFolder, question: str) -> Problem:
    """A question of whoever asks, of the kind most problems of the run's main set have.

    Its gold answer is unknown, and any will do; the kind tells what counts as an answer where several texts vote.
    """
    main = next(path for path, entry in run.outputs("0_problems") if entry.get("set") == run.manifest["sets"][0])
    problems = read_table(main, Problem)
    kind = Counter(problem.answer_kind for problem in problems).most_common(1)[0][0]
    like = next(problem for problem in problems if problem.answer_kind is kind)
    return replace(like, id="asked", question=question, choices=())
