"""What papers and specifications state is what a user gets who sets nothing."""

from __future__ import annotations

from typing import Any

import pytest

from feints import methods
from feints.bench.assistants import NatSettings, divisor
from feints.bench.dual import SHOWN
from feints.curate.dual import RELEASED_LENGTH
from feints.evaluate.ranker import MOST_TOKENS
from feints.methods import edit, tailored
from feints.train.assistants import ADAPTER
from feints.train.disagreement import SMOOTHING
from feints.verify.execution import Limits

STATED: dict[str, dict[str, Any]] = {
    # EDIT, table 16 and script: alpha, beta, tau, 5e-6 after 2e-4, as many epochs, L over the target's tokens (EDIT-A2)
    "edit": {"alpha": 1, "beta": 0.025, "tau": 20, "second_rate": 5e-6 / 2e-4, "second_length": 1, "keep_all": False},
    # Tailored: sampled 4 times at temperature 1; w 0.1, lambda 0.5, rho 1, the state of the last token
    "tailored": {
        "samples": 4, "temperature": 1, "prompt_weight": 0.1, "reflection": 0.5, "margin": 1, "pooling": "last",
    },
    # TDG: p 3 in the script, 5 epochs of the ranker; 1 + s
    "asc": {"power": 3, "epochs": 5, "offset": 1, "slope": 1, "samples": 16, "own": 16},
    "nce": {"width": 128, "share": 0.5, "offset": 0, "temperature": 1, "smoothing": "none", "direction": "neg_nat"},
    "push": {"term": "unlikelihood", "weight": 0.05},
    # REDI: alpha 0.8, 1e-6 after 5e-5
    "redi": {"alpha": 0.8, "rate": 1e-6 / 5e-5, "bound": 0},
    "kpdd": {"core_weight": 1, "information_weight": 1, "solution_weight": 1, "stages": 3, "sharing": "separate"},
    "multi_task": {"share": 0.5},
    "fdd": {"attempts": 5},
}  # fmt: skip


@pytest.mark.parametrize("name", STATED)
def test_a_method_without_settings_is_the_one_its_paper_states(name: str) -> None:
    config = methods.find(name).Config()
    assert {setting: getattr(config, setting) for setting in STATED[name]} == pytest.approx(STATED[name])


def test_as_released_nce_has_the_numbers_of_its_code() -> None:
    config = methods.find("nce").Config(profile="as_released")
    assert (config.offset, config.smoothing) == (0.5, "one_sided")


def test_further_numbers_that_stand_in_no_recipe() -> None:
    assert (ADAPTER.rank, ADAPTER.alpha, ADAPTER.dropout) == (8, 16, 0.05)
    assert NatSettings().width == 128
    assert tailored.SEAM == 2 and MOST_TOKENS == 511
    assert (edit.DPO_BETA, RELEASED_LENGTH, SHOWN) == (0.1, 1024, 3)
    assert (divisor(True), divisor(False)) == ("valid_tokens", "target_tokens"), "TDG-D1"
    assert SMOOTHING == 1e-7, "TDG-D11"
    limits = Limits()
    assert (limits.seconds, limits.constraint_seconds) == (5.0, 1.0)
