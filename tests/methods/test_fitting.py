"""What a trained student is known by, so that a rerun takes no other one for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from feints.generate.weights import load_weights
from feints.methods import plain_cot


@pytest.mark.slow
def test_another_start_or_other_students_of_a_mean_are_another_student(
    tiny: ModuleType, talker: Path, tmp_path: Path
) -> None:
    with tiny.tiny_bench(tmp_path, talker) as bench:
        plain_cot.distil(bench, plain_cot.Config())
        (fitted,) = bench.fits
        starts = (talker, fitted.folder)
        on = [bench.fit(fitted.lesson, fitted.loss, loss_settings=["nll"], start=start, name="on") for start in starts]
        means = [bench.mean(students, name="mean") for students in (starts, (fitted.folder, fitted.folder))]
    assert len({*on}) == len({*means}) == 2
    for one, other in (on, means):
        pairs = zip(load_weights(one).model.parameters(), load_weights(other).model.parameters(), strict=True)
        assert any(not torch.equal(first, second) for first, second in pairs)


def test_each_training_seed_draws_additions_of_its_own(tiny: ModuleType, talker: Path, tmp_path: Path) -> None:
    with tiny.tiny_bench(tmp_path, talker, lora=True) as bench:
        drawn = [
            torch.cat([p.flatten() for p in replace(bench, seed=seed).fresh_student(None).model.parameters()])
            for seed in (0, 0, 1)
        ]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
