"""Ceiling: the commands, in the order a user meets them: plan, run, show, solve; verify and the lab beside them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from feints import __version__, methods, tasks
from feints.config import parse_document, validate
from feints.errors import FeintsError, SettingsError, UnknownNameError
from feints.lab.mistakes import MistakeSettings
from feints.lab.server import ServerSettings, parse_faults, run_server
from feints.lab.teacher import LabTeacher
from feints.lab.teacher_settings import LabTeacherSettings
from feints.preparation import plan_recipe, require_torch, sample_recipe
from feints.recipe import LAB, Recipe, load_recipe, recipe_schema
from feints.verify.rows import judge_rows

INTERRUPTED = 130
"""Exit status after Ctrl+C."""

app = typer.Typer(
    name="feints",
    help="Distil reasoning from a large language model into a small one, and learn from the wrong answers too.\n\n"
    "A recipe (one YAML file) is a run: generate, verify, curate, train, evaluate, report. Try "
    "`feints run recipes/quickstart.yaml`; it needs no network, key or GPU.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
lab = typer.Typer(help="The offline world: a scripted teacher behind a real endpoint, and its nano student.")
app.add_typer(lab, name="lab")

RecipeFile = Annotated[Path, typer.Argument(help="Recipe, a YAML file; see recipes/ and `feints schema`.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Change one setting: --set train.epochs=3 (repeatable).")
]
OwnOverrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change one setting: --set layers=2 (repeatable); a wrong one lists all."),
]
Out = Annotated[Path | None, typer.Option("--out", help="Run folder; runs/NAME unless given.")]
ArmName = Annotated[str | None, typer.Option("--arm", help="Which solver of the run; the method's own unless given.")]
SeedNumber = Annotated[int | None, typer.Option("--seed", help="Which training seed; the first unless given.")]
SetName = Annotated[str | None, typer.Option("--set", help="Which test set; the main one unless given.")]
RunPath = Annotated[Path, typer.Argument(help="A run folder.")]


def _out_folder(recipe: Recipe, out: Path | None) -> Path:
    return out or Path("runs") / recipe.name


@app.command()
def plan(recipe: RecipeFile, set_: Overrides = None, out: Out = None) -> None:
    """Say what the first sampling will cost at most and what each arm may ask again, before anything is spent.

    Seeds share the first sampling; `budget` in the recipe bounds everything.
    """
    settings = load_recipe(recipe, set_ or ())
    for line in plan_recipe(settings, _out_folder(settings, out)):
        typer.echo(line)


@app.command()
def generate(recipe: RecipeFile, set_: Overrides = None, out: Out = None) -> None:
    """Sample the teacher and judge its rationales, no more; needs no torch, and `feints run` goes on from here."""
    settings = load_recipe(recipe, set_ or ())
    for line in sample_recipe(settings, _out_folder(settings, out), Console(stderr=True)):
        typer.echo(line)


@app.command()
def run(recipe: RecipeFile, set_: Overrides = None, out: Out = None) -> None:
    """Do all a recipe says, or what is left of it; kill it at any moment and run it again."""
    require_torch("a run with training")
    from feints.pipeline import run_recipe  # noqa: PLC0415  torch, only where a run is at hand

    settings = load_recipe(recipe, set_ or ())
    page = run_recipe(settings, _out_folder(settings, out), Console(stderr=True))
    _show(page.parents[1])
    typer.echo(f"report: {page}")


@app.command()
def show(run_folder: RunPath) -> None:
    """Print the result of a run: accuracies with their intervals, paired tests, funnel and cost."""
    _show(run_folder)


def _show(run_folder: Path) -> None:
    from feints.report.gather import gather  # noqa: PLC0415  statistics take half of the start-up
    from feints.report.table import render_scores  # noqa: PLC0415

    Console().print(render_scores(gather(run_folder)))


@app.command()
def solve(
    run_folder: RunPath,
    question: Annotated[str, typer.Argument(help="The question, as the task words it.")],
    arm: ArmName = None,
    seed: SeedNumber = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...; the recipe's unless given.")] = None,
) -> None:
    """Answer a question with the trained student of a run."""
    require_torch("a student")
    from feints.pipeline import solve_one  # noqa: PLC0415  torch, only where a student is at hand

    typer.echo(solve_one(run_folder, question, arm, seed, device))


@app.command()
def errors(
    run_folder: RunPath,
    arm: ArmName = None,
    seed: SeedNumber = None,
    of: SetName = None,
    sample: Annotated[int | None, typer.Option(help="Look at so many problems only.", min=1)] = None,
) -> None:
    """Ask the run's teacher why wrong answers are wrong, and count the kinds; asked again it costs nothing."""
    from feints.diagnosis import Teacher, exam_of, why_wrong  # noqa: PLC0415  statistics

    teacher = Teacher(run_folder, Console(stderr=True))
    shares = why_wrong(teacher, exam_of(teacher.run, arm, seed, of), sample)
    typer.echo(f"{shares[0].solver}: {shares[0].failures:,} wrong of {shares[0].problems:,}")
    for one in shares:
        typer.echo(f"{one.kind:17} {one.errors:6,}  {one.share:6.1%} of all problems [{one.low:.1%}, {one.high:.1%}]")
    if shares[0].unlabelled:
        typer.echo(f"{'not labelled':17} {shares[0].unlabelled:6,}  wrong answers that the teacher gave no label for")


