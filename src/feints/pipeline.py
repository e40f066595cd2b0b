"""Ceiling: one recipe from top to bottom: problems, teacher, method and control, exams, report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import yaml
from rich.console import Console

from feints import methods
from feints.bench import Bench
from feints.errors import DataError, UnknownNameError
from feints.evaluate.exam import examine
from feints.evaluate.solver import Solver, load_solver
from feints.generate.prompt import STUDENT
from feints.generate.weights import local_folder, weights_identity
from feints.lab.nano import NANO_FOLDER, NANO_NAME
from feints.preparation import UNTRAINED, ProblemSets, load_problems, open_bench, open_ledger, open_run
from feints.recipe import Recipe
from feints.records import Answer, AnswerKind, Problem
from feints.report.card import model_card
from feints.report.gather import gather
from feints.report.page import render_page
from feints.runs import RunFolder, Stored, atomic, storage_errors
from feints.verify.fingerprint import code_hash
from feints.verify.pool import CheckerPool


def run_recipe(recipe: Recipe, out: Path, console: Console) -> Path:
    """Do all that a recipe says, or what is left of it, and return the path of the page.

    Killed at any moment and called again, it ends in the same result; a finished run is only read.

    Raises:
        FeintsError: anything a user can mend, in one sentence.
    """
    run = open_run(out)
    write_whole(out / "recipe.yaml", recipe_text(recipe))
    problems = load_problems(recipe, run)
    for notice in problems.notices:
        console.print(notice, highlight=False)
    local = with_student_folder(recipe)
    with open_ledger(recipe, out) as ledger, CheckerPool() as pool:
        identity = weights_identity(Path(local.student.model))
        bench = open_bench(local, run, problems, ledger, pool, console, student_identity=identity)
        arms = distil_and_examine(local, bench, problems)
    run.describe(
        name=recipe.name,
        recipe=recipe.model_dump(mode="json"),
        seeds=list(recipe.seeds),
        arms=arms,
        sets=list(problems.tests),
        teacher=bench.teacher.identity,
        data=problems.about,
        notices=list(dict.fromkeys((*problems.notices, *bench.notices))),
    )
    contents = gather(out)
    for folder, entry in run.outputs("4_student"):
        if entry.get("solver"):
            write_whole(folder / "README.md", model_card(contents, entry["arm"], entry["seed"], run.manifest))
    page = out / "6_report" / "index.html"
    write_whole(page, render_page(contents))
    return page


def distil_and_examine(recipe: Recipe, bench: Bench, problems: ProblemSets) -> list[dict[str, str]]:
    """The method and its control with every seed, and the untrained student; the arms in the order shown."""
    method = methods.find(recipe.method.name)
    arms = []
    for role, config in (("method", recipe.method), ("control", method.control(recipe.method))):
        if config is None:
            continue
        name, explanation = method.arm(config)
        arms.append({"name": name, "role": role, "explanation": explanation})
        for seed in recipe.seeds:
            solver = method.distil(replace(bench, arm=name, seed=seed), config)
            label = f"{name}-solver-seed{seed}"
            bench.run.folder("4_student", label, [solver.identity], solver.save, arm=name, seed=seed, solver=True)
            take_exams(recipe, bench, solver, name, seed, problems)
    untrained = bench.one_shot(Path(recipe.student.model), STUDENT)
    take_exams(recipe, bench, untrained, UNTRAINED, recipe.seeds[0], problems)
    return [*arms, {"name": UNTRAINED, "role": "floor", "explanation": "the student before any training"}]


def recipe_text(recipe: Recipe) -> str:
    """A recipe as YAML, every default written out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


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


def take_exams(recipe: Recipe, bench: Bench, solver: Solver, arm: str, seed: int, problems: ProblemSets) -> None:
    """Examine one solver on every test set; an exam already taken is only read."""
    exam = recipe.exam
    for name, stored in problems.tests.items():
        depends = [solver.identity, stored.address, exam.model_dump(mode="json", exclude={"sets"}), code_hash()]

        def answers(of: str = name, asked: Stored[Problem] = stored) -> list[Answer]:
            return examine(solver, asked.rows, arm, of, exam.seed)[0]

        bench.run.table("5_answers", f"{arm}-{name}-seed{seed}", Answer, depends, answers, arm=arm, set=name, seed=seed)


def solve_one(folder: Path, question: str, arm: str | None, seed: int | None) -> str:
    """The text with which a solver of a run answers a question.

    Raises:
        UnknownNameError: the run has no such arm.
        DataError: the run has not ended, or has no such seed.
    """
    run = RunFolder.open(folder)
    solvers = {(entry["arm"], entry["seed"]): path for path, entry in run.outputs("4_student") if entry.get("solver")}
    wanted = arm or str(run.manifest["arms"][0]["name"])
    if wanted not in {name for name, _ in solvers}:
        raise UnknownNameError("solver of this run", wanted, {name for name, _ in solvers})
    seeds = [number for name, number in solvers if name == wanted]
    if seed is not None and seed not in seeds:
        raise DataError(f"{folder} has {wanted} of the training seeds {seeds}, not {seed}; choose one of them")
    solver = load_solver(solvers[wanted, seeds[0] if seed is None else seed])
    # The gold answer is unknown here; any will do, since only the text is shown.
    problem = Problem(
        id="asked", question=question, answer="0", answer_kind=AnswerKind.NUMBER, task="asked", split="asked"
    )
    return solver.solve([problem], run.manifest["recipe"]["exam"]["seed"])[0].text
