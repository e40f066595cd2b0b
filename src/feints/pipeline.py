"""Ceiling: one recipe from top to bottom: problems, teacher, method and control, exams, report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

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
from feints.report.gather import gather
from feints.report.page import write_page
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
    problems = load_problems(recipe, run)
    for notice in problems.notices:
        console.print(notice, highlight=False)
    recipe = with_student_folder(recipe)
    method = methods.find(recipe.method.name)
    control = method.control(recipe.method)
    arms = []
    with open_ledger(recipe, out) as ledger, CheckerPool() as pool:
        identity = weights_identity(Path(recipe.student.model))
        bench = open_bench(recipe, run, problems, ledger, pool, console, student_identity=identity)
        for role, config in (("method", recipe.method), ("control", control)):
            if config is None:
                continue
            name, explanation = method.arm(config)
            arms.append({"name": name, "role": role, "explanation": explanation})
            for seed in recipe.seeds:
                solver = method.distil(replace(bench, arm=name, seed=seed), config)
                run.folder(
                    "4_student",
                    f"{name}-solver-seed{seed}",
                    [solver.identity],
                    solver.save,
                    arm=name,
                    seed=seed,
                    solver=True,
                )
                take_exams(recipe, bench, solver, name, seed, problems)
        untrained = bench.one_shot(Path(recipe.student.model), STUDENT)
        arms.append({"name": UNTRAINED, "role": "floor", "explanation": "the student before any training"})
        take_exams(recipe, bench, untrained, UNTRAINED, recipe.seeds[0], problems)
    run.describe(
        name=recipe.name,
        recipe=recipe.model_dump(mode="json"),
        seeds=list(recipe.seeds),
        arms=arms,
        sets=list(problems.tests),
        teacher=bench.teacher.identity,
        notices=list(dict.fromkeys((*problems.notices, *bench.notices))),
    )
    page = out / "6_report" / "index.html"
    with storage_errors(page), atomic(page) as partial:
        write_page(gather(out), partial)
    return page


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
