"""An ensemble on a tiny bench: whose member is whose, what is shared and paid once, the mean, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from tests.methods.rounds_bench import reports

from feints import methods
from feints.bench.inner import Makes, made_by
from feints.errors import SettingsError
from feints.evaluate.ensemble import Ensemble
from feints.evaluate.settings import ExamSettings
from feints.evaluate.solver import Majority, OneShot
from feints.generate.scripted import ScriptedSource
from feints.generate.source import Request
from feints.methods import asc, ensemble, fdd, plain_cot, potd, tailored
from feints.methods.ensemble import Config, seed_of
from feints.records import Form
from feints.verify import programs

ROUNDS: dict[str, Any] = {"name": "tailored", "rounds": 1, "reflection": 0, "plain": False, "round_tokens": 900}


def members(solver: Any) -> list[OneShot]:
    assert isinstance(solver, Majority)
    assert isinstance(solver.inner, Ensemble)
    return [one for one in solver.inner.members if isinstance(one, OneShot)]


@pytest.mark.slow
def test_each_member_is_what_its_method_trains_alone_with_its_seed(
    tiny: ModuleType, talker: Path, tmp_path: Path
) -> None:
    with tiny.tiny_bench(tmp_path / "all", talker, seed=3) as bench:
        together = members(ensemble.distil(bench, Config(members=2)))
        files = len(list(bench.run.path.rglob("*.safetensors")))
        first = plain_cot.distil(bench, plain_cot.Config())
        assert len(list(bench.run.path.rglob("*.safetensors"))) == files, "the first member is the method's own student"
    with tiny.tiny_bench(tmp_path / "alone", talker, seed=seed_of(3, 1)) as bench:
        second = plain_cot.distil(bench, plain_cot.Config())
    drawn = bench.exam.drawn
    for one, alone in zip(together, (first, second), strict=True):
        assert isinstance(alone, OneShot)
        alone.sampling = drawn
        assert one.identity == alone.identity
    assert together[0].identity != together[1].identity


@pytest.mark.slow
def test_members_pay_the_plain_question_once_and_own_mistakes_each(
    tiny: ModuleType, talker: Path, tmp_path: Path, teacher: tuple[ScriptedSource, list[Request]]
) -> None:
    source, asked = teacher

    def paid(config: Config) -> int:
        before = len(asked)
        with tiny.tiny_bench(tmp_path / f"{config.members}-{config.inner['name']}", talker, teacher=source) as bench:
            ensemble.distil(bench, config)
        return len(asked) - before

    assert paid(Config(members=1)) == paid(Config(members=3)) > 0
    rounds = {**ROUNDS, "rounds": 2, "round_tokens": None}
    assert paid(Config(members=1, inner=rounds)) < paid(Config(members=3, inner=rounds))


@pytest.mark.slow
def test_what_a_round_asked_counts_once_though_another_member_shares_it(
    tiny: ModuleType, talker: Path, tmp_path: Path
) -> None:
    with tiny.tiny_bench(tmp_path, talker, seed=3) as bench:
        ensemble.distil(bench, Config(members=2, inner=ROUNDS))
        first, second = [one for one in reports(bench) if one.round == 1 and one.requests]
    assert first.requests == second.requests
    rounds = [e for _, e in bench.run.outputs("6_report") if e.get("round") == 1]
    assert {entry["seed"] for entry in rounds} == {3, seed_of(3, 1)}


@pytest.mark.slow
def test_the_mean_is_one_student_with_the_mean_of_their_weights(tiny: ModuleType, talker: Path, tmp_path: Path) -> None:
    with tiny.tiny_bench(tmp_path, talker) as bench:
        each = members(ensemble.distil(bench, Config()))
        one = ensemble.distil(bench, Config(combine="mean"))
        assert isinstance(one, OneShot)
        assert one.sampling.temperature == 0
        voting = asc.distil(bench, asc.Config(inner={"name": "ensemble", "combine": "mean"}, slope=0.0, samples=2))
        assert voting.inner.student == one.student  # type: ignore[attr-defined]
    weights = [load_file(Path(str(shot.student)) / "model.safetensors") for shot in (*each, one)]
    for name, mean in weights.pop().items():
        torch.testing.assert_close(mean, torch.stack([own[name] for own in weights]).mean(0))


@pytest.mark.slow
def test_the_mean_is_asked_as_its_members_are(tiny: ModuleType, talker: Path, tmp_path: Path) -> None:
    with tiny.tiny_bench(tmp_path, talker) as bench:
        one = ensemble.distil(bench, Config(inner={"name": "potd"}, members=2, combine="mean"))
        alone = potd.distil(bench, potd.Config())
    assert isinstance(one, OneShot)
    assert isinstance(alone, OneShot)
    assert (one.form, one.prompt) == (alone.form, alone.prompt) == (Form.POT, programs.STUDENT)


@pytest.mark.slow
def test_a_mean_of_what_is_more_than_weights_is_refused(
    tiny: ModuleType, talker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain_cot, "makes", lambda config: Makes())
    with (
        tiny.tiny_bench(tmp_path, talker) as bench,
        pytest.raises(SettingsError, match=r"PadShot has layers of its own, .* method\.combine"),
    ):
        ensemble.distil(bench, Config(inner={"name": "plain_cot", "profile": "as_released"}, combine="mean"))


def test_seeds_of_members_are_those_of_no_other_member() -> None:
    drawn = [seed_of(seed, number) for seed in (*range(50), 1000, 2000) for number in range(8)]
    assert len(set(drawn)) == len(drawn)
    assert [seed_of(seed, 0) for seed in range(3)] == [0, 1, 2]


@pytest.mark.parametrize(("votes", "samples"), [(1, 2), (2, 48)])
def test_a_vote_in_which_some_have_no_voice_is_refused_before_anything_is_paid(
    tiny: ModuleType,
    talker: Path,
    tmp_path: Path,
    teacher: tuple[ScriptedSource, list[Request]],
    votes: int,
    samples: int,
) -> None:
    source, asked = teacher
    exam = ExamSettings(max_tokens=24, votes=votes, temperature=1.0)
    with (
        tiny.tiny_bench(tmp_path, talker, teacher=source, exam=exam) as bench,
        pytest.raises(SettingsError, match="2 samples of 3 students"),
    ):
        ensemble.distil(bench, Config(samples=samples))
    assert asked == []


def test_the_control_is_one_student_with_as_many_samples() -> None:
    control = ensemble.control(Config(members=5, samples=40))
    assert control is not None
    assert (control.members, control.samples) == (1, 40)


def test_a_method_inside_has_a_name() -> None:
    for kind in (Config, asc.Config, fdd.Config, tailored.Config):
        with pytest.raises(ValidationError, match="names no method; write it like"):
            kind(inner={"slope": 0})


def test_what_it_asks_is_what_each_member_asks_but_the_plain_question_once() -> None:
    config = Config(inner=ROUNDS)
    alone = methods.asked(tailored, tailored.Config(**{k: v for k, v in ROUNDS.items() if k != "name"}), 100)
    asked = methods.asked(ensemble, config, 100)
    assert alone.tokens is not None
    assert asked.tokens == 3 * alone.tokens
    assert asked.further == 3 * alone.further
    assert asked.plain == alone.plain
    assert methods.asked(ensemble, Config(), 100) == methods.asked(plain_cot, plain_cot.Config(), 100)


def test_what_has_no_mean_and_what_answers_by_several_texts_is_refused_before_anything_is_paid() -> None:
    with pytest.raises(SettingsError, match=r"no mean; set method\.combine to vote"):
        methods.asked(ensemble, Config(inner={"name": "nat"}, combine="mean"), 0)
    assert methods.asked(ensemble, Config(inner={"name": "nat"}), 10).plain
    with pytest.raises(SettingsError, match="several texts"):
        methods.asked(ensemble, Config(inner={"name": "asc"}), 0)
    for inner in (
        {"name": "tailored", "start": "restart", "inner": {"name": "nat"}},
        {"name": "fdd", "inner": {"name": "nat"}},
    ):
        with pytest.raises(SettingsError, match="no mean"):
            methods.asked(ensemble, Config(inner=inner, combine="mean"), 0)
    for combine in ("vote", "mean"):
        released = Config(inner={"name": "tailored"}, combine=combine)
        assert made_by(ensemble, released) == Makes(one_text=combine == "mean", causal=True)
    layered = Config(inner={"name": "plain_cot", "profile": "as_released"})
    assert made_by(ensemble, layered) == replace(
        made_by(plain_cot, plain_cot.Config(profile="as_released")), one_text=False
    )
