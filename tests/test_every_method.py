"""What every method on the shelf gets tested for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from feints import methods
from feints.config import Settings
from feints.errors import SettingsError
from feints.evaluate.settings import ExamSettings
from feints.evaluate.solver import Solver, load_solver
from feints.generate.weights import hash_files

MOST_LINES = 300
TRIED_ELSEWHERE = {
    ("feints.methods.redi", "profile"): "the lab's teacher leaves nothing undecided",
    ("feints.methods.edit", "alignment"): "the few pairs of the tiny bench have the same shortest edits either way",
}
"""Settings that have nothing to act on in the lab; the method's own tests try them."""
Runs = Callable[..., tuple[Any, Solver]]


@pytest.fixture(scope="module", params=methods.names())
def method(request: pytest.FixtureRequest) -> Any:
    return methods.find(request.param)


@pytest.fixture(scope="module")
def runs(method: Any, tiny: ModuleType, talker: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Distils on a tiny bench; configs share a run folder, so each costs only what it changes."""
    shared = tmp_path_factory.mktemp("runs")
    known = {prompt for name in methods.names() for prompt in methods.prompts_of(methods.find(name))}

    def run(config: Any, folder: Path = shared, **changed: Any) -> tuple[Any, Solver]:
        with tiny.tiny_bench(folder, talker, **changed) as bench:
            solver = method.distil(bench, config)
            assert bench.prompt_ids <= known, "a prompt outside the file's namespace cannot be replaced by its id"
            return bench, solver

    return run


@pytest.fixture(scope="module")
def usual(method: Any, runs: Runs) -> tuple[Any, Solver]:
    """The method with its defaults."""
    return runs(method.Config())


@pytest.mark.parametrize("name", methods.names())
def test_the_file_opens_with_its_paper_and_its_departures_and_stays_short(name: str) -> None:
    found: Any = methods.find(name)
    words = found.__doc__ or ""
    assert re.search(r"\(.*et al.*\b20\d\d\b", words), "no citation such as (Li et al., AAAI 2024)"
    assert re.search(r"^Departures: 1\)", words, re.M), "no numbered departures; 'Departures: none.' is not one"
    assert re.search(r"^Control: ", words, re.M), "the docstring does not say what its control is"
    assert len(Path(found.__file__).read_text(encoding="utf-8").splitlines()) < MOST_LINES


def test_settings_are_frozen_and_documented(method: Any) -> None:
    assert issubclass(method.Config, Settings)
    config = method.Config()
    for name, field in method.Config.model_fields.items():
        assert field.description, f"{name} has no description"
        with pytest.raises(ValidationError):
            setattr(config, name, getattr(config, name))
    with pytest.raises(ValidationError):
        method.Config(no_such_setting=1)


def test_it_takes_the_profile_clean_and_says_why_where_there_is_no_other(method: Any) -> None:
    assert method.Config(profile="clean") == method.Config()
    if "profile" in method.Config.model_fields:
        released = method.Config(profile="as_released")
        assert method.Config(**released.model_dump()) == released != method.Config()
        return
    with pytest.raises(ValidationError, match=r"profile 'as_released' does not exist: .+; leave profile out"):
        method.Config(profile="as_released")


@pytest.mark.slow
def test_every_problem_is_answered_in_order(usual: tuple[Any, Solver], tiny: ModuleType) -> None:
    problems = tiny.exam_problems()
    solver = usual[1]
    assert isinstance(solver, Solver)
    answers = solver.solve(problems, seed=3)
    assert [answer.problem_id for answer in answers] == [problem.id for problem in problems]
    assert solver.solve(problems[::-1], seed=3) == answers[::-1]
    assert any(answer.tokens for answer in answers)


@pytest.mark.slow
def test_a_saved_solver_answers_alike(usual: tuple[Any, Solver], tiny: ModuleType, tmp_path: Path) -> None:
    problems, solver = tiny.exam_problems(), usual[1]
    solver.save(tmp_path / "solver")
    loaded = load_solver(tmp_path / "solver")
    assert type(loaded) is type(solver)
    assert loaded.identity == solver.identity
    assert loaded.solve(problems, seed=0) == solver.solve(problems, seed=0)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_answers_in_another_folder(
    method: Any, usual: tuple[Any, Solver], runs: Runs, tiny: ModuleType, tmp_path: Path
) -> None:
    problems = tiny.exam_problems()
    _, again = runs(method.Config(), tmp_path)
    assert again.identity == usual[1].identity
    assert again.solve(problems, seed=0) == usual[1].solve(problems, seed=0)


@pytest.mark.slow
def test_a_second_run_makes_nothing_anew(method: Any, usual: tuple[Any, Solver], runs: Runs) -> None:
    bench, solver = usual

    def files() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in bench.run.path.rglob("*.*") if path.name != "manifest.json"}

    before = files()
    _, again = runs(method.Config())
    assert files() == before
    assert again.identity == solver.identity


@pytest.mark.slow
def test_it_votes_where_the_exam_wants_votes(
    method: Any, usual: tuple[Any, Solver], runs: Runs, tiny: ModuleType, tmp_path: Path
) -> None:
    _, solver = runs(method.Config(), exam=ExamSettings(max_tokens=24, votes=3, temperature=1.0))
    answers = solver.solve(tiny.exam_problems(3), seed=0)
    assert [len(answer.samples) for answer in answers] == [3, 3, 3]
    solver.save(tmp_path / "solver")
    assert load_solver(tmp_path / "solver").solve(tiny.exam_problems(3), seed=0) == answers


@pytest.mark.slow
def test_the_control_is_another_arm_and_another_solver(method: Any, usual: tuple[Any, Solver], runs: Runs) -> None:
    config = method.Config()
    control = method.control(config)
    assert control is not None
    assert method.control(control) is None
    assert len({method.arm(config)[0], method.arm(control)[0]}) == 2
    assert all(explanation for _, explanation in (method.arm(config), method.arm(control)))
    assert runs(control)[1].identity != usual[1].identity


@pytest.mark.slow
def test_no_setting_is_dead(method: Any, usual: tuple[Any, Solver], runs: Runs) -> None:
    for name, field in method.Config.model_fields.items():
        if field.annotation == (str | None) or (method.__name__, name) in TRIED_ELSEWHERE:
            continue  # the folder of another run, too, is a matter for the method's own tests
        changed = list(_others(method.Config, name, field))
        assert changed, f"nothing but the default of {name} is allowed"
        assert any(_made(*runs(config)) != _made(*usual) for config in changed), f"{name} changes nothing"


def _made(bench: Any, solver: Solver) -> tuple[str, list[str]]:
    """What came out: the solver's weights, prompts and sampling, and all that was trained on the way.

    A method with rounds may return the student it began with, whatever a setting did to the others.
    """
    return solver.identity, [hash_files(sorted(fitted.folder.rglob("*.safetensors"))) for fitted in bench.fits]


def _others(kind: type[Settings], name: str, field: FieldInfo) -> Iterator[Settings]:
    """The default config with another value of one field, as far as it is allowed."""
    value = field.default
    if field.examples:
        values: list[Any] = list(field.examples)
    elif isinstance(value, bool):
        values = [not value]
    elif get_origin(field.annotation) is Literal:
        values = [other for other in get_args(field.annotation) if other != value]
    elif isinstance(value, int | float):
        values = (
            [value + 1, value * 2, value / 100, value / 1e6, 0] if isinstance(value, float) else [value + 1, value - 1]
        )
    else:
        pytest.fail(f"say here how to change {name}, a {field.annotation}")
    for other in values:
        try:
            yield kind(**{name: other})
        except ValidationError:
            continue


@pytest.mark.slow
def test_split_padding_and_order_leave_the_gradient_alone(usual: tuple[Any, Solver], tiny: ModuleType) -> None:
    assert usual[0].fits
    for fitted in usual[0].fits:
        examples = tiny.few_groups(fitted.lesson.train.rows)
        whole = tiny.gradient_of(fitted, examples, "packed", 10**6)
        assert whole.abs().max() > 0
        ways = {"one group at a time": (examples, "packed", 1), "backwards": (examples[::-1], "packed", 100)}
        ways |= {"padded": (examples, "padded", 10**6), "padded apart": (examples, "padded", 1)}
        for way, (rows, layout, micro_tokens) in ways.items():
            try:
                found = tiny.gradient_of(fitted, rows, layout, micro_tokens)
            except SettingsError as error:
                assert "needs packed rows" in str(error)
                continue
            assert torch.allclose(found, whole, rtol=1e-3, atol=1e-4 * float(whole.abs().max())), way
