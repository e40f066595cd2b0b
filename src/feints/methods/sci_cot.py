"""Sci-CoT: one student writes the rationale, another reads it and gives the answer.

"Sci-CoT: Leveraging Large Language Models for Enhanced Knowledge Distillation in Small Models for Scientific QA"
(Ma et al., 2023), arXiv 2308.04679, known from its abstract. Student A learns nll(r | q), student B nll(a | q, r):
means over target tokens. At inference B reads the rationale of A. It is KPDD with separate students and two stages, of
which the first writes the reasoning and the second the answer alone.

Departures: 1) rationales are kept only where they reach the gold answer. 2) The statement of the answer (a sentence, a
box) is cut off the rationale A learns, since it is what B learns. 3) The rationale is written greedily and once, also
where answers vote. 4) Near-identical rationales of a problem count once; set curate.near_duplicate to null for all.

Control: one student learns rationale and answer as one text from the same rows, at the steps of one of the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pydantic import Field

from feints.bench import Bench
from feints.bench.inner import Makes
from feints.config import UnreleasedSettings
from feints.curate.cutting import cut
from feints.curate.examples import Built, answer_text, build_examples
from feints.evaluate.chained import Chain, Link
from feints.evaluate.solver import Solver
from feints.generate.prompt import STUDENT, TEACHER, Prompt
from feints.records import Rationale, Role, content_hash
from feints.train.losses import weighted_nll
from feints.train.student import Student

SOLVE = Prompt(id="sci_cot_answer", template="{question}\n{choices}\n{rationale}\n{cue}", cue="Answer:")


class Config(UnreleasedSettings):
    """Settings of Sci-CoT."""

    two_students: bool = Field(default=True, description="Rationale and answer by two students, or (control) by one.")


def distil(bench: Bench, config: Config) -> Solver:
    """Sample the teacher, keep what is right, teach the rationale to one student and the answer to another."""
    writes, solves = bench.prompt(STUDENT), bench.prompt(SOLVE)
    said = bench.ask("teacher", TEACHER)
    chosen = bench.choose(said, bench.judge("teacher", said))
    reasoning = {row.id: cut(row.text)[0] for row in chosen.piles.right}

    def whole(student: Student, rows: Sequence[Rationale]) -> Built:
        return _examples(bench, student, writes, rows, {})

    def rationale(student: Student, rows: Sequence[Rationale]) -> Built:
        return _examples(bench, student, writes, [replace(row, text=reasoning[row.id]) for row in rows], {})

    def answer(student: Student, rows: Sequence[Rationale]) -> Built:
        read = {row.id: {"rationale": reasoning[row.id]} for row in rows}
        stated = [replace(row, text=answer_text(bench.by_id[row.problem_id]), thinking="") for row in rows]
        return _examples(bench, student, solves, stated, read)

    parts = {"rationale": rationale, "answer": answer} if config.two_students else {"": whole}
    students = {}
    for name, build in parts.items():
        how = [writes.hash, solves.hash, name, content_hash(reasoning) if name else ""]
        lesson = bench.examples(chosen, how, build, name=name)
        students[name] = bench.fit(lesson, weighted_nll(), loss_settings=["weighted_nll", "target_tokens"], name=name)
    if not config.two_students:
        return bench.one_shot(students[""], writes)
    greedy = replace(bench.exam.sampling, temperature=0.0)
    first = Link("rationale", "", bench.shot(students["rationale"], writes, sampling=greedy))
    return bench.voting(Chain([first], bench.shot(students["answer"], solves)))


def control(config: Config) -> Config | None:
    """One student for both."""
    return config.model_copy(update={"two_students": False}) if config.two_students else None


def makes(config: Config) -> Makes:
    """Two students answer in turn."""
    return Makes(one_text=not config.two_students)


def arm(config: Config) -> tuple[str, str]:
    """Name and explanation for tables."""
    if config.two_students:
        return "sci_cot", "one student writes the rationale, another the answer"
    return "sci_cot_one", "one student writes rationale and answer"


def _examples(
    bench: Bench, student: Student, prompt: Prompt, rows: Sequence[Rationale], filled: dict[str, dict[str, str]]
) -> Built:
    return build_examples(
        student.renderer,
        prompt,
        bench.by_id,
        rows,
        role=Role.RIGHT,
        thinking=bench.curate.thinking,
        max_tokens=bench.curate.max_tokens,
        filled=filled,
    )
