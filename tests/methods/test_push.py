"""NT, UL, CL and MIX: each loss against a naive twin, and equal however a step is cut, padded or ordered."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from feints.curate.choice import Chosen
from feints.curate.funnel import Funnel
from feints.curate.piles import Piles
from feints.errors import DataError, EmptyPileError
from feints.methods import mix, push
from feints.records import AnswerKind, Example, Problem, Rationale, Role
from feints.runs import Stored
from feints.train.losses import weighted_nll

TERMS: tuple[push.Term, ...] = ("negative_training", "unlikelihood", "contrastive")
CASES = [(family, rows, micro) for family in ("llama", "gpt2") for rows in ("packed", "padded") for micro in (40, 9999)]
CASES += [("t5", "padded", 40), ("t5", "padded", 9999)]


def grouped(examples: list[Example]) -> list[Example]:
    """Two right and two wrong candidates of some problems, one kind only of others."""
    kinds = [Role.RIGHT, Role.WRONG, Role.WRONG, Role.RIGHT, Role.RIGHT, Role.RIGHT, Role.WRONG, Role.RIGHT, Role.WRONG]
    names = ["a", "a", "a", "a", "b", "b", "c", "d", "d"]
    return [
        replace(e, role=kind, group=name, problem_id=name) for e, kind, name in zip(examples, kinds, names, strict=True)
    ]


def twin(term: str, weight: float) -> Any:
    """The equations of the module docstring, from the log-probabilities of one text at a time."""

    def value(texts: list[tuple[Tensor, Tensor, Example]]) -> Tensor:
        own = [(logps[-len(e.target_ids) :], e) for logps, _, e in texts]
        right = [logps for logps, e in own if e.role is Role.RIGHT]
        wrong = [logps for logps, e in own if e.role is Role.WRONG]
        total = -torch.cat(right).mean()
        if term == "negative_training":
            return total + weight * torch.cat(wrong).mean()
        if term == "unlikelihood":
            chances = torch.stack([logps.mean().exp() for logps in wrong])
            return total - weight * torch.log(1 - chances).mean()
        names, parts = list(dict.fromkeys(e.group for _, e in own)), []
        for name in names:
            inside = [(logps.mean().exp(), e.role) for logps, e in own if e.group == name]
            good = [chance for chance, role in inside if role is Role.RIGHT]
            if 0 < len(good) < len(inside):
                parts.append(-torch.log(sum(good) / sum(chance for chance, _ in inside)))
        return total + weight * torch.stack(parts).sum() / len(names)

    return value


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize(("family", "rows", "micro"), CASES)
def test_the_losses_are_their_equations(
    term: push.Term,
    family: str,
    rows: str,
    micro: int,
    make_student: Any,
    make_examples: Any,
    step_gradients: Any,
    naive_gradients: Any,
    assert_same: Any,
) -> None:
    student = make_student(family)
    examples = grouped(make_examples(student, count=9))
    expected = naive_gradients(student, examples, twin(term, 0.3))
    for order in (examples, examples[::-1]):
        assert_same(step_gradients(student, order, push.push_loss(term, 0.3), rows=rows, micro=micro), expected)


@pytest.mark.parametrize("term", TERMS)
def test_the_control_is_imitation_of_the_right_rationales(
    term: push.Term, make_student: Any, make_examples: Any, step_gradients: Any, assert_same: Any
) -> None:
    student = make_student("llama")
    examples = grouped(make_examples(student, count=9))
    right = [e for e in examples if e.role is Role.RIGHT]
    assert_same(
        step_gradients(student, examples, push.push_loss(term, 0.0)), step_gradients(student, right, weighted_nll())
    )


def test_golden_unlikelihood_and_contrast() -> None:
    nats = torch.tensor([math.log(2.0), math.log(4.0)])
    torch.testing.assert_close(push.unlikelihood(nats), torch.tensor([math.log(2.0), math.log(4 / 3)]))
    assert push.unlikelihood(torch.tensor([0.0])).isfinite().all()

    class One:
        groups = 1
        group_index = torch.zeros(3, dtype=torch.long)

        def role_mask(self, role: Role) -> Tensor:
            return torch.tensor([True, False, False])

    scores = torch.tensor([0.5, 0.25, 0.25]).log()
    assert push.contrast(scores, One()).item() == pytest.approx(math.log(2.0))  # type: ignore[arg-type]


def test_at_most_eight_candidates_of_a_problem_in_turn() -> None:
    right = [Rationale(id=f"r{n}", problem_id="p", text="") for n in range(9)]
    wrong = [Rationale(id=f"w{n}", problem_id="p", text="") for n in range(2)]
    chosen = [row.id for row in push.candidates(right, wrong)]
    assert chosen == ["r0", "w0", "r1", "w1", "r2", "r3", "r4", "r5"]


@pytest.mark.parametrize("term", TERMS)
def test_pushing_wants_both_sides(term: push.Term) -> None:
    row = Rationale(id="r", problem_id="p", text="")

    def bench(*, right: int, wrong: int) -> Any:
        piles = Piles(right=(row,) * right, wrong=(row,) * wrong, rejected=())
        funnel = Funnel().start("sampled", "rationales", right)
        chosen = Chosen(piles=piles, validation=frozenset(), funnel=funnel, dropped=())
        return SimpleNamespace(
            ask=lambda *_: None, judge=lambda *_: None, choose=lambda *_: chosen, stopped={}
        )  # and nothing to train with

    with pytest.raises(EmptyPileError, match="0 examples are left to learn from"):
        push.distil(bench(right=0, wrong=4), push.Config(term=term))
    with pytest.raises(DataError, match=f"{term}: none of the teacher's rationales is wrong"):
        push.distil(bench(right=4, wrong=0), push.Config(term=term))


@pytest.mark.slow
def test_every_term_runs_and_its_control_learns_from_the_same_examples(
    tiny: ModuleType, talker: Path, tmp_path: Path
) -> None:
    with tiny.tiny_bench(tmp_path, talker) as bench:
        for term in TERMS:
            config = push.Config(term=term)
            push.distil(bench, config)
            control = push.control(config)
            assert control is not None
            push.distil(bench, control)
            used, held = bench.fits[-2:]
            assert used.lesson.train.address == held.lesson.train.address
            roles = {e.role for e in used.lesson.train.rows}
            assert roles == {Role.RIGHT, Role.WRONG}
            assert all((e.weights[-1] < 0) is (e.role is Role.WRONG) for e in used.lesson.train.rows)
            assert all(bool(e.group) is (term == "contrastive") for e in used.lesson.train.rows)


@pytest.mark.slow
def test_mix_learns_both_piles_and_its_control_takes_as_many_steps(
    tiny: ModuleType, talker: Path, tmp_path: Path
) -> None:
    with tiny.tiny_bench(tmp_path, talker) as bench:
        for learn in ("both", "wrong"):
            mix.distil(bench, mix.Config(learn=learn))
            mix.distil(bench, mix.control(mix.Config(learn=learn)))
        both, right, wrong, right_as_wrong = (fitted.lesson for fitted in bench.fits)
        for learnt, held_against in ((both, right), (wrong, right_as_wrong)):
            assert len(learnt.train) == len(held_against.train) > 0
            assert len(learnt.validation) == len(held_against.validation) > 0
        assert len(both.train) > len(wrong.train)
        assert {e.rationale_id for e in right_as_wrong.train} <= {e.rationale_id for e in right.train}
        assert {e.role for e in both.train} == {Role.RIGHT, Role.WRONG}
        assert {e.role for e in right.train} == {Role.RIGHT} and {e.role for e in wrong.train} == {Role.WRONG}
        assert len({e.id for e in right.train}) == len(right.train)
        assert all(set(e.weights[len(e.prompt_ids) :]) == {1.0} for e in both.train)
        with pytest.raises(DataError, match="worked solution"):
            mix.distil(bench, mix.Config(learn="gold"))


@pytest.mark.slow
def test_the_control_of_human_solutions_takes_as_many_steps(tiny: ModuleType, talker: Path, tmp_path: Path) -> None:
    with tiny.tiny_bench(tmp_path, talker) as bench:
        solved = [replace(problem, solution=f"It is {problem.answer}.") for problem in bench.problems]
        human = replace(bench, problems=replace(bench.problems, rows=tuple(solved)))
        gold = mix.Config(learn="gold")
        for config in (gold, mix.control(gold)):
            mix.distil(human, config)
        learnt, held_against = (fitted.lesson for fitted in bench.fits)
    assert len(learnt.train) == len(held_against.train) and len(learnt.train) + len(learnt.validation) == len(solved)
    assert {e.target_ids for e in learnt.train}.isdisjoint(e.target_ids for e in held_against.train)


def test_the_control_of_each_pile_is_told_apart_and_that_of_both_keeps_its_name() -> None:
    configs = [mix.Config(learn=learn) for learn in ("both", "wrong", "gold")]
    controls = [mix.control(config) for config in configs]
    assert [mix.arm(control)[0] for control in controls] == ["right_only", "right_only_as_wrong", "right_only_as_gold"]
    assert controls[0] == mix.Config(learn="right"), "as recorded runs name it"
    assert [mix.control(control) for control in controls] == [None] * 3
    released = mix.control(mix.Config(profile="as_released"))
    assert released is not None and mix.arm(released)[0] == "right_only_released"


def test_gold_solutions_are_rationales_of_the_data_set() -> None:
    made = [
        Problem(id=name, question="?", answer="3", answer_kind=AnswerKind.NUMBER, task="", split="train", solution=own)
        for name, own in (("a", "1 + 2 = 3"), ("b", None))
    ]
    (row,) = mix.solutions(Stored(tuple(made), "", Path()))
    assert (row.problem_id, row.text, row.origin) == ("a", "1 + 2 = 3", "gold")
