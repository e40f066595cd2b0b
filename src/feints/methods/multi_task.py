"""Two tasks learnt at once: MT-CoT, Step-by-step and SCOTT, the multi-task rivals EDIT is compared with.

As they stand in the comparison of EDIT (Dai et al., ACL 2025, section 2.4 of its specification), with one objective,
L = (1 - share) * mean nll of the first task + share * mean nll of the second, over two prompts told apart by a tag:

- `mt_cot` (Li et al., 2022): the whole right rationale; the answer alone. Examined with the first prompt.
- `step_by_step` (Hsieh et al., ACL Findings 2023): the rationale up to its answer; the answer alone. Examined with the
  second prompt, as in the original: no rationale is written at test.
- `scott` (Wang et al., ACL 2023): the whole right rationale behind a factual tag; behind a counterfactual one a wrong
  rationale is read and its wrong answer learnt, so that answers follow from rationales. Examined with the first prompt.

Departures: 1) the mean of a task is over texts and, in each, over its target tokens; the released code takes the mean
over the tokens of a batch. 2) Wrong rationales of SCOTT are the teacher's own wrong samples of the problem; a right
rationale without one is corrupted by the teacher. 3) `share` is 0.5, as in the released config class; its shared script
says 0.1, and which value the baselines had is not stated. 4) Near-identical rationales of a problem count once; set
curate.near_duplicate to null for all.

Control: the task the solver is examined on, alone, with the same examples and steps: share 1 for Step-by-step, 0 else.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import Field

from feints import methods
from feints.bench import Bench, dual
from feints.bench.inner import Makes
from feints.config import CleanSettings
from feints.curate.choice import Chosen
from feints.curate.cutting import cut
from feints.curate.examples import Built, answer_text, build_examples
from feints.errors import DataError
from feints.evaluate.solver import Solver
from feints.generate.prompt import STUDENT, TEACHER, Prompt
from feints.records import Dropped, Example, Rationale, Role, content_hash
from feints.train.losses_edit import two_tasks
from feints.train.student import Student

WHOLE = replace(STUDENT, id="multi_task_rationale", template="[rationale] " + STUDENT.template)
ANSWER = Prompt(id="multi_task_answer", template="[answer] {question}\n{choices}")
FACTUAL = replace(STUDENT, id="scott_factual", template="[correct] " + STUDENT.template)
COUNTERFACTUAL = Prompt(id="scott_counterfactual", template="[counterfactual] {question}\n{choices}\n{wrong}")
CORRUPT = Prompt(
    id="scott_corrupt",
    template="{question}\n{choices}\n\nRight response:\n{right}\n\nWrite a wrong response: the likeliest wrong answer, "
    'with a rationale that leads to it. Finish with a line of the form "The answer is ..."',
)


class Config(CleanSettings):
    """Settings of the multi-task baselines."""

    only_clean = "the means over the tokens of a batch that its code takes are not reproduced"

    variant: Literal["mt_cot", "step_by_step", "scott"] = Field(default="mt_cot", description="Which two tasks.")
    share: float = Field(default=0.5, ge=0, le=1, description="Weight of the second task.")


def distil(bench: Bench, config: Config) -> Solver:
    """Sample the teacher, learn both tasks of every right rationale, answer with the prompt of the one that counts."""
    said = bench.ask("teacher", TEACHER)
    chosen = bench.choose(said, bench.judge("teacher", said))
    if config.variant == "scott":
        chosen, tasks = scott(bench, chosen)
    else:
        tasks = rationale_and_answer(bench, chosen, whole=config.variant == "mt_cot")
    refuse_empty(config.variant, tasks)
    second = Role.WRONG if config.variant == "scott" else Role.POSITIVE
    lesson = bench.examples(
        chosen,
        [config.variant, [[task.prompt.hash, task.text, task.group] for task in tasks]],
        lambda student, _: built(bench, student, tasks),
        [task.row for task in tasks],
    )
    student = bench.fit(lesson, two_tasks(config.share, second), loss_settings=["two_tasks", config.share, second])
    asked = {"mt_cot": WHOLE, "step_by_step": ANSWER, "scott": FACTUAL}[config.variant]
    return bench.one_shot(student, bench.prompt(asked))


def control(config: Config) -> Config | None:
    """The task the solver is examined on, alone; None for a config that learns one task only."""
    if config.share in (0.0, 1.0):
        return None
    return config.model_copy(update={"share": 1.0 if config.variant == "step_by_step" else 0.0})


def makes(config: Config) -> Makes:
    """The student is asked behind a tag."""
    del config
    return Makes(plain=False)


def arm(config: Config) -> tuple[str, str]:
    """Name and explanation for tables."""
    words = {
        "mt_cot": "learns rationale and answer as two tasks",
        "step_by_step": "learns reasoning and answer as two tasks, answers at once",
        "scott": "learns rationales, and to follow wrong ones behind a tag",
    }[config.variant]
    if config.share in (0.0, 1.0):
        return f"{config.variant}_one_task", "the same examples and steps, the task examined alone"
    usual = config.share == Config.model_fields["share"].default
    return (config.variant if usual else f"{config.variant}_share_{config.share:g}".replace(".", "_")), words


def asks(config: Config, sampled: int) -> methods.Asks:
    """Most calls of the teacher after the first `sampled` ones, for the plan."""
    return methods.Asks(sampled if config.variant == "scott" else 0)


# ------------------------------------------------------------------------------------------------------------- tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One text to be learnt behind one prompt."""

    row: Rationale
    """Where the text comes from."""
    text: str
    """What is learnt; where it is empty the row is dropped."""
    prompt: Prompt
    role: Role
    group: str
    """Both tasks of a rationale go into one step."""
    filled: Mapping[str, str] = field(default_factory=dict)
    """For the prompt's further slots."""


