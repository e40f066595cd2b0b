"""Dual chains: pairs, demonstrations, key-token weights, and mistake patterns."""

from __future__ import annotations

import pytest

from feints.curate.dual import (
    DISJOINT,
    RELEASED_LENGTH,
    SAME,
    KeyWeights,
    aligned_unpadded,
    demonstrations,
    dual_pairs,
    in_one,
    key_step_examples,
    natural_pairs,
    pairs_from,
)
from feints.curate.examples import Built
from feints.curate.patterns import UNREAD, confusion, of_one_pattern, read_label, with_patterns
from feints.records import AnswerKind, Dropped, Example, Origin, Pair, Problem, Rationale, Role


def rationale(name: str, problem: str = "p", origin: Origin = Origin.SAMPLED, parent: str | None = None) -> Rationale:
    return Rationale(id=name, problem_id=problem, text=f"text {name}", origin=origin, parent=parent)


def problem(name: str, topic: str = "") -> Problem:
    return Problem(
        id=name, question=f"question {name}?", answer="1", answer_kind=AnswerKind.NUMBER, task="t", split="train",
        topic=topic,
    )  # fmt: skip


RIGHT = [rationale("r1"), rationale("r2", "q")]
WRONG = [rationale("w1"), rationale("w2"), rationale("w3", "q")]
MENDED = [rationale("m1", "p", Origin.RECTIFIED, "w1"), rationale("m3", "q", Origin.RECTIFIED, "w3")]
BENT = [rationale("b1", "p", Origin.CORRUPTED, "r1"), rationale("lost", "q", Origin.CORRUPTED, "left out")]


def ids(pairs: list[Pair]) -> list[tuple[str, str]]:
    return [(pair.right_id, pair.wrong_id) for pair in pairs]


def test_a_made_chain_is_paired_with_the_one_it_was_made_from() -> None:
    pairs = dual_pairs([*RIGHT, *MENDED], [*WRONG, *BENT])
    assert ids(pairs) == [("m1", "w1"), ("m3", "w3"), ("r1", "b1")]
    assert [(p.right_origin, p.wrong_origin) for p in pairs[1:]] == [
        (Origin.RECTIFIED, Origin.SAMPLED),
        (Origin.SAMPLED, Origin.CORRUPTED),
    ]


def test_natural_pairs_use_every_wrong_rationale_once_and_right_ones_in_turn() -> None:
    rights = [rationale(f"r{n}") for n in range(2)]
    wrongs = [rationale(f"w{n}") for n in range(5)] + [rationale("alone", "no right one")]
    pairs = natural_pairs(rights, wrongs, seed=0)
    assert sorted(pair.wrong_id for pair in pairs) == [f"w{n}" for n in range(5)]
    assert sorted(pair.right_id for pair in pairs).count("r0") in (2, 3)
    assert natural_pairs(rights[::-1], wrongs[::-1], seed=0) == pairs


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ("rectified", [("m1", "w1"), ("m3", "w3")]),
        ("corrupted", [("r1", "b1")]),
        ("rectified+corrupted", [("m1", "w1"), ("m3", "w3"), ("r1", "b1")]),
    ],
)
def test_sources_of_pairs(sources: str, expected: list[tuple[str, str]]) -> None:
    found = pairs_from(RIGHT, WRONG, MENDED, BENT, sources=sources, seed=0)  # type: ignore[arg-type]
    assert ids(found) == expected
    sampled = pairs_from(RIGHT, WRONG, MENDED, BENT, sources="sampled", seed=0)
    assert sorted(ids(sampled)) == [("r1", "w1"), ("r1", "w2"), ("r2", "w3")]
    both = pairs_from(RIGHT, WRONG, MENDED, BENT, sources="all", seed=0)
    assert len(both) == 3 + 3