@app.command()
def oracle(run_folder: RunPath, arm: ArmName = None, seed: SeedNumber = None, of: SetName = None) -> None:
    """Examine a chain on the teacher's key points instead of its own: what better key points would be worth."""
    require_torch("a student")
    from feints.diagnosis import Teacher, exam_of, with_oracle  # noqa: PLC0415  torch
    from feints.report.accuracy import counted_percent  # noqa: PLC0415  as for show

    teacher = Teacher(run_folder, Console(stderr=True))
    exam = exam_of(teacher.run, arm, seed, of)
    found = with_oracle(teacher, exam)
    if found.left_out:
        typer.echo(f"{found.left_out:,} problems left out: not judged, or no key points of the teacher's came")
    own, told = found.both_right + found.only_b, found.both_right + found.only_a
    with_own, with_told = (counted_percent(right, found.n) for right in (own, told))
    typer.echo(f"{exam.arm}, {found.n:,} problems: own key points {with_own}, the teacher's {with_told}")
    typer.echo(f"difference {found.difference:+.1%} [{found.low:+.1%}, {found.high:+.1%}], paired, 95 %")


@app.command()
def verify(
    file: Annotated[
        Path, typer.Argument(help="JSON Lines (also .gz) of {gold, text, id?, kind?, question?, choices?}.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Where the judged rows go: .jsonl, .jsonl.gz or .parquet.")],
    workers: Annotated[int | None, typer.Option(help="Worker processes; one per core unless given.", min=1)] = None,
) -> None:
    """Judge anyone's rows: keeps their fields and adds verdict, lenient, extracted, checker and reason.

    Kinds are number, latex, choice, boolean and text, read off the gold answer unless given; choices are a list of
    {label, text}. A field that a row has under an added name is kept as input_verdict and so on.
    """
    found = judge_rows(file, out, workers=workers)
    counts = ", ".join(f"{count:,} {verdict}" for verdict, count in found.verdicts.items())
    typer.echo(f"{found.rows:,} rows in {found.seconds:.1f} s ({found.per_second:,.0f} rows/s): {counts}")
    if found.unusable_gold:
        typer.echo(f"{found.unusable_gold:,} rows have a gold answer that cannot be read; they are not_checked")
    typer.echo(f"judged rows: {out}")


@app.command()
def export(
    run_folder: RunPath,
    form: Annotated[str, typer.Option("--format", help="jsonl, hf, trl, llamafactory or axolotl.")] = "jsonl",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder; export/FORMAT in the run unless given, with --arm export/FORMAT/ARM."),
    ] = None,
    arm: Annotated[str | None, typer.Option(help="Whose examples; the method's own unless given.")] = None,
) -> None:
    """Write a run's training examples, token weights included, for another trainer."""
    from feints.report.export import export_run  # noqa: PLC0415  as for show

    own = run_folder / "export" / form / (arm or "")
    for path in export_run(run_folder, form, out or own, arm):
        typer.echo(str(path))


