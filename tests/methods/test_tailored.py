"""Tailored learning on a tiny bench: TAIL-P10 to P14, what is asked, learnt, kept, and what rounds cost."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from feints.bench import asking
from feints.config import Settings
from feints.curate.examples import answer_text
from feints.curate.leak import remove_leaks
from feints.curate.settings import CurateSettings
from feints.errors import SettingsError
from feints.evaluate.rounds import RoundReport
from feints.evaluate.settings import ExamSettings
from feints.evaluate.solver import load_solver
from feints.generate.budget import Budget
from feints.generate.prompt import Prompt
from feints.generate.scripted import ScriptedSource
from feints.generate.source import Request
from feints.generate.weights import load_weights
from feints.lab import world
from feints.methods import tailored
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
from feints.runs import read_table
from feints.verify.judge import judge
from feints.verify.options import read_label

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "qa"
Config = tailored.Config
Run = Callable[..., tuple[Any, Any]]


@pytest.fixture
def run(tiny: ModuleType, talker: Path, tmp_path: Path) -> Run:
    def go(config: Settings, folder: Path = tmp_path, student: Path = talker, **changed: Any) -> tuple[Any, Any]:
        with tiny.tiny_bench(folder, student, **changed) as bench:
            return bench, tailored.distil(bench, config)

    return go


@pytest.fixture
def pupil(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str, int], str]], list[Request]]:
    """Lets a function of question and round trained in answer as the student; returns what it was asked."""

    def play(says: Callable[[str, int], str]) -> list[Request]:
        asked: list[Request] = []
        real = asking.opened

        def opened(bench: Any, who: Any) -> Any:
            if not isinstance(who, Path):
                return real(bench, who)
            trained = re.search(r"round_(\d)", str(who))

            def handler(request: Request) -> str:
                asked.append(request)
                return says(request.messages[-1].content, int(trained[1]) if trained else 0)

            return nullcontext(ScriptedSource(handler, f"pupil {who}"))

        monkeypatch.setattr(asking, "opened", opened)
        return asked

    return play


@pytest.fixture
def teacher(tiny: ModuleType) -> tuple[ScriptedSource, list[Request]]:
    """The lab's teacher, and everything it is asked."""
    from feints.lab.teacher import LabTeacher

    asked: list[Request] = []
    inner = ScriptedSource.from_responder(LabTeacher().respond, "lab")

    def handler(request: Request) -> Any:
        asked.append(request)
        return inner._handler(request)

    return ScriptedSource(handler, "watched lab"), asked


def rows(bench: Any, stage: str, record: Any, what: str = "") -> list[Any]:
    return [row for path, e in bench.run.outputs(stage) if what in e["label"] for row in read_table(path, record)]


def reports(bench: Any) -> list[RoundReport]:
    return sorted(rows(bench, "6_report", RoundReport), key=lambda row: row.round)


def gold(bench_problems: Any, question: str) -> str:
    return next(problem.answer for problem in bench_problems if problem.question in question)


def test_tail_p10_a_student_without_mistakes_asks_nothing_of_the_teacher(
    tiny: ModuleType, talker: Path, tmp_path: Path, pupil: Any, teacher: Any
) -> None:
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
        if example.role is Role.WRONG:
            assert verdict.value is Judgement.WRONG and verdict.extracted is not None and row.origin is Origin.SELF
        else:
            assert verdict.value is Judgement.CORRECT and row.origin is not Origin.SELF
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
    tiny: ModuleType, talker: Path, tmp_path: Path, teacher: Any
) -> None:
    source, asked = teacher
    tests = tiny.exam_problems(8)
    with tiny.tiny_bench(tmp_path, talker, teacher=source) as bench:
        leaked = [*bench.problems, *(replace(problem, split="train") for problem in tests)]
        clean = remove_leaks(leaked, {"test": tests}, ngram=None)
        assert len(clean.dropped) == len(tests)
        stored = replace(bench.problems, rows=clean.kept)
        tailored.distil(replace(bench, problems=stored), Config(rounds=1))
    names = {problem.id for problem in tests}
    assert not names & {row.problem_id for row in rows(bench, "1_rationales", Rationale)}
    assert not [r for r in asked for problem in tests if problem.question in r.messages[-1].content]


SETS = {
    "gsm8k": ("gsm8k_train.jsonl.gz", AnswerKind.NUMBER),
    "svamp": ("svamp.jsonl.gz", AnswerKind.NUMBER),
    "multiarith": ("mawps_family.jsonl.gz", AnswerKind.NUMBER),
    "strategy_qa": ("strategy_qa.jsonl.gz", AnswerKind.BOOLEAN),
    "commonsense_qa": ("commonsense_qa_train.jsonl.gz", AnswerKind.CHOICE),
}


