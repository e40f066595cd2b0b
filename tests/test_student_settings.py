"""What a recipe says of its student reaches every solver; what decides nothing trains nothing anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from feints.evaluate.solver import OneShot, Solver
from feints.methods import nat, nce, plain_cot
from feints.train.settings import StudentSettings

METHODS = {
    "plain_cot": (plain_cot, plain_cot.Config()),
    "nat": (nat, nat.Config(width=4)),
    "nce as released": (nce, nce.Config(profile="as_released", width=4)),
}


@pytest.mark.parametrize("name", METHODS)
def test_students_are_examined_on_the_device_and_in_the_precision_they_are_trained_in(
    name: str, tiny: ModuleType, talker: Path, tmp_path: Path
) -> None:
    method, config = METHODS[name]
    student = StudentSettings(model=str(talker), dtype="bfloat16")
    with tiny.tiny_bench(tmp_path, talker, device="cpu") as bench:
        solver: Any = method.distil(replace(bench, student=student), config)
        assert isinstance(solver, OneShot) and solver.device == "cpu"
        assert str(solver.source.model.dtype) == "torch.bfloat16"  # type: ignore[attr-defined]
        assert len(solver.solve(tiny.exam_problems(2), seed=0)) == 2


def test_what_changes_memory_and_speed_alone_trains_nothing_anew(
    tiny: ModuleType, talker: Path, tmp_path: Path
) -> None:
    def trained(training: dict[str, Any], student: dict[str, Any]) -> Any:
        with tiny.tiny_bench(tmp_path, talker, training=tiny.FEW.model_copy(update=training)) as bench:
            here = replace(bench, student=StudentSettings(model=str(talker), **student))
            solver: Solver = plain_cot.distil(here, plain_cot.Config())
        return solver.student  # type: ignore[attr-defined]

    first = trained({}, {})
    assert trained({"micro_tokens": 64, "log_steps": 7}, {"gradient_checkpointing": True}) == first
    assert trained({"learning_rate": 1e-3}, {}) != first
    assert trained({}, {"dtype": "bfloat16"}) != first
