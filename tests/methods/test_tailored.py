"""Tailored learning on a tiny bench: TAIL-P10 to TAIL-P14, what is asked and learnt."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.methods.rounds_bench import DATA, Config, Run, gold, reports, rows

from feints import methods
from feints.curate.examples import answer_text
from feints.errors import SettingsError
from feints.generate.prompt import Prompt
from feints.lab import world
from feints.methods import asc, tailored
from feints.preparation import load_problems
from feints.recipe import load_recipe
from feints.records import (
    AnswerKind,
    Choice,
    Dropped,
    Example,
    Finish,
    Judgement,
    Origin,
    Problem,
    Rationale,
    Role,
    Verdict,
)
from feints.tables import read_table
from feints.train.reflection import reflective_loss
from feints.verify.judge import judge
from feints.verify.options import read_label


def test_tail_p10_a_student_without_mistakes_asks_nothing_of_the_teacher(
    tiny: ModuleType, talker: Path, tmp_path: Path, pupil: Any, teacher: Any
) -> None:
    """TAIL-P10: and the student returned is the untrained one."""
    source, asked = teacher
    with tiny.tiny_bench(tmp_path, talker, teacher=source) as bench:
        pupil(lambda text, _: f"The answer is {gold(bench.problems, text)}.")
        solver = tailored.distil(bench, Config())
    assert asked == [] and bench.fits == []
    assert solver.student == talker
    (report,) = reports(bench)
    assert (report.requests, report.mistakes, report.learnt, report.outcome) == (0, 0, 0, "no mistakes")
    assert report.right == report.samples > 0


def test_tail_p12_what_is_learnt_reaches_gold_and_mistakes_do_not_and_are_parseable(
    tiny: ModuleType, talker: Path, tmp_path: Path, pupil: Any
) -> None:
    """TAIL-P12."""

    def says(text: str, trained: int) -> str:
        kind = Counter(text)["e"] % 3
        right = gold(bench.problems, text)
        return (f"The answer is {right}.", f"It is easy. The answer is {int(right) + 1}.", "I do not know.")[kind]

    with tiny.tiny_bench(tmp_path, talker) as bench:
        pupil(says)
        tailored.distil(bench, Config(rounds=1))
    verdicts = {verdict.rationale_id: verdict for verdict in rows(bench, "2_verdicts", Verdict)}
    texts = {row.id: row for row in rows(bench, "1_rationales", Rationale)}
    examples = rows(bench, "3_examples", Example)
    assert (
        {Role.RIGHT, Role.ANCHOR, Role.POSITIVE, Role.WRONG} >= {e.role for e in examples} >= {Role.ANCHOR, Role.WRONG}
    )
    for example in examples:
        verdict, row = verdicts[example.rationale_id], texts[example.rationale_id]
        reached = verdict.extracted == bench.by_id[row.problem_id].answer
        if example.role is Role.WRONG:
            assert verdict.value is Judgement.WRONG and row.origin is Origin.SELF
            assert verdict.extracted is not None and not reached
        else:
            assert verdict.value is Judgement.CORRECT and row.origin is not Origin.SELF and reached
    told = {verdicts[row.id].value for row in texts.values() if row.origin is not Origin.SELF}
    assert Judgement.WRONG in told, "the teacher errs as well, or nothing would have to be kept out"
    (first, *_) = reports(bench)
    assert first.no_answer and first.mistakes and first.mistakes <= first.wrong
    parents = {row.parent for row in texts.values() if row.origin is Origin.TAILORED}
    assert len(parents) == first.mistakes
    assert all(verdicts[parent].value is Judgement.WRONG for parent in parents)


def test_the_teacher_sees_question_mistake_and_gold_answer(run: Run, teacher: Any) -> None:
    source, asked = teacher
    bench, _ = run(Config(rounds=1), teacher=source)
    texts = {row.id: row for row in rows(bench, "1_rationales", Rationale)}
    answered = [row for row in texts.values() if row.origin is Origin.TAILORED]
    told = {request.messages[-1].content for request in asked}
    assert answered
    for row in answered:
        problem, mistake = bench.by_id[row.problem_id], texts[row.parent]
        assert any(problem.question in text and mistake.text in text and problem.answer in text for text in told)
    unseen, _ = run(Config(rounds=1, feedback="untailored"), teacher=source)
    untailored = [row for row in rows(unseen, "1_rationales", Rationale) if row.origin is Origin.TAILORED]
    assert {row.parent for row in untailored} >= {row.parent for row in answered}


def test_a_user_replaces_the_template(run: Run, teacher: Any) -> None:
    source, asked = teacher
    mine = Prompt(id="mine", template="PUPIL {wrong} GOLD {gold}\n{question}")
    run(Config(rounds=1), teacher=source, prompts={"tailored_feedback": mine})
    assert any(request.messages[-1].content.startswith("PUPIL") for request in asked)
    with pytest.raises(SettingsError, match=r"prompts\.tailored_feedback.*slots"):
        run(Config(rounds=1), teacher=source, prompts={"tailored_feedback": replace(mine, template="{question}")})


def test_tail_p11_anchor_and_positive_are_two_texts_of_one_problem(run: Run) -> None:
    """TAIL-P11: in what a run learns."""
    bench, _ = run(Config(rounds=2))
    groups: dict[str, dict[Role, Example]] = {}
    alone = 0
    for table in [path for path, e in bench.run.outputs("3_examples") if e["label"].endswith("-train")]:
        for example in read_table(table, Example):
            if example.group:
                groups.setdefault(f"{table}{example.group}", {})[example.role] = example
            else:
                assert example.role is Role.RIGHT
                alone += 1
    assert groups
    for own in groups.values():
        assert set(own) == {Role.ANCHOR, Role.POSITIVE, Role.WRONG}
        assert own[Role.ANCHOR].target_ids != own[Role.POSITIVE].target_ids
        assert len({example.problem_id for example in own.values()}) == 1
        assert len({example.prompt_ids for example in own.values()}) == 1
        weights = {role: set(example.weights) for role, example in own.items()}
        assert weights == {Role.ANCHOR: {0.1, 1.0}, Role.POSITIVE: {0.0}, Role.WRONG: {0.0}}


def test_tail_p13_no_test_question_is_examined_or_asked_about(
    tiny: ModuleType, talker: Path, small_recipe: Path, tmp_path: Path, teacher: Any
) -> None:
    """TAIL-P13: though the training file holds every test question."""
    source, asked = teacher
    tests = tiny.exam_problems(8)
    with tiny.tiny_bench(tmp_path, talker, teacher=source) as bench:
        sets = {"train": [*bench.problems, *tests], "test": tests}
        for split, problems in sets.items():
            lines = [{"id": f"{split} {n}", "question": p.question, "answer": p.answer} for n, p in enumerate(problems)]
            (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)))
        files = f"{{train: {tmp_path}/train.jsonl, test: {tmp_path}/test.jsonl}}"
        recipe = load_recipe(small_recipe, [f"task={{name: file, answer_kind: number, path: {files}}}"])
        tailored.distil(replace(bench, problems=load_problems(recipe, bench.run).train), Config(rounds=1))
    said = rows(bench, "1_rationales", Rationale)
    assert {row.origin for row in said} == {Origin.SAMPLED, Origin.SELF, Origin.TAILORED}
    assert {row.problem_id for row in said} == {f"train {n}" for n in range(len(bench.problems))}
    assert asked and not [r for r in asked for problem in tests if problem.question in r.messages[-1].content]


SETS = {
    "gsm8k_train": AnswerKind.NUMBER,
    "gsm8k_test": AnswerKind.NUMBER,
    "svamp": AnswerKind.NUMBER,
    "mawps_family": AnswerKind.NUMBER,  # MultiArith and its siblings
    "strategy_qa": AnswerKind.BOOLEAN,
    "commonsense_qa_train": AnswerKind.CHOICE,
    "commonsense_qa_dev": AnswerKind.CHOICE,
}


@pytest.mark.parametrize("name", SETS)
def test_tail_p14_a_rationale_with_an_answer_gives_it_back(name: str) -> None:
    """TAIL-P14: every gold answer of the shared data, train and test."""
    file, kind = f"{name}.jsonl.gz", SETS[name]
    if not (DATA / file).is_file():
        pytest.skip(f"shared data {file} is not here")
    with gzip.open(DATA / file, "rt", encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    count = 0
    for row in found:
        choices = tuple(Choice(label=o["label"], text=o["text"]) for o in row.get("options") or ())
        problem = Problem(
            id=row["id"],
            question=row["question"],
            answer=str(row["answer"]),
            answer_kind=kind,
            choices=choices,
            task=name,
            split="train",
        )
        verdict = judge(problem, f"First we think about it. {answer_text(problem)}", finish=Finish.STOP)
        assert isinstance(verdict, Verdict) and verdict.value is Judgement.CORRECT, (row["id"], verdict)
        said = str(verdict.extracted)
        assert (read_label(said, choices)[0] if choices else said) == problem.answer
        count += 1
    assert count > 100


def test_star_asks_the_student_itself_with_the_answer_as_a_hint(run: Run, pupil: Any, teacher: Any) -> None:
    source, asked = teacher
    heard = pupil(
        lambda text, _: (
            "The answer is " + (text.split("(The answer is ")[1].split(".")[0] if "(The" in text else "-7") + "."
        )
    )
    bench, _ = run(Config(rounds=1, feedback="star"), teacher=source)
    assert asked == []
    hinted = [request for request in heard if "(The answer is " in request.messages[-1].content]
    first = reports(bench)[0]
    assert len(hinted) == first.mistakes > 0
    assert first.accepted == first.mistakes and first.requests == 0


@pytest.mark.parametrize("own", [False, True])
def test_own_right_texts_are_learnt_where_asked_for_and_cost_nothing(
    run: Run, pupil: Any, tiny: ModuleType, own: bool
) -> None:
    answers = {problem.question: problem.answer for problem in world.problems("train", tiny.PROBLEMS)[::2]}

    def says(text: str, _: int) -> str:
        known = next((answer for question, answer in answers.items() if question in text), None)
        return "The answer is -7." if known is None else f"Right. The answer is {known}."

    pupil(says)
    bench, _ = run(Config(rounds=1, own=own))
    learnt = {row.rationale_id for row in rows(bench, "3_examples", Example)}
    said = rows(bench, "1_rationales", Rationale)
    own_right = {row.id for row in said if row.origin is Origin.SELF and row.text.startswith("Right.")}
    assert own_right and bool(learnt & own_right) is own
    assert reports(bench)[0].requests == sum(row.origin is not Origin.SELF for row in said)


def test_the_teacher_is_asked_about_mistakes_alone_where_plain_is_false(run: Run, teacher: Any) -> None:
    source, asked = teacher
    bench, _ = run(Config(rounds=1, plain=False, reflection=0), teacher=source)
    assert asked and all("wrong response" in request.messages[-1].content for request in asked)
    learnt = {row.rationale_id for row in rows(bench, "3_examples", Example)}
    said = {row.id: row for row in rows(bench, "1_rationales", Rationale)}
    assert learnt and {said[name].origin for name in learnt} == {Origin.TAILORED}


def test_a_mistake_that_is_not_answered_is_left_out_for_a_reason(run: Run) -> None:
    bench, _ = run(Config(rounds=1, temperature=1e-4))  # nearly greedy: four samples are one text
    verdict = {row.rationale_id: row.value for row in rows(bench, "2_verdicts", Verdict)}
    texts = [row for row in rows(bench, "1_rationales", Rationale) if row.round == 1]
    answered = {row.parent for row in texts}
    lost = {row.item_id: row.reason for row in rows(bench, "3_dropped", Dropped, "-rows")}
    exam = rows(bench, "1_rationales", Rationale, "exam")
    wrong = [row for row in exam if row.round == 1 and verdict[row.id] is Judgement.WRONG]
    assert {lost.get(row.id) for row in wrong} == {None, "same text"}
    assert all((row.id in answered) is (row.id not in lost) for row in wrong)


def test_as_released_ends_mistakes_with_the_gold_answer_pads_prompts_and_lightens_the_seam(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    padded: list[bool] = []

    def loss(*args: Any, padded_prompts: bool, **more: Any) -> Any:
        padded.append(padded_prompts)
        return reflective_loss(*args, padded_prompts=padded_prompts, **more)

    monkeypatch.setattr(tailored, "reflective_loss", loss)
    clean, _ = run(Config(rounds=1))
    released, _ = run(Config(rounds=1, profile="as_released"))
    assert padded == [False, True]

    def of(bench: Any, role: Role) -> dict[str, Example]:
        return {e.rationale_id: e for e in bench.fits[-1].lesson.train.rows if e.role is role}

    ours, theirs = of(clean, Role.WRONG), of(released, Role.WRONG)
    assert ours.keys() == theirs.keys() and ours
    for name, example in theirs.items():
        assert len(example.target_ids) > len(ours[name].target_ids)
    for example in of(released, Role.ANCHOR).values():
        begin = len(example.prompt_ids)
        assert set(example.weights[: begin + tailored.SEAM]) == {0.1}
        assert set(example.weights[begin + tailored.SEAM :]) == {1.0}


def test_the_names_of_arms_tell_them_apart() -> None:
    configs = [
        Config(),
        Config(feedback="untailored"),
        Config(feedback="star"),
        Config(reflection=0),
        Config(inner={"name": "edit"}),
        Config(own=True),
        Config(plain=False),
    ]
    assert len({tailored.arm(config)[0] for config in configs}) == len(configs)
    assert tailored.control(Config()) == Config(feedback="untailored")
    assert tailored.control(Config(feedback="star")) is None
    assert tailored.asks(Config(rounds=2, samples=3), 50).further == 300
    assert tailored.asks(Config(feedback="star"), 50).further == 0
    bounded = tailored.asks(Config(rounds=2, samples=3, round_tokens=900, plain=False), 50)
    assert bounded == methods.Asks(further=300, tokens=1800, plain=False)
    mending = tailored.asks(Config(rounds=2, samples=3, round_tokens=900, inner={"name": "edit"}), 50)
    assert mending.further > 300 and mending.tokens is None, "what `inner` asks lies outside the bound of a round"
    assert tailored.asks(Config(), 50).tokens is None and tailored.asks(Config(), 50).plain


def test_a_vote_over_rounds_asks_what_they_ask() -> None:
    inner = {"name": "tailored", "rounds": 2, "samples": 3, "round_tokens": 900, "plain": False}
    alone = asc.asks(asc.Config(inner=inner, teacher=False), 50)
    assert alone == methods.Asks(further=300, tokens=1800, plain=False)
    assert asc.asks(asc.Config(inner=inner), 50).plain, "the ranker learns the teacher's rationales too"
    assert asc.asks(asc.Config(inner={"name": "plain_cot"}, teacher=False), 50) == methods.Asks()
    assert not asc.asks(asc.Config(student_run="elsewhere", slope=0), 50).plain, "without a ranker nothing is learnt"