@pytest.mark.parametrize("name", SETS)
def test_tail_p14_a_rationale_with_an_answer_gives_it_back(name: str) -> None:
    file, kind = SETS[name]
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
        if choices:
            assert read_label(str(verdict.extracted), choices)[0] == problem.answer
        count += 1
    assert count > 100


def test_held_back_problems_sit_exams_and_teach_nothing(run: Run) -> None:
    bench, _ = run(Config(rounds=2))
    tables = bench.run.outputs("3_examples")
    held = {
        example.problem_id
        for path, entry in tables
        if entry["label"].endswith("-validation")
        for example in read_table(path, Example)
    }
    texts = rows(bench, "1_rationales", Rationale)
    assert held and held <= {row.problem_id for row in texts if row.origin is Origin.SELF}
    assert not held & {row.problem_id for row in texts if row.origin is Origin.TAILORED}
    assert reports(bench)[0].held_back_counted > 0


def test_every_round_is_a_folder_with_its_exam_funnel_cost_and_curve(run: Run) -> None:
    bench, _ = run(Config(rounds=2))
    for number in (1, 2):
        folder = bench.run.path / f"round_{number}"
        for pattern in ("1_rationales/exam-*", "2_verdicts/feedback-*", "3_dropped/*funnel*", "6_report/*"):
            assert len(list(folder.glob(pattern))) == 1, pattern
        assert len(list(folder.glob("4_student/*/training/metrics.jsonl"))) == 1
    first, second, last = reports(bench)
    assert first.requests > second.requests > 0 and second.prompt_tokens > 0
    assert last.samples == 0 and last.held_back_counted == first.held_back_counted
    texts = [row for row in rows(bench, "1_rationales", Rationale) if row.author == bench.teacher.identity]
    assert first.requests + second.requests == len(texts)
    assert first.completion_tokens + second.completion_tokens == sum(row.completion_tokens for row in texts)


def test_the_best_student_on_problems_held_back_is_returned(
    tiny: ModuleType, talker: Path, tmp_path: Path, pupil: Any
) -> None:
    def says(text: str, trained: int) -> str:
        return f"The answer is {int(gold(bench.problems, text)) + (trained != 1)}."

    with tiny.tiny_bench(tmp_path, talker) as bench:
        pupil(says)
        solver = tailored.distil(bench, Config(rounds=3))
    # The second student answers everything: no further round is needed, and it is the best.
    assert "round_1/" in str(solver.student) and len(bench.fits) == 1
    assert [report.outcome for report in reports(bench)] == ["trained", "no mistakes"]


def test_a_student_made_worse_by_training_is_not_returned(
    tiny: ModuleType, talker: Path, tmp_path: Path, pupil: Any
) -> None:
    def says(text: str, trained: int) -> str:
        # Some mistakes at first, nothing but mistakes after training.
        wrong = trained or Counter(text)["e"] % 2
        return f"The answer is {int(gold(bench.problems, text)) + bool(wrong)}."

    with tiny.tiny_bench(tmp_path, talker) as bench:
        pupil(says)
        solver = tailored.distil(bench, Config(rounds=2))
    assert solver.student == talker
    assert len(bench.fits) == 2


@pytest.mark.parametrize("requests", [60, 120])
def test_a_run_that_meets_its_cap_ends_with_a_student(run: Run, requests: int) -> None:
    bench, solver = run(Config(rounds=3), budget=Budget(requests=requests))
    spent = sum(report.requests for report in reports(bench))
    assert spent == requests == bench.budget.spent.requests
    assert any("budget allowed" in report.outcome for report in reports(bench))
    assert len([report for report in reports(bench) if report.requests]) == 1
    assert solver.student.is_dir() and bench.notices


def test_tokens_of_a_round_are_bounded_alike_for_seen_and_unseen_mistakes(run: Run, tmp_path: Path) -> None:
    used = []
    for place, feedback in enumerate(("tailored", "untailored")):
        bench, _ = run(Config(rounds=2, feedback=feedback, round_tokens=4000), tmp_path / str(place))
        second = reports(bench)[1]
        used.append(second.prompt_tokens + second.completion_tokens)
    assert used == pytest.approx([4000, 4000], rel=0.06)


def test_replacing_data_learns_from_this_round_alone(run: Run) -> None:
    bench, _ = run(Config(rounds=2, data="replace"))
    kept = reports(bench)
    assert kept[1].learnt == kept[1].accepted
    bench, _ = run(Config(rounds=2))
    grown = reports(bench)
    assert {row.learnt for row in grown} >= {grown[0].accepted}
    assert max(row.learnt for row in grown) > max(row.accepted for row in grown)