@app.command()
def schema() -> None:
    """Print the JSON schema of recipes, for editors that complete and check YAML."""
    typer.echo(json.dumps(recipe_schema(), indent=1))


@app.command("new-student")
def new_student(
    texts: Annotated[Path, typer.Argument(help="JSON Lines (also .gz); its texts make the vocabulary.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the student.")],
    set_: OwnOverrides = None,
) -> None:
    """Make a small untrained student for dry runs where no pretrained weights can be had."""
    require_torch("making a student")
    from feints.train.scratch import ScratchSettings, make_scratch_student  # noqa: PLC0415  torch

    settings = validate(parse_document("", "new-student", set_ or ()), ScratchSettings)
    typer.echo(f"{make_scratch_student(texts, out, settings):,} parameters, untrained: {out}")


@app.command("list")
def list_names() -> None:
    """List the methods and the tasks this installation knows."""
    typer.echo(f"methods: {', '.join(methods.names())}")
    typer.echo(f"tasks:   {', '.join([LAB, *tasks.names()])}")


# ------------------------------------------------------------------------------------------------------- the lab


@lab.command("serve")
def lab_serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 8377,
    latency: Annotated[float, typer.Option(help="Seconds before a reply begins.")] = 0.0,
    fail: Annotated[str, typer.Option(help="Faults and rates: 429=0.05,500=0.02,cut=0.01,garbage=0.01")] = "",
    regime: Annotated[
        str, typer.Option(help="Mistakes: systematic (recurring) or slips (independent).")
    ] = "systematic",
    seed: Annotated[int, typer.Option(help="Of the faults.")] = 0,
    api_key_env: Annotated[str | None, typer.Option(help="Variable with the key that callers must send.")] = None,
) -> None:
    """Serve the scripted teacher as an OpenAI-compatible endpoint on this computer."""
    if regime not in ("systematic", "slips"):
        raise UnknownNameError("regime", regime, ("systematic", "slips"))
    mistakes = MistakeSettings(regime="slips" if regime == "slips" else "systematic")
    key = os.environ.get(api_key_env) if api_key_env else None
    if api_key_env and not key:
        raise SettingsError(f"--api-key-env {api_key_env}: this variable is not set; export it first")
    settings = ServerSettings(
        host=host, port=port, latency=latency, faults=parse_faults(fail), fault_seed=seed, api_key=key
    )
    teacher = LabTeacher(LabTeacherSettings(mistakes=mistakes))
    run_server(teacher, settings, lambda url: typer.echo(f"{teacher.model} at {url} (Ctrl+C stops)"))


@lab.command("pretrain")
def lab_pretrain(
    out: Annotated[Path, typer.Option("--out", help="Folder; the student ends up in OUT/student.")],
    set_: OwnOverrides = None,
) -> None:
    """Make the nano student anew, on the lab's language and one-step arithmetic; resumes after a crash."""
    require_torch("pretraining")
    from feints.lab.pretrain import PretrainSettings, pretrain  # noqa: PLC0415  torch

    settings = validate(parse_document("", "pretraining", set_ or ()), PretrainSettings)
    typer.echo(str(pretrain(out, settings)))


# -------------------------------------------------------------------------------------------------------- running


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"feints {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options before the command."""


def main() -> None:
    """Entry point: what a user can mend is one sentence on stderr and exit status 1, never a traceback."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Threads that spin long while they wait made training 20 times slower whenever something else wanted a core.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    try:
        app()
    except FeintsError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
    except (KeyboardInterrupt, SystemExit) as stopped:
        if isinstance(stopped, SystemExit) and stopped.code != INTERRUPTED:  # typer turns Ctrl+C into this status
            raise
        Console(stderr=True).print(
            "stopped; what is finished is kept, run the same command again to go on", markup=False
        )
        sys.exit(INTERRUPTED)
