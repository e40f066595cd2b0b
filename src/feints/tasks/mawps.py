"""MAWPS and its parts: short arithmetic word problems (MultiArith, AddSub, SingleEq, SingleOp)."""

from __future__ import annotations

from typing import Literal

from feints.records import AnswerKind, Problem
from feints.tasks.loading.assemble import Layout, load_task
from feints.tasks.loading.files import Row
from feints.tasks.loading.hub import HubTable
from feints.tasks.loading.layouts import Place, id_of, number_text
from feints.tasks.loading.problems import About, Problems, TaskConfig

ABOUT = About(
    source="sroy9/mawps",
    licence="none stated for the parts; MAWPS as redistributed by LLM-Adapters: ODC-By",
    citation="Koncel-Kedziorski et al., MAWPS: A Math Word Problem Repository, NAACL 2016",
)
Part = Literal["mawps", "multiarith", "addsub", "singleeq", "singleop"]
TABLES = {
    "mawps": [HubTable(repository="MU-NLPC/Calc-mawps")],
    "multiarith": [HubTable(repository="ChilleD/MultiArith", splits={"train": "train", "test": "test"})],
}


class Config(TaskConfig):
    """Settings of MAWPS. The parts overlap with each other, with MAWPS and with ASDiv."""

    part: Part = "mawps"
    """The whole, or one of the sets it was gathered from; addsub, singleeq and singleop need a local file."""


def load(config: Config) -> Problems:
    """MAWPS from `MU-NLPC/Calc-mawps`, MultiArith from `ChilleD/MultiArith`, or a local file."""
    layout = Layout(
        name=config.part,
        about=ABOUT,
        tables=TABLES.get(config.part, []),
        columns=[("question", "result"), ("question", "final_ans")],
        read=problem_of,
        wanted=lambda row, place: row.get("dataset", config.part) == config.part,
    )
    return load_task(layout, config)


def problem_of(row: Row, place: Place) -> Problem:
    """Rows of either hub copy."""
    written = row["final_ans"] if "final_ans" in row else row["result"]
    return Problem(
        id=id_of(row, place),
        question=str(row["question"]).strip(),
        answer=number_text(written),
        answer_kind=AnswerKind.NUMBER,
        task=place.task,
        split=place.split,
    )