def rationale_and_answer(bench: Bench, chosen: Chosen, *, whole: bool) -> list[Task]:
    """For each right rationale: itself, whole or up to its answer, and the gold answer alone."""
    first, second = bench.prompt(WHOLE), bench.prompt(ANSWER)
    tasks: list[Task] = []
    for row in chosen.piles.right:
        text = row.text if whole else cut(row.text)[0]
        gold = answer_text(bench.by_id[row.problem_id])
        tasks.append(Task(row=row, text=text, prompt=first, role=Role.RIGHT, group=row.id))
        tasks.append(Task(row=row, text=gold, prompt=second, role=Role.POSITIVE, group=row.id))
    return tasks


def scott(bench: Bench, chosen: Chosen) -> tuple[Chosen, list[Task]]:
    """For each right rationale: itself behind a tag, and behind another the answer of a wrong one that is read."""
    wrong: dict[str, list[Rationale]] = defaultdict(list)
    for row in chosen.piles.wrong:
        wrong[row.problem_id].append(row)
    alone = [row for row in chosen.piles.right if row.problem_id not in wrong]
    if alone:
        bent = dual.corrupt(bench, CORRUPT, alone)
        chosen = chosen.joined(bent)
        for row in bent.piles.wrong:
            wrong[row.problem_id].append(row)
    first, second = bench.prompt(FACTUAL), bench.prompt(COUNTERFACTUAL)
    turns: Counter[str] = Counter()
    tasks: list[Task] = []
    for row in chosen.piles.right:
        tasks.append(Task(row=row, text=row.text, prompt=first, role=Role.RIGHT, group=row.id))
        if partners := wrong.get(row.problem_id):
            other = partners[turns[row.problem_id] % len(partners)]
            turns[row.problem_id] += 1
            read, answer = cut(other.text)
            filled = {"wrong": read}
            task = Task(row=other, text=answer, prompt=second, role=Role.WRONG, group=row.id, filled=filled)
            tasks.append(task)
    return chosen, tasks


def refuse_empty(variant: str, tasks: Sequence[Task]) -> None:
    """Refuse to learn one task where two are meant.

    Raises:
        DataError: no text of one of the tasks is left once answers are cut off.
    """
    if tasks and not any(task.text for task in tasks if task.role is Role.RIGHT):
        raise DataError(
            f"{variant}: none of the teacher's right rationales says anything before its answer, so there is no "
            "reasoning to learn; ask for it in the teacher's prompt (teacher_prompt), or take the variant mt_cot"
        )
    others = [task for task in tasks if task.role is not Role.RIGHT]
    if tasks and not others:
        raise DataError(f"{variant}: there is no wrong rationale to set against the right ones; raise sampling.n")
    if others and not any(task.text for task in others):
        raise DataError(
            f"{variant}: none of the wrong rationales states an answer that could be learnt from it; ask in the "
            'teacher\'s prompt (teacher_prompt) for a last line such as "The answer is ...", or take another variant'
        )


def built(bench: Bench, student: Student, tasks: Sequence[Task]) -> Built:
    """An example of each task, every target token alike."""
    examples: list[Example] = []
    dropped: list[Dropped] = []
    for task in tasks:
        thinking = task.row.thinking if task.role is Role.RIGHT else ""  # an answer alone is learnt without any
        made = build_examples(
            student.renderer,
            task.prompt,
            bench.by_id,
            [replace(task.row, text=task.text, thinking=thinking)],
            role=task.role,
            thinking=bench.curate.thinking,
            max_tokens=bench.curate.max_tokens,
            filled={task.row.id: task.filled},
        )
        examples += [
            replace(example, id=content_hash(task.group, task.role), group=task.group) for example in made.examples
        ]
        dropped += made.dropped
    return Built(examples=tuple(examples), dropped=tuple(dropped))
