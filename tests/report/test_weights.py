from __future__ import annotations

from types import ModuleType

from hypothesis import given
from hypothesis import strategies as st

from feints.records import Role
from feints.report.contents import WeightedExample
from feints.report.weights import runs

_weights = st.lists(st.sampled_from([0.0, 1.0, 0.3, -0.5, -1.0]), min_size=1, max_size=30)


@given(_weights, st.integers(0, 30))
def test_runs_are_the_example_and_nothing_else(weights: list[float], prompt: int) -> None:
    prompt = min(prompt, len(weights))
    tokens = tuple(f"<{index}>" for index in range(len(weights)))
    example = WeightedExample(title="t", role=Role.RIGHT, tokens=tokens, weights=tuple(weights), prompt_length=prompt)
    found = runs(example)
    assert "".join(run.text for run in found) == "".join(tokens)
    assert sum(run.tokens for run in found) == len(tokens)
    assert sum(run.tokens for run in found if run.prompt) == prompt
    assert all(
        (before.weight, before.prompt) != (after.weight, after.prompt)
        for before, after in zip(found, found[1:], strict=False)
    )


def test_sign_and_strength_are_styles(made_up: ModuleType) -> None:
    styles = {run.weight: run.style for run in runs(made_up.weighted(True))}
    assert styles == {"0": "zero", "−0.5": "push-2", "−1": "push-3", "0.2": "pull-1"}
    assert {run.style for run in runs(made_up.weighted(False))} == {"zero", "pull-3"}
