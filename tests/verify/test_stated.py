"""Which number a stated answer states, and that a vote counts what was compared."""

from __future__ import annotations

import pytest

from feints.evaluate.vote import answer_key, vote
from feints.records import AnswerKind, Choice, Finish, Judgement, Problem
from feints.verify import check
from feints.verify.forms import read as read_form
from feints.verify.latex import exact_value
from feints.verify.pieces import differ
from feints.verify.words import read_words


def problem(answer: str, kind: AnswerKind = AnswerKind.NUMBER, choices: tuple[Choice, ...] = ()) -> Problem:
    return Problem(id="p", question="", answer=answer, answer_kind=kind, task="t", split="test", choices=choices)


def judged(gold: str, text: str) -> str:
    return check(problem(gold), text).value.value


@pytest.mark.parametrize(
    "text",
    [
        "The answer is 7 or -7.",
        "The answer is 7, 8.",
        "The answer is 7 and 12.",
        "The answer is 7; 12",
        "The answer is 7 and 12 respectively.",
        "The answer is (7, 2)",
        "The answer is 7:2",
        "The answer is 7:30",
        "The answer is 7:30 p.m.",
        "The answer is 7,5",
        "The answer is between 7 and 8",
        "The answer is ±7",
        "The answer is $\\pm 7$",
        "The answer is more than 7.",
        "The answer is less than 7 apples.",
        "The answer is 7 pi",
        "The answer is sqrt(7).",
        "The answer is log 7",
        "The answer is 7 plus 2",
        "The answer is 7 times 3.",
        "The answer is 7 divided by 2",
        "The answer is 7 squared.",
        "The answer is 7²",
        "The answer is 7'000.",
        "The answer is 7x.",
        "\\boxed{7} or \\boxed{8}",
        "\\boxed{7 \\text{ h}} and \\boxed{8 \\text{ h}}",
        "\\boxed{7, 8}",
        "\\boxed{7 \\text{ and } 8}",
        "\\boxed{(7,8)}",
        "\\boxed{[7,8]}",
        "\\boxed{x>7}",
        "\\boxed{7i}",
    ],
)
def test_a_number_with_others_or_a_sign_beside_it_is_not_the_number_alone(text: str) -> None:
    assert judged("7", text) == "wrong"


@pytest.mark.parametrize(
    ("gold", "text"),
    [
        ("12", "The answer is 12 boys and 15 girls."),
        ("7", "The answer is <7>."),
        ("7", "The answer is 7 out of 10."),
        ("7", "The answer is 7, 7."),
        ("7", "The answer is no more than 7."),
        ("8", "The answer is 8:00."),
        ("0.1666666667", "The answer is 1/6, or 0.1666666667."),
        ("9", "The answer is 7 plus 2."),
        ("3", "The answer is 12 divided by 4 which is 3."),
        ("6", "The answer is 8 minus 2 is 6."),
        ("49", "The answer is 7 squared."),
        ("8", "The answer is 2**3."),
        ("4", "The answer is the square root of 16."),
        ("2000", "The answer is 2'000."),
        ("5", "The answer is 5x faster."),
        ("10", "The answer is 10 x-rays."),
        ("3", "The answer is 3 y-intercepts."),
        ("10", "The answer is 10 - a tie."),
    ],
)
def test_a_number_among_words_is_still_read(gold: str, text: str) -> None:
    assert judged(gold, text) == "correct"


@pytest.mark.parametrize(
    ("text", "amounts", "other"),
    [
        ("2 hours 30 minutes", ("2.5", "150"), ("2", "30")),
        ("1 hour and 30 minutes", ("1.5", "90"), ("1", "30")),
        ("5 feet 6 inches", ("5.5", "66"), ("5", "6")),
        ("12 dollars and 50 cents", ("12.5", "1250"), ("12", "50")),
        ("3 pounds, 4 ounces", ("3.25", "52"), ("3", "4")),
        ("2 years and 6 months", ("2.5", "30"), ("2", "6")),
        ("1 week and 3 days", ("10/7", "10"), ("1", "3")),
        ("1 day, 12 hours", ("1.5", "36"), ("1", "12")),
        ("3 m 20 cm", ("3.2", "320"), ("3", "20")),
        ("1 hour, 0 minutes and 36 seconds", ("1.01", "3636"), ("1", "36")),
    ],
)
def test_an_amount_in_two_units_equals_the_gold_answer_in_either(
    text: str, amounts: tuple[str, str], other: tuple[str, str]
) -> None:
    for said in (f"The answer is {text}.", f"\\boxed{{\\text{{{text}}}}}"):
        assert [judged(gold, said) for gold in amounts] == ["correct", "correct"]
        assert [judged(gold, said) for gold in other] == ["wrong", "wrong"]
    assert judged(other[1], f"After a good look, it comes down to {text}.") == "no_answer"