def test_demonstrations_are_of_other_problems_of_the_same_sub_task_first() -> None:
    topics = {"a": "x", "b": "x", "c": "y", "d": "y"}
    problems = {name: problem(name, topic) for name, topic in topics.items()}
    wrong = [rationale(f"w{name}", name) for name in topics] + [rationale("wa2", "a")]
    mended = [rationale(f"m{row.id}", row.problem_id, Origin.RECTIFIED, row.id) for row in wrong]
    by_id = {row.id: row for row in (*wrong, *mended)}
    show = demonstrations(dual_pairs(mended, wrong), by_id, problems, count=2, seed=0)
    shown = show(problems["c"])
    assert shown.count("Question:") == 2
    assert "question c?" not in shown
    assert shown.startswith("Question: question d?\n\nRight response:\ntext mwd\n\nWrong response:\ntext wd")
    assert show(problem("elsewhere", "z")).count("Wrong response:") == 2, "another sub-task where there is none"
    assert show(problems["d"]).count("question a?") <= 1, "one demonstration a problem"
    assert demonstrations([], by_id, problems, count=3, seed=0)(problems["a"]) == ""


def example(role: Role, prompt: str, target: str) -> Example:
    return Example(
        id=role, problem_id="p", rationale_id=role, prompt_ids=tuple(map(ord, prompt)), role=role, tokenizer_hash="t",
        target_ids=tuple(map(ord, target)), weights=(0.0,) * len(prompt) + (1.0,) * len(target),
    )  # fmt: skip


def built(right: str, wrong: str, how: KeyWeights, prompt: str = "Q") -> Built:
    def sides(pair: Pair) -> tuple[Built, Built]:
        texts = ((Role.RIGHT, right), (Role.WRONG, wrong))
        one, other = (Built(examples=(example(role, prompt, text),), dropped=()) for role, text in texts)
        return one, other

    return key_step_examples(sides, dual_pairs([MENDED[0]], WRONG), how)


def test_edit_p5_weights_are_those_of_key_tokens_and_none_is_on_a_prompt() -> None:
    """EDIT-P5."""
    right, wrong = built("abE", "baE", KeyWeights(alpha=2.0, beta=0.5, gamma=0.25)).examples
    assert right.weights == (0.0, 0.25, 2.0, 0.25)
    assert wrong.weights == (0.0, 0.0, -0.5, 0.0)
    assert right.group == wrong.group != ""
    assert (right.role, wrong.role) == (Role.RIGHT, Role.WRONG)
    assert len({right.id, wrong.id}) == 2
    for example in built("caccE", "aaE", KeyWeights(gamma=0.25, alignment="padded"), prompt="QQ").examples:
        assert len(example.weights) == len(example.prompt_ids + example.target_ids)
        assert example.weights[:2] == (0.0, 0.0)


def test_edit_p9_alpha_and_gamma_1_at_beta_0_weigh_the_right_text_as_imitation_does() -> None:
    """EDIT-P9; the wrong side is left out by the loss."""
    right, _ = built("abE", "baE", KeyWeights(alpha=1.0, beta=0.0, gamma=1.0).of_examples(whole=False)).examples
    assert right.weights == example(Role.RIGHT, "Q", "abE").weights


def test_a_pair_of_the_same_tokens_is_left_out_with_a_reason_for_both() -> None:
    found = built("abE", "abE", KeyWeights())
    assert found.examples == ()
    assert found.dropped == tuple(Dropped(item_id=name, step="tokenise", reason=SAME) for name in ("m1", "w1"))


def test_near_disjoint_pairs_are_left_out_if_asked() -> None:
    careful = KeyWeights(drop_disjoint=True)
    assert len(built("abcdE", "axyzE", KeyWeights()).examples) == 2
    assert [row.reason for row in built("abcdE", "axyzE", careful).dropped] == [DISJOINT] * 2
    assert len(built("abcdE", "abxyE", careful).examples) == 2


def test_a_side_that_is_left_out_takes_the_other_with_it() -> None:
    gone = Built(examples=(), dropped=(Dropped(item_id="w1", step="tokenise", reason="longer than 9 tokens"),))
    kept = Built(examples=(example(Role.RIGHT, "Q", "abE"),), dropped=())
    found = key_step_examples(lambda _: (kept, gone), dual_pairs([MENDED[0]], WRONG), KeyWeights())
    assert not found.examples
    assert [(row.item_id, row.reason) for row in found.dropped] == [
        ("m1", "longer than 9 tokens"),
        ("w1", "longer than 9 tokens"),
    ]


