"""Rationales cut before the statement of their answer, however it is marked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feints.curate.cutting import cut


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Ann has 3. The answer is 3.", ("Ann has 3.", "The answer is 3.")),
        ("3 + 4 = 7. Therefore, the answer is 7.", ("3 + 4 = 7.", "Therefore, the answer is 7.")),
        ("12 + 3 = 15.\nThe answer is 15.", ("12 + 3 = 15.", "The answer is 15.")),
        ("The answer is 2? No. The final answer is 3.", ("The answer is 2? No.", "The final answer is 3.")),
        ("Ann has 3, so the answer is 3.", ("Ann has 3,", "so the answer is 3.")),
        ("The answer is 3.", ("", "The answer is 3.")),
        ("I do not know.", ("I do not know.", "")),
        ("", ("", "")),
    ],
)
def test_a_rationale_is_cut_before_its_last_answer_sentence(text: str, parts: tuple[str, str]) -> None:
    assert cut(text) == parts


@pytest.mark.parametrize(
    ("reasoning", "statement"),
    [
        ("2 + 3 = 5.", "\\boxed{5}"),
        ("2 + 3 = 5.", "So they have $\\boxed{5}$ apples."),
        ("Half of 1.5 is $0.75.$", "Hence $x = \\boxed{0.75}$"),
        ("First 2 + 3 = 5.", "\\[\nx = 2 + 3\\\\[2pt]\n= \\boxed{5}\n\\]"),
        ("It is 5.\n$$x = 5$$", "$$\n\\boxed{5}\n$$"),
        ("It is 5.", "\\begin{align*}\nx &= 2 + 3\\\\\n&= \\boxed{5}\n\\end{align*}"),
        ("2 + 3 = 5.", "The answer is $5$.\n\\boxed{5}"),
        ("2 + 3 = 5.", "Thus the answer is\n\\[\\boxed{5}\\]"),
        ("2 + 3 = 5.", "The answer is \\boxed{5}. I hope this helps."),
        ("2 + 3 = 5.", "#### 5"),
        ("2 + 3 = 5.", "**Answer:** 5"),
    ],
)
def test_a_statement_is_cut_off_however_it_is_marked(reasoning: str, statement: str) -> None:
    assert cut(f"{reasoning}\n{statement}") == (reasoning, statement)


def test_a_box_in_the_midst_of_a_sentence_takes_the_sentence_with_it() -> None:
    assert cut("It is 2. Then 2 + 3 = \\boxed{5} in all.") == ("It is 2.", "Then 2 + 3 = \\boxed{5} in all.")
    assert cut("2 + 3 = \\boxed{5}") == ("", "2 + 3 = \\boxed{5}")


@given(st.lists(st.sampled_from(["2 + 3 = 5.", "\\boxed{5}", "The answer is 5.", "\\[", "\\]", "$$", "\n", " "])))
def test_nothing_is_lost_and_no_box_is_left_at_the_end(parts: list[str]) -> None:
    text = "".join(parts)
    reasoning, statement = cut(text)
    assert "".join((reasoning + statement).split()) == "".join(text.split())
    assert not reasoning.endswith(("\\boxed{5}", "The answer is 5."))