def test_rounds_go_on_from_the_last_student_or_begin_anew(run: Run, talker: Path) -> None:
    starts = []
    for start in ("continue", "restart"):
        bench, _ = run(Config(rounds=2, start=start))
        starts.append([fitted.learner().model for fitted in bench.fits])
    fresh = load_weights(talker).model.state_dict()
    for models, same in zip(starts, (False, True), strict=True):
        assert all(torch.equal(value, fresh[name]) for name, value in models[0].state_dict().items())
        assert all(torch.equal(value, fresh[name]) for name, value in models[1].state_dict().items()) is same


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


def test_another_method_trains_inside_a_round_on_its_rationales(run: Run, teacher: Any) -> None:
    source, asked = teacher
    bench, solver = run(Config(rounds=2, inner={"name": "plain_cot"}), teacher=source)
    plain = {request.key("") for request in asked}
    assert len(plain) == len(asked), "the method inside asked again"
    examples = [path for path, e in bench.run.outputs("3_examples") if "round_2" in str(path) and "train" in e["label"]]
    learnt = {example.rationale_id for example in read_table(examples[0], Example)}
    origins = {row.origin for row in rows(bench, "1_rationales", Rationale) if row.id in learnt}
    assert origins == {Origin.SAMPLED, Origin.TAILORED}
    assert "round_" in str(solver.student)


def test_a_method_that_cannot_train_inside_is_refused_before_anything_is_paid(run: Run, teacher: Any) -> None:
    source, asked = teacher
    for inner in ({"name": "plane_cot"}, {"name": "plain_cot", "targit": 1}, {}):
        with pytest.raises(SettingsError):
            run(Config(inner=inner), teacher=source)
    assert asked == []


def test_a_round_of_which_nothing_right_came_back_is_the_last(run: Run, talker: Path) -> None:
    def says(request: Request) -> str:
        asked.append(request)
        return "It may be this. The answer is -1."

    asked: list[Request] = []
    bench, solver = run(Config(rounds=3), teacher=ScriptedSource(says, "always wrong"))
    first, last = reports(bench)
    assert (first.outcome, first.accepted, first.learnt) == ("nothing right came back", 0, 0)
    assert first.mistakes and first.requests == len(asked) and last.samples == 0
    assert bench.fits == [] and solver.student == talker


def test_a_budget_of_nothing_ends_with_the_untrained_student(run: Run, talker: Path) -> None:
    bench, solver = run(Config(rounds=3), budget=Budget(requests=0))
    first, _ = reports(bench)
    assert (first.outcome, first.requests) == ("the budget allowed nothing", 0)
    assert bench.fits == [] and solver.student == talker and bench.notices