@pytest.mark.parametrize("text", ["minus 5", "negative 5 degrees", "x = minus 5", "about negative $5", "**Minus 5**"])
def test_a_sign_in_words_is_a_sign(text: str) -> None:
    assert (judged("-5", f"The answer is {text}."), judged("5", f"The answer is {text}.")) == ("correct", "wrong")


def test_a_difference_in_words_is_no_sign() -> None:
    assert judged("2", "The answer is 7 minus 5.") == "correct"
    assert judged("5", "So the sum is what we had minus 5.") == "correct"


@pytest.mark.parametrize(
    ("gold", "text", "other"),
    [
        ("15", "The answer is 15 since 30/15=2.", "2"),
        ("15", "The answer is 15 students, because 30/15 = 2.", "2"),
        ("15", "The answer is 15 (since 30/2 = 15, and 15/3 = 5).", "5"),
        ("64", "The answer is 64 (8*8).", "8"),
        ("12", "The answer is 12 (3 x 4).", "3"),
        ("64", "The answer is $64 (32*2).", "32"),
        ("8", "The answer is 8, because 2^3 is 8.", "2"),
        ("64", "The answer is 64 - that is 8*8.", "8"),
        ("14", "The answer is 2 (3 + 4).", "2"),
        ("12", "The answer is 3 * 4 (apples) = 12.", "4"),
    ],
)
def test_an_explanation_behind_the_number_does_not_take_its_place(gold: str, text: str, other: str) -> None:
    assert (judged(gold, text), judged(other, text)) == ("correct", "wrong")


@pytest.mark.parametrize(
    ("text", "right", "wrong"),
    [
        ("The answer is 5!", ("5", "120"), ("24",)),
        ("The answer is $5!", ("5", "120"), ()),
        ("**The answer is 5!**", ("5",), ()),
        ("So she has 5!", ("5",), ()),
        ("The answer is 5! I hope this helps", ("5",), ()),
        ("The answer is 3*6 = 18!", ("18",), ("3",)),
        ("The answer is 3 * 4!", ("12", "72"), ("3",)),
        ("The answer is 5! = 120", ("120",), ("5",)),
        ("\\boxed{5!}", ("120",), ("5",)),
        ("The answer is $5!$.", ("120",), ("5",)),
    ],
)
def test_an_exclamation_mark_may_end_the_sentence(text: str, right: tuple[str, ...], wrong: tuple[str, ...]) -> None:
    assert {judged(gold, text) for gold in right} == {"correct"}
    assert {judged(gold, text) for gold in wrong} <= {"wrong"}


def test_an_exclamation_mark_may_end_the_sentence_where_the_gold_answer_is_latex() -> None:
    for gold, text, said in (
        ("12", "The answer is 12!", "correct"),
        ("\\frac{24}{2}", "The answer is 12!", "correct"),
        ("5!", "The answer is 5!", "correct"),
        ("12", "\\boxed{12!}", "wrong"),
    ):
        asked = problem(gold, AnswerKind.LATEX)
        verdict = check(asked, text)
        assert verdict.value.value == said
        assert "!" not in (verdict.extracted or "") or "boxed" in text


def test_what_an_exclaimed_answer_counts_for_does_not_hang_on_the_gold_answer() -> None:
    for text in ("The answer is 5!", "The answer is 2 * 3!"):
        keys = {
            answer_key(problem(gold), check(problem(gold), text).extracted) for gold in ("5", "120", "6", "12", "1")
        }
        assert len(keys) == 1


def test_a_denied_number_with_its_sign_in_words_is_no_answer() -> None:
    assert {judged(gold, "After all this, it is not minus 5.") for gold in ("5", "-5")} == {"no_answer"}


