"""Rounds of tailored learning: what they keep, cost and return, and other methods inside them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from tests.methods.rounds_bench import Config, Run, gold, reports, rows

from feints.bench.inner import Makes
from feints.bench.rounds import ask_within
from feints.curate.settings import CurateSettings
from feints.errors import SettingsError
from feints.evaluate.settings import ExamSettings
from feints.evaluate.solver import load_solver
from feints.generate.budget import Budget
from feints.generate.scripted import ScriptedSource
from feints.generate.source import Request
from feints.generate.weights import load_weights
from feints.methods import multi_task, tailored
from feints.records import (
    Example,
    Judgement,
    Origin,
    Rationale,
    Role,
    Verdict,
)
from feints.tables import read_table


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


def test_problems_held_back_are_asked_once_and_greedily(
    tiny: ModuleType, talker: Path, tmp_path: Path, pupil: Any
) -> None:
    with tiny.tiny_bench(tmp_path, talker) as bench:
        asked = pupil(lambda text, trained: "The answer is 0.")
        tailored.distil(bench, Config(rounds=1, samples=2))
        held = {row.problem_id for row in rows(bench, "1_rationales", Rationale, "held-back")}
    texts = [problem.question for problem in bench.problems if problem.id in held]
    for request in asked:
        is_held = any(text in request.messages[-1].content for text in texts)
        assert (request.sampling.temperature, request.sample_index < 1 or not is_held) == (float(not is_held), True)


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


def test_refusals_that_cost_nothing_leave_the_price_of_a_reply_unknown() -> None:
    class Told(list[Any]):
        address = "told"

    def ask(part: int, some: Any) -> Any:
        sizes.append(len(some))
        return [("told", Told([SimpleNamespace(prompt_tokens=0, completion_tokens=0)] * len(some)))]

    sizes: list[int] = []
    ask_within(SimpleNamespace(stopped={}), list(range(40)), 900, 300.0, ask)  # type: ignore[arg-type]
    assert sum(sizes) == 40 and max(sizes) <= 3


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
    for inner in ({"name": "plane_cot"}, {"name": "plain_cot", "targit": 1}):
        with pytest.raises(SettingsError):
            run(Config(inner=inner), teacher=source)
    assert asked == []


def test_settings_of_the_loss_that_inner_takes_the_place_of_are_refused() -> None:
    with pytest.raises(ValueError, match="a loss of its own, without margin, reflection; leave that out"):
        Config(inner={"name": "edit"}, margin=2, reflection=1)
    assert Config(**Config(inner={"name": "edit"}, reflection=0).model_dump()).inner, "off, or as it is by itself"


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


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        ({"name": "sci_cot"}, "answers by several texts"),
        ({"name": "asc"}, "answers by several texts"),
        ({"name": "kpdd"}, "answers by several texts"),
        ({"name": "kpdd", "stages": 1}, "another question"),
        ({"name": "potd"}, "another question"),
        ({"name": "multi_task"}, "another question"),
        ({"name": "etd", "order": "cot_only"}, "another question"),
    ],
)
def test_a_student_that_the_exam_would_ask_otherwise_is_refused_before_anything_is_paid(
    run: Run, teacher: Any, inner: dict[str, Any], words: str
) -> None:
    source, asked = teacher
    with pytest.raises(SettingsError, match=words):
        run(Config(rounds=1, inner=inner), teacher=source)
    assert asked == []


def test_a_student_behind_a_prompt_of_its_own_is_not_examined_behind_another(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A method of another package need not say what it makes."""
    monkeypatch.setattr(multi_task, "makes", lambda config: Makes())
    with pytest.raises(SettingsError, match="multi_task_rationale"):
        run(Config(rounds=1, inner={"name": "multi_task"}))


def test_rationales_of_a_round_stand_in_for_the_plain_question_alone(run: Run, teacher: Any) -> None:
    source, asked = teacher
    bench, _ = run(Config(rounds=1, inner={"name": "edit", "first": "repeated", "second": "none"}), teacher=source)
    drawn = {label: rows(bench, "1_rationales", Rationale, label) for label in ("round", "repeated")}
    assert drawn["repeated"] and not {r.id for r in drawn["round"]} & {r.id for r in drawn["repeated"]}
    assert {row.ledger_key for row in drawn["repeated"]} <= {request.key(source.identity) for request in asked}


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


def test_the_mean_of_the_last_rounds_sits_the_exam_and_is_what_it_says(run: Run, tmp_path: Path) -> None:
    """Three rounds; the weights returned without problems held back are the mean of the last two, by naive sums."""
    free = CurateSettings(validation=0.0)
    bench, solver = run(Config(rounds=3, mean_of=2), tmp_path / "free", curate=free)
    trained = [load_weights(next(bench.run.path.glob(f"round_{n}/4_student/*/student"))).model for n in (2, 3)]
    mean = load_weights(solver.student).model.state_dict()
    for name, value in mean.items():
        naive = sum(model.state_dict()[name] for model in trained) / 2
        torch.testing.assert_close(value, naive)
    assert not all(torch.equal(value, trained[1].state_dict()[name]) for name, value in mean.items())
    made = (solver.student / "model.safetensors").stat().st_mtime_ns
    _, same = run(Config(rounds=3, mean_of=2), tmp_path / "free", curate=free)
    assert same.student == solver.student and (same.student / "model.safetensors").stat().st_mtime_ns == made
    bench, _ = run(Config(rounds=2, mean_of=2), tmp_path / "held")
    assert [row.outcome for row in reports(bench)][-1] == "exam of the mean of 2 rounds' weights"
    assert reports(bench)[-1].held_back_counted == reports(bench)[-2].held_back_counted > 0


def test_rounds_that_end_without_mistakes_leave_a_mean_too(
    tiny: ModuleType, talker: Path, tmp_path: Path, pupil: Any
) -> None:
    def says(text: str, trained: int) -> str:
        return f"The answer is {int(gold(bench.problems, text)) + (trained != 2)}."

    for validation, last in ((0.0, "no mistakes"), (0.15, "exam of the mean of 2 rounds' weights")):
        curate = CurateSettings(validation=validation, near_duplicate=None)
        with tiny.tiny_bench(tmp_path / str(validation), talker, curate=curate) as bench:
            pupil(says)
            solver = tailored.distil(bench, Config(rounds=4, mean_of=2))
        assert len(bench.fits) == 2
        assert [report.outcome for report in reports(bench)][2] == "no mistakes"
        assert reports(bench)[-1].outcome == last
        (mean,) = bench.run.path.glob("4_student/*mean*")
        # The scripted pupil knows nothing after the mean, so that where problems are held back round 2 is better.
        assert str(solver.student).startswith(str(mean)) is not bool(validation)


def test_students_with_layers_of_their_own_have_no_mean_and_nothing_is_paid(run: Run, teacher: Any) -> None:
    source, asked = teacher
    with pytest.raises(SettingsError, match=r"set method\.mean_of to 1"):
        run(Config(rounds=2, mean_of=2, inner={"name": "nat", "width": 4}), teacher=source)
    assert asked == []


def test_a_mean_of_one_round_is_that_round(run: Run) -> None:
    bench, solver = run(Config(rounds=1, mean_of=3), curate=CurateSettings(validation=0.0))
    assert "round_1/" in str(solver.student) and not list(bench.run.path.glob("4_student/*mean*"))