def test_texts_that_cannot_be_judged_are_no_success(
    tiny: ModuleType, talker: Path, tmp_path: Path, pupil: Any, teacher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, asked = teacher
    with tiny.tiny_bench(tmp_path, talker, teacher=source) as bench:
        pupil(lambda *_: "The answer is 1.")
        unsure = Verdict(
            rationale_id="",
            value=Judgement.NOT_CHECKED,
            lenient=Judgement.NOT_CHECKED,
            extracted=None,
            checker="number",
            reason="out of time",
        )
        monkeypatch.setattr(bench.pool, "check_all", lambda items, *_: [unsure for _ in items])
        solver = tailored.distil(bench, Config())
    (report,) = reports(bench)
    assert report.not_checked + report.held_back_counted == report.samples and report.right == 0
    assert report.outcome == "nothing could be judged" and asked == [] and solver.student == talker


@pytest.mark.parametrize("data", ["accumulate", "replace"])
def test_a_twin_finds_every_round_again_in_the_tables(run: Run, data: Any) -> None:
    """What each round asked and learnt, and which student is the best, from raw rows alone."""
    bench, solver = run(Config(rounds=2, data=data))
    verdict = {row.rationale_id: row.value for row in rows(bench, "2_verdicts", Verdict)}
    texts = list({row.id: row for row in rows(bench, "1_rationales", Rationale)}.values())
    final = bench.run.path.glob("final_exam/1_rationales/*.parquet")
    held = {row.problem_id for path in final for row in read_table(path, Rationale)}
    learnt: set[str] = set()
    mistakes: set[str] = set()
    students, shares = [bench.student.model], []
    for number in (1, 2):
        if data == "replace":
            learnt, mistakes = set(), set()
        own = [row for row in texts if row.origin is Origin.SELF and row.round == number]
        judged = [row for row in own if row.problem_id in held and verdict[row.id] is not Judgement.NOT_CHECKED]
        shares.append(sum(verdict[row.id] is Judgement.CORRECT for row in judged) / len(judged))
        wrong = {
            (row.problem_id, " ".join(row.text.split())): row.id
            for row in reversed(own)
            if verdict[row.id] is Judgement.WRONG and row.problem_id not in held
        }
        answers = [row for row in texts if row.origin is Origin.TAILORED and row.round == number]
        assert Counter(row.parent for row in answers) == Counter(wrong.values())
        told = answers + [row for row in texts if row.origin is Origin.SAMPLED and number == 1]
        learnt |= {row.id for row in told if verdict[row.id] is Judgement.CORRECT}
        mistakes |= set(wrong.values())
        fitted = bench.fits[number - 1].lesson
        examples = [*fitted.train.rows, *fitted.validation.rows]
        assert Counter(e.rationale_id for e in examples if e.role in (Role.RIGHT, Role.ANCHOR)) == Counter(learnt)
        assert {e.problem_id for e in fitted.validation.rows} <= held and not held & {
            e.problem_id for e in fitted.train.rows
        }
        by_id = {row.id: row for row in texts}
        sharing = {row for row in learnt if any(by_id[n].problem_id == by_id[row].problem_id for n in mistakes)}
        twice = {
            row
            for row in sharing
            if any(by_id[o].problem_id == by_id[row].problem_id and by_id[o].text != by_id[row].text for o in learnt)
        }
        assert {e.rationale_id for e in examples if e.role is Role.ANCHOR} == twice
        assert {e.rationale_id for e in examples if e.role is Role.WRONG} <= mistakes
        assert {e.rationale_id for e in examples if e.role is Role.POSITIVE} <= learnt
        students.append(next(bench.run.path.glob(f"round_{number}/4_student/tiny-round_{number}-*/student")))
    last = [row for row in texts if row.round == 3]
    shares.append(sum(verdict[row.id] is Judgement.CORRECT for row in last) / len(last))
    best = max(range(3), key=lambda place: (shares[place], place))
    assert Path(solver.student) == Path(students[best])


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


@pytest.mark.slow
def test_nat_inside_a_round_sits_the_exam_through_its_units(run: Run, tmp_path: Path) -> None:
    bench, solver = run(Config(rounds=2, inner={"name": "nat", "width": 4}), curate=CurateSettings(validation=0.0))
    assert type(solver).__name__ == "NatSolver" and "round_2/" in str(solver.student)
    texts = rows(bench, "1_rationales", Rationale)
    authors = {row.author for row in texts if row.origin is Origin.SELF}
    assert len(authors) == 2, "the untrained student and the NAT of round 1"
    examples = rows(bench, "3_examples", Example, "neg-train")
    origins = {row.id: row.origin for row in texts}
    assert {origins[example.rationale_id] for example in examples} == {Origin.SELF}, "NEG learns own mistakes"
    solver.save(tmp_path / "kept")
    problems = bench.problems.rows[:2]
    assert [a.text for a in load_solver(tmp_path / "kept").solve(problems, 0)] == [
        a.text for a in solver.solve(problems, 0)
    ]


def test_a_method_of_several_students_cannot_sit_an_exam_and_says_so(run: Run) -> None:
    with pytest.raises(SettingsError, match="a round examines one student"):
        run(Config(rounds=1, inner={"name": "sci_cot"}))


@pytest.mark.slow
def test_edit_inside_a_round_pairs_own_mistakes_with_tailored_rationales(run: Run) -> None:
    bench, _ = run(Config(rounds=2, inner={"name": "edit"}))
    texts = {row.id: row for row in rows(bench, "1_rationales", Rationale)}
    examples = rows(bench, "3_examples", Example, "-train")
    wrong = {texts[example.rationale_id].origin for example in examples if example.role is Role.WRONG}
    assert Origin.SELF in wrong


def test_votes_pass_through(run: Run) -> None:
    _, solver = run(Config(rounds=1), exam=ExamSettings(max_tokens=16, votes=3, temperature=1.0))
    assert solver.samples == 3


def test_as_released_ends_mistakes_with_the_gold_answer_and_lightens_the_seam(run: Run) -> None:
    clean, _ = run(Config(rounds=1))
    released, _ = run(Config(rounds=1, profile="as_released"))

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
    assert tailored.further_requests(Config(rounds=2, samples=3), 50) == 300
    assert tailored.further_requests(Config(feedback="star"), 50) == 0
