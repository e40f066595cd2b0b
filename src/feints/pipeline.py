"""Ceiling: one recipe from top to bottom: problems, teacher, method and control, exams, report."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from feints import methods
from feints.bench import Bench
from feints.errors import DataError, UnknownNameError
from feints.evaluate.exam import examine
from feints.evaluate.solver import Solver, load_solver
from feints.generate.ledger import Ledger
from feints.generate.plan import plan
from feints.generate.prompt import STUDENT, TEACHER, read_prompt
from feints.generate.rationales import requests_for
from feints.generate.weights import local_folder, weights_identity
from feints.lab.nano import NANO_FOLDER, NANO_NAME
from feints.preparation import ProblemSets, load_problems, open_ledger, open_teacher
from feints.recipe import Recipe
from feints.records import Answer, AnswerKind, Problem
from feints.report.gather import gather
from feints.report.page import write_page
from feints.runs import RunFolder, Stored, atomic, storage_errors
from feints.verify.fingerprint import code_hash
from feints.verify.pool import CheckerPool

UNTRAINED = "untrained"


def run_recipe(recipe: Recipe, out: Path, console: Console) -> Path:
    """Do all that a recipe says, or what is left of it, and return the path of the page.

    Killed at any moment and called again, it ends in the same result; a finished run is only read.

    Raises:
        FeintsError: anything a user can mend, in one sentence.
    """
    run = RunFolder(out)
    run.start()
    problems = load_problems(recipe, run)
    for notice in problems.notices:
        console.print(notice, highlight=False)
    recipe = with_student_folder(recipe)
    method = methods.find(recipe.method.name)
    control = method.control(recipe.method)
    arms = []
    with open_ledger(recipe, out) as ledger, CheckerPool() as pool:
        bench = open_bench(recipe, run, problems, ledger, pool, console)
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


def open_bench(
    recipe: Recipe, run: RunFolder, problems: ProblemSets, ledger: Ledger, pool: CheckerPool, console: Console
) -> Bench:
    """The bench of a recipe, everything on it open."""
    return Bench(
        run=run,
        problems=problems.train,
        funnel=problems.funnel,
        teacher=open_teacher(recipe),
        teacher_prompt=read_prompt(recipe.teacher_prompt) if recipe.teacher_prompt else None,
        ledger=ledger,
        budget=recipe.budget.open(),
        pool=pool,
        sampling=recipe.sampling,
        curate=recipe.curate,
        student=recipe.student,
        student_identity=weights_identity(Path(recipe.student.model)),
        training=recipe.train,
        exam=recipe.exam,
        arm=UNTRAINED,
        seed=recipe.seeds[0],
        device=recipe.device,
        console=console,
    )


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


def plan_recipe(recipe: Recipe, out: Path) -> list[str]:
    """What the first questions to the teacher will take at most, in lines; sends nothing.

    Counts the method's first round of sampling; what a method asks in later rounds depends on the answers.
    """
    with tempfile.TemporaryDirectory() as scratch, open_ledger(recipe, out) as ledger:
        problems = load_problems(recipe, RunFolder(Path(scratch) / "plan"))
        teacher = open_teacher(recipe)
        prompt = read_prompt(recipe.teacher_prompt) if recipe.teacher_prompt else TEACHER
        sampling = recipe.sampling
        most = sampling.adaptive.maximum if sampling.adaptive else sampling.n
        pairs = requests_for(problems.train, prompt, sampling.sampling(), samples=most, seed=sampling.seed)
        price = recipe.teacher.prices.get(recipe.teacher.model)
        found = plan([request for _, request in pairs], teacher.identity, ledger, price)
        return [*problems.notices, f"teacher: {teacher.identity}", *found.lines()]