@pytest.mark.parametrize(
    ("gold", "text"),
    [
        ("300000", "3 x 10^5"),
        ("300000", "3 x 10^{5} meters"),
        ("300000", "3*10**5"),
        ("300000", "3×10⁵"),
        ("0.000032", "3.2 x 10^-5"),
        ("0.000032", "3.2×10⁻⁵"),
        ("600", "2 x 3 x 10^2"),
    ],
)
def test_powers_of_ten_are_read_however_they_are_typed(gold: str, text: str) -> None:
    assert judged(gold, f"The answer is {text}.") == "correct"
    assert judged(gold[0], f"The answer is {text}.") == "wrong"


@pytest.mark.parametrize(
    ("gold", "said", "same"),
    [
        ("0.00000004", "0.0000001", False),
        ("0.00000001", "0.00000002", False),
        ("0", "0.00000001", False),
        ("0", "0.000000000000000055", True),
        ("1/3", "0.3333333", True),
        ("2/3", "0.6666667", True),
        ("100000", "99999.9999999", True),
        ("0.3", "0.30000000000000004", True),
    ],
)
@pytest.mark.parametrize("kind", [AnswerKind.NUMBER, AnswerKind.LATEX])
def test_a_rounded_float_is_held_to_the_size_of_the_number(gold: str, said: str, same: bool, kind: AnswerKind) -> None:
    assert check(problem(gold, kind), f"The answer is {said}.").value.value == ("correct" if same else "wrong")


def test_a_formula_names_the_option_of_its_last_side() -> None:
    options = tuple(Choice(label=label, text=text) for label, text in zip("ABC", ("3", "12", "4"), strict=True))
    asked = problem("B", AnswerKind.CHOICE, options)
    assert check(asked, "The answer is 3 x 4 = 12").value is Judgement.CORRECT
    assert check(asked, "The answer is 12 since 12/4 = 3").value is Judgement.CORRECT


def test_an_answer_in_words_that_was_cut_is_no_answer() -> None:
    cut = check(problem("70"), "The answer is 7 times 1", finish=Finish.LENGTH)
    assert cut.value is Judgement.NO_ANSWER


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("The answer is $2^3 = 8$.", "8"),
        ("The answer is 16 - 8.", "8"),
        ("The answer is \\sqrt{64} = 8", "8"),
        ("The answer is 2 times 4.", "8"),
        ("The answer is 8 (2^3).", "8"),
        ("The answer is 8!", "8"),
        ("The answer is $8 \\times 10^2$", "800"),
        ("The answer is minus 8.", "-8"),
        ("The answer is 1 hour 20 minutes.", "1 hour, 20 min"),
    ],
)
def test_a_vote_counts_the_number_that_was_compared(text: str, same_as: str) -> None:
    for gold in ("8", "800", "7"):
        asked = problem(gold)
        extracted = check(asked, text).extracted
        assert answer_key(asked, extracted) == answer_key(asked, same_as)


def test_a_vote_counts_no_number_where_none_was_accepted() -> None:
    asked = problem("7")
    for text in ("The answer is 7 or 8.", "The answer is more than 7.", "The answer is ±7.", "The answer is <7."):
        assert answer_key(asked, check(asked, text).extracted) != answer_key(asked, "7")


@pytest.mark.parametrize("kind", [AnswerKind.NUMBER, AnswerKind.LATEX])
def test_a_formula_too_large_to_write_out_stands_for_itself_in_a_vote(kind: AnswerKind) -> None:
    keys = {answer_key(problem("7", kind), text) for text in ("$2^{30000}$", "2^{30000}", "2^{30001}")}
    assert keys == {"2^{30000}", "2^{30001}"}


def test_formulas_of_one_value_win_a_vote_together() -> None:
    asked = problem("8")
    said = ["The answer is 2.", "The answer is $2^3 = 8$.", "The answer is 8."]
    assert vote([answer_key(asked, check(asked, text).extracted) for text in said]).winner == 1


def test_number_words_out_of_order_are_no_number() -> None:
    assert [
        read_words(said) for said in ("twenty eleven", "two hundred three hundred", "five thousand two million")
    ] == [None] * 3
    assert read_words("two hundred three") == 203


def test_a_part_that_may_be_the_same_does_not_tell_a_point_that_cannot_be_read_apart() -> None:
    gold = read_form("(1,2)", thousands=False)
    assert differ(gold, r"(3,\foo)") and not differ(gold, r"(x,\foo)")


def test_of_words_between_numbers_no_value_is_made() -> None:
    assert (exact_value(r"3 \text{ km}"), exact_value(r"3 \text{ and } 4")) == (3, None)