def test_the_released_alignment_pads_prompt_and_target_together() -> None:
    """EDIT-P4: the default is unpadded; padding marks the E at the end of the longer text too."""
    assert built("caccE", "aaE", KeyWeights()).examples[0].weights == (0.0, 1.0, 0.0, 1.0, 1.0, 0.0)
    padded = KeyWeights(alignment="padded")
    assert built("caccE", "aaE", padded).examples[0].weights == (0.0, 1.0, 0.0, 1.0, 1.0, 1.0)
    longer = "caccE" + "z" * RELEASED_LENGTH
    unpadded = built(longer, "aa" + longer[4:], padded)
    assert unpadded == built(longer, "aa" + longer[4:], KeyWeights())
    short = built("caccE", "aaE", padded).examples
    assert (aligned_unpadded(short), aligned_unpadded([*short, *unpadded.examples])) == (0, 1)


def test_one_tokenisation_cuts_where_the_prompt_alone_would_end() -> None:
    class Merging:
        """Tokens are letters, but a line break and the letter behind it are one."""

        def raw_ids(self, text: str) -> tuple[int, ...]:
            pieces = text.replace("\na", "\x01")
            return tuple(map(ord, pieces))

    apart = example(Role.RIGHT, "Q\n", "abE")
    joint = in_one(Merging(), "Q\nab", apart)
    assert joint.prompt_ids == (ord("Q"), 1)
    assert joint.target_ids == (ord("b"), ord("E"))
    assert joint.weights == (0.0, 0.0, 1.0, 1.0)


# ------------------------------------------------------------------------------------------------------- patterns


@pytest.mark.parametrize(
    ("reply", "pattern"),
    [
        ("It adds.\nLabel: a", "logical"),
        ("Label: b+c", "knowledge+calculation"),
        ("LABELS are: C, A and b.", "logical+knowledge+calculation"),
        ("The label is (d).", "other"),
        ("Label: a+d", "logical"),
        ("Label: a\nNo, wait.\n**Label: c**", "calculation"),
        ("It is a mistake in a step.", ""),
        ("Label: e", ""),
        ("", ""),
    ],
)
def test_labels_are_read(reply: str, pattern: str) -> None:
    assert read_label(reply) == pattern


def labelled(counts: dict[str, int], origin: Origin) -> list[Pair]:
    return [
        Pair(
            problem_id="p", right_id=f"{origin} {pattern} {n}", wrong_id="w", right_origin=origin,
            wrong_origin=Origin.SAMPLED, pattern=pattern,
        )
        for pattern, count in counts.items()
        for n in range(count)
    ]  # fmt: skip


def test_one_pattern_at_equal_counts_source_by_source() -> None:
    rectified = labelled({"logical": 9, "knowledge": 4, "calculation": 6, "other": 2, "logical+knowledge": 5, "": 3},
                         Origin.RECTIFIED)  # fmt: skip
    sampled = labelled({"logical": 3, "calculation": 7}, Origin.SAMPLED)
    for pattern, expected in (("logical", 4 + 3), ("knowledge", 4), ("calculation", 4 + 3), ("other", 2)):
        found = of_one_pattern([*rectified, *sampled], pattern, seed=0)  # type: ignore[arg-type]
        assert {pair.pattern for pair in found} == {pattern}
        assert len(found) == expected
        assert found == of_one_pattern([*rectified, *sampled], pattern, seed=0)  # type: ignore[arg-type]
    assert len({tuple(of_one_pattern(rectified, "logical", seed=seed)) for seed in range(5)}) > 1


def test_patterns_come_from_the_reply_about_the_wrong_text() -> None:
    pairs = dual_pairs(MENDED, WRONG)
    assert [pair.pattern for pair in with_patterns(pairs, {"w1": "Label: a"})] == ["logical", ""]


def test_confusion_counts_every_label_once() -> None:
    true = ["logical", "logical", "calculation", "other", "logical+knowledge"]
    told = ["logical", "knowledge", "calculation", "", "logical"]
    found = confusion(true, told)
    assert (found.total, found.agreed) == (5, 2)
    assert found.rows() == [
        ["true", "logical", "knowledge", "calculation", "other", "logical+knowledge", UNREAD],
        ["logical", "1", "1", "0", "0", "0", "0"],
        ["calculation", "0", "0", "1", "0", "0", "0"],
        ["other", "0", "0", "0", "0", "0", "1"],
        ["logical+knowledge", "1", "0", "0", "0", "0", "0"],
    ]
