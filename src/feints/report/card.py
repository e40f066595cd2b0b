"""The model card that travels with a student: teacher, terms, data, recipe, scores with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from feints.records import Score
from feints.report.accuracy import over_seeds, percent
from feints.report.contents import RunContents
from feints.report.visible import one_line

PLAIN_USE = (
    "The weights lie beside this file, each folder what `from_pretrained` reads; the prompt behind which they answer "
    "stands in `solver.json`."
)
INTERVALS = (
    "Brackets hold a 95 % interval over the choice of problems: about one in twenty of such intervals misses the share "
    "that endlessly many problems of the same kind would give. Other trained solvers stand beside this one with its "
    "training seed, where they have it; the run's page has the other seeds."
)
LAYERED_USE = (
    "`from_pretrained` alone reads the untrained base: what was learnt are the additions and units in `{files}`, which "
    "stand in layers of their own and are not merged. `feints solve`, or `feints.evaluate.solver.load_solver` on the "
    "folder of this file, applies them; the prompt behind which they answer stands in `solver.json`."
)


def model_card(
    contents: RunContents, arm: str, seed: int, manifest: Mapping[str, Any], layers: Sequence[str] = ()
) -> str:
    """The card of one student as Markdown.

    Args:
        contents: the run it was trained in.
        arm: which solver it is.
        seed: its training seed.
        manifest: of the run folder; says who the teacher is and where the data come from.
        layers: files beside the weights without which these are the untrained base.
    """
    data, recipe = manifest["data"], manifest["recipe"]
    about = _sentence(contents.arm(arm).explanation) or "A solver"
    terms = recipe["teacher"]["terms"] or "not stated in the recipe (teacher.terms); ask before you publish"
    lines = [
        "---",
        "library_name: transformers",
        "tags: [feints, reasoning, distillation]",
        "---",
        f"# {one_line(contents.name)}: {one_line(arm)}, training seed {seed}",
        "",
        f"{about}; trained with feints (commit {contents.commit[:12]}).",
        "",
        f"- Student: {recipe['student']['model']}",
        f"- Teacher: {manifest['teacher']}",
        f"- Terms of the teacher's output: {terms}",
        f"- Data: {data['source']}; licence: {data['licence']}",
        f"- Citation: {data.get('citation') or 'none'}",
        *([f"- {data['canary']}"] if data.get("canary") else []),
        "",
        *_scores(contents, arm, seed),
        "",
        INTERVALS,
        "",
        "## Use",
        "",
        f'`feints solve RUN "question" --arm {one_line(arm)} --seed {seed}` asks it as it was examined, with prompts, '
        f"votes and programs, where its run folder is at hand. {_use(layers)}",
        "",
        "## Recipe",
        "",
        "```yaml",
        contents.recipe.strip(),
        "```",
        "",
    ]
    return "\n".join(lines)


def _use(layers: Sequence[str]) -> str:
    return LAYERED_USE.format(files=", ".join(layers)) if layers else PLAIN_USE


def _scores(contents: RunContents, arm: str, seed: int) -> list[str]:
    """This student's scores, and those of the other solvers of its run, as two tables."""
    sets = contents.problem_sets()
    return [
        "| test set | accuracy | problems judged |",
        "|---|---|---|",
        *(
            f"| {name} | {percent(over_seeds([score]))} | {score.counted:,} |"
            for name in sets
            for score in contents.scores_of(arm, name)
            if score.seed == seed
        ),
        "",
        "Beside it, on the same problems:",
        "",
        "| solver | accuracy |",
        "|---|---|",
        *(
            f"| {one_line(solver)} ({name}{seeds}) | {percent(over_seeds(scores))} |"
            for name in sets
            for solver in contents.solvers()
            if solver != arm
            for scores, seeds in [_of_seed(contents.scores_of(solver, name), seed)]
            if scores
        ),
    ]


def _of_seed(scores: Sequence[Score], seed: int) -> tuple[Sequence[Score], str]:
    """The scores of this training seed, or all with word of it where there is none."""
    own = [score for score in scores if score.seed == seed]
    if own or len(scores) < 2:
        return own or scores, ""
    return scores, f", mean of {len(scores)} training seeds"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
