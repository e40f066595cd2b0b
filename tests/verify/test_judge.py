"""Verdicts on whole texts: what is a statement, what is cut, what is never searched."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.verify.asked import BOOLEAN, CHOICE, LATEX, NUMBER, OPTIONS, TEXT, problem, value

from feints.errors import DataError
from feints.records import AnswerKind, Choice, Finish, Judgement
from feints.verify import check, code_hash
from feints.verify.gold import gold_error, parse_gold
from feints.verify.yesno import read_truth


@pytest.mark.parametrize(
    ("gold", "text"),
    [
        ("1200", "The answer is $1,200."),
        ("1200", "#### 1200"),
        ("1200", "So we need 1,200.00 grams.\n#### 1,200.00"),
        ("1200", "Therefore, the answer (arabic numerals) is one thousand two hundred."),
        ("1200", "The answer is 1.2 thousand."),
        ("1200", "The answer is 1.2e3."),
        ("1200", "The answer is 1.2 × 10^3."),
        ("1200", "Answer: **1200** apples"),
        ("1200", "We get $\\boxed{1{,}200}$."),
        ("1200", "She needs 400 + 800 = 1200 g. The answer is 400 + 800 = 1200."),
        ("2.5", "The answer is 2 1/2 hours."),
        ("2.5", "The answer is 5/2."),
        ("2.5", "The answer is two and a half."),
        ("2.5", "The answer is $\\frac{5}{2}$."),
        ("50%", "The answer is 50."),
        ("50", "The answer is 50%."),
        ("-7", "The answer is -7."),
        ("-7", "The answer is −7 degrees."),
        ("0.3333333333", "The answer is 1/3."),
        ("9", "The answer is 9 weeks. Q: What else? A: 4"),
        ("9", "The answer is 9.\n\nQ: Tom has 4 hats. How many?\nThe answer is 4."),
        ("120", "The answer is 5!"),
        ("602000", "The answer is $6.02 \\times 10^5$."),
        ("6.02e5", "The answer is $6.02 \\times 10^{5}$."),
        ("12000", "The answer is 12 000."),
        ("12000", "\\boxed{12\\,000}"),
        ("12000", "The answer is 12\u202f000 g."),
        ("1200000", "The answer is 1 200 000"),
        ("3500000", "The answer is $3.5M."),
        ("5000", "It costs $5k."),
        ("5", "The answer is 5 m."),
        ("20", "The answer is Rs.20."),
        ("20", "It comes to approx.20 km."),
        ("42", "<answer>42</answer>"),
        ("42", "<think>6 * 7</think>\n<answer> 6 * 7 = 42 </answer>\nas asked"),
        ("42", "Put it into <answer> tags.\n\n<answer>\n42\n</answer>"),
        ("42", "First \\boxed{41}, then corrected: <answer>42</answer>"),
        ("42", "<answer>So it is \\boxed{42}</answer>"),
        ("42", "Final answer: <answer>42</answer>"),
        ("42", "The answer is <b>42</b>."),
        ("42", "So we get 6*7.\nAnswer - 42"),
        ("42", "**Answer** – 42"),
        ("-42", "Answer -42"),
        ("3000000000", "The answer is $3bn."),
        (f"6{'0' * 45}", "The answer is 6e45."),
        ("fifty percent", "The answer is 0.5."),
        ("0.33333333333", "The answer is 0.3333333."),
        ("-5", "The answer is minus five."),
        ("-5", "So x = -\\boxed{5}."),
        ("5", "The answer is 5 = x."),
        ("5", "İİİİİİİİİİİİ The answer is 5. So we are done."),
        ("3.75", "The answer is three point seventy five."),
        ("42", "Answer: Tom pays for 3 kites **42** dollars"),
        ("60", "The answer is 60 minutes or 1 hour."),
        ("75%", "The answer is 75% or 0.75."),
        ("75%", "The answer is 0.75 or 75%."),
    ],
)
def test_right_numbers_in_many_dresses(gold: str, text: str) -> None:
    assert value(gold, text) == "correct"


@pytest.mark.parametrize(
    ("gold", "text"),
    [
        ("1200", "The answer is 12000."),
        ("1200", "She has 1200 g. The answer is 120."),
        ("4", "The answer is $4\\sqrt{2}$."),
        ("4", "The answer is 4x."),
        ("4", "The answer is 4 or 5."),
        ("7", "The remainder is \\boxed{-5x-7}."),
        ("0.75", "The answer is 75%."),
        ("1/3", "The answer is 0.33."),
        ("12", "The answer is 12 000."),
        ("3", "The answer is $3M."),
        ("50%", "The answer is 0.5%."),
        ("50%", "The answer is one half percent."),
        ("0.33333333333", "The answer is 0.333333."),
        ("5", "The answer is 1e350."),
        ("5", "The answer is <= 5."),
        ("41", "So we get \\boxed{42."),
        ("5", "The answer is between 5 and 6 apples a day."),
        ("3", "So it is \\boxed{3, 4 \\text{ apples}}."),
        ("9", "Answer: Tom has 8 apples. He likes all 8 of them."),
    ],
)
def test_wrong_numbers(gold: str, text: str) -> None:
    assert value(gold, text) == "wrong"


@pytest.mark.parametrize(
    ("kind", "gold", "text", "expected"),
    [
        (CHOICE, "B", "The answer is (B).", "correct"),
        (CHOICE, "B", "The answer is B, 12 km.", "correct"),
        (CHOICE, "B", "The answer is option b.", "correct"),
        (CHOICE, "B", "The correct option is B", "correct"),
        (CHOICE, "B", "The answer is 12 km.", "correct"),
        (CHOICE, "A", "The answer is a red kite.", "correct"),
        (CHOICE, "B", "So it is\n\nB) 12 km", "correct"),
        (CHOICE, "B", "The answer is (C).", "wrong"),
        (CHOICE, "B", "The answer is (A) and (B).", "wrong"),
        (CHOICE, "B", "The answer is A or B.", "wrong"),
        (CHOICE, "A", "The answer is A, I think.", "correct"),
        (CHOICE, "A", "The answer is A by elimination.", "correct"),
        (CHOICE, "A", "The answer is A rather than D.", "correct"),
        (CHOICE, "A", "The answer is A and not D.", "correct"),
        (CHOICE, "A", "The answer is A as the speed is constant.", "correct"),
        (CHOICE, "A", "The answer is A by-product of that.", "no_answer"),
        (CHOICE, "A", "<answer>A</answer>", "correct"),
        (CHOICE, "B", "Answer - (B)", "correct"),
        (BOOLEAN, "yes", "<answer>Yes</answer>", "correct"),
        (BOOLEAN, "no", "Answer - No", "correct"),
        (CHOICE, "B", "The answer is not known.", "no_answer"),
        (CHOICE, "B", "The answer is between 12 and 13 km.", "no_answer"),
        (CHOICE, "A", "A. A kite fits, as the others are distances. So we have it.", "correct"),
        (CHOICE, "A", "A. A kite is no distance.\nB. That is too far. So we stop.", "no_answer"),
        (BOOLEAN, "yes", "So the answer is yes.", "correct"),
        (BOOLEAN, "no", "Therefore, the answer (Yes or No) is: No, it does not.", "correct"),
        (BOOLEAN, "True", "So the answer is True.", "correct"),
        (BOOLEAN, "invalid", "So the answer is not valid.", "correct"),
        (BOOLEAN, "valid", "So the answer is invalid.", "wrong"),
        (BOOLEAN, "yes", "The answer (Yes or No) is the same for all.", "no_answer"),
        (BOOLEAN, "yes", "The answer (Yes or No) is unknown.", "no_answer"),
        (TEXT, "gral", 'Therefore, the answer is "Gral".', "correct"),
        (TEXT, "gral", "The answer is grall.", "wrong"),
        (TEXT, "gral", 'The answer is "Gral" in lower case.', "correct"),
        (LATEX, r"\text{even}", r"The answer is $\text{not even}$.", "wrong"),
        (LATEX, "x+1", r"So \boxed{x+1} and \boxed{x+1}.", "correct"),
        (LATEX, r"\frac{1}{2}", r"The answer is $\frac{1}{2}\ (B)$.", "correct"),
        (TEXT, "apple pear", "So the answer is apple, pear.", "correct"),
        (TEXT, "] ) }", "So the answer is ] ) }.", "correct"),
        (TEXT, "] ) }", "So the answer is ] ) ].", "wrong"),
    ],
)
def test_other_kinds(kind: AnswerKind, gold: str, text: str, expected: str) -> None:
    assert value(gold, text, kind, OPTIONS if kind is CHOICE else ()) == expected


@pytest.mark.parametrize("finish", [Finish.LENGTH, Finish.REFUSAL, Finish.MALFORMED])
def test_a_text_that_was_cut_is_never_a_negative(finish: Finish) -> None:
    verdict = check(problem("8"), "First she buys 3, then 4, so she has 7 and then", finish=finish)
    assert verdict.value is Judgement.NO_ANSWER
    assert verdict.lenient is Judgement.WRONG


def test_a_cut_text_counts_when_its_answer_is_marked_before_the_cut() -> None:
    said = "The answer is 7. Let me check: 3 +"
    assert check(problem("7"), said, finish=Finish.LENGTH).value is Judgement.CORRECT
    assert check(problem("8"), said, finish=Finish.LENGTH).value is Judgement.WRONG


def test_an_answer_that_is_itself_cut_is_no_answer() -> None:
    for text in ("The answer is 12", "<answer>12"):
        assert check(problem("1234"), text, finish=Finish.LENGTH).value is Judgement.NO_ANSWER
    for text in ("First, 1,200 + 34 =", "12 + ", "The answer is 12 +", "12"):
        assert check(problem("1234"), text, finish=Finish.LENGTH).value is Judgement.NO_ANSWER
    assert check(problem("3/4"), "The answer is 3/", finish=Finish.LENGTH).value is Judgement.NO_ANSWER
    assert value("12", "25 + ") == "no_answer", "a sum of which a part is missing, whoever stopped"
    assert check(problem("1234"), "<answer>12</answer> That", finish=Finish.LENGTH).value is Judgement.WRONG
    assert value("12", "<answer>12") == "correct", "where the closing tag is a stop string"


@pytest.mark.parametrize("text", ["", "   ", "\n", "I cannot help with that.", "Let x be the price of"])
def test_texts_without_an_answer(text: str) -> None:
    assert value("8", text) == "no_answer"


def test_thinking_is_never_searched() -> None:
    assert value("8", "<think>The answer is 8.") == "no_answer"
    assert value("8", "<think>The answer is 8.</think>The answer is 9.") == "wrong"
    assert value("8", "so the answer is 9 </think> The answer is 8.") == "correct"
    assert check(problem("8"), "", thinking="The answer is 8.").value is Judgement.NO_ANSWER


def test_an_unmarked_end_may_be_right_but_is_never_held_against_the_text() -> None:
    right = check(problem("8"), "She has 3 and buys 5, so she has 8.")
    assert check(problem("16"), "He washed 4 of 20, so he did not wash 16 shirts.").value is Judgement.CORRECT
    other = check(problem("9"), "She has 3 and buys 5, so she has 8.")
    assert (right.value, other.value, other.lenient) == (Judgement.CORRECT, Judgement.NO_ANSWER, Judgement.WRONG)


@pytest.mark.parametrize("text", ["The answer is not 8.", "It isn't 8.", "So it does not equal 8."])
def test_what_the_answer_is_not_is_no_answer(text: str) -> None:
    assert value("8", text) == "no_answer"


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("It is not deductively valid.", False),
        ("it is not necessarily true", False),
        ("this cannot be true", False),
        ("this can’t be true", False),
        ("the statement is never true", False),
        ("that does not seem right", False),
        ("I don't think that is true", False),
        ("It would not be true", False),
        ("It is not the case that this is true", False),
        ("it's neither right nor plausible", False),
        ("the statement is far from true", False),
        ("it is hardly false", True),
        ("It is not, however, true", False),
        ("There is no reason to doubt, so yes.", True),
        ("It is not raining, but the statement is true", True),
        ("If it is not raining, the statement is true", True),
        ('The sentence "she did not go home" is plausible', True),
        ("It is not the case that this is never true", None),
        ("It is not clear whether it is true", None),
        ("Nothing he said is true", None),
        ("nor is it true", False),
        ("so we ask whether it is yes or no", None),
        ("The claim that they do not lie is true", None),
    ],
)
def test_a_negation_turns_the_yes_of_its_clause_into_no(text: str, truth: bool | None) -> None:
    said = {True: "correct", False: "wrong", None: "no_answer"}[truth]
    assert value("yes", f"The answer is: {text}", BOOLEAN) == said
    verdict = check(problem("yes", BOOLEAN), f"The answer is: {text}")
    assert read_truth(verdict.extracted or "") is truth


def test_an_unmarked_end_that_is_negated_is_not_taken_for_a_yes() -> None:
    text = "So the argument is not deductively valid."
    assert (value("valid", text, BOOLEAN), value("invalid", text, BOOLEAN)) == ("no_answer", "correct")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("The answer is not a red kite.", None),
        ("It is not a red kite.", None),
        ("So it cannot be a red kite.", None),
        ("It isn't the 12 km.", None),
        ("The answer is neither A nor B.", None),
        ("The answer cannot be known, it is not 12 km.", None),
        ("So it is not A but B.", "B"),
        ("The answer is B and not A.", "B"),
        ("It is not 12 km but 15 km.", "C"),
    ],
)
def test_an_option_that_is_denied_is_not_chosen(text: str, label: str | None) -> None:
    for gold in "ABC":
        right = value(gold, text, CHOICE, OPTIONS)
        assert (right == "correct") == (gold == label)
        assert label or right == "no_answer"


def test_an_option_that_begins_with_not_is_no_denial() -> None:
    options = (Choice(label="A", text="green"), Choice(label="B", text="not green"))
    assert value("B", "So it is not green.", CHOICE, options) == "correct"


def test_without_options_a_letter_stands_for_one_and_the_pronoun_for_none() -> None:
    said = ("The answer is A, I think.", "The answer is A or B.")
    assert [value("A", text, CHOICE) for text in said] == ["correct", "wrong"]


def test_a_word_of_two_letters_is_too_short_to_name_its_option() -> None:
    options = (Choice(label="A", text="up"), Choice(label="B", text="down the hill"))
    assert value("A", "The answer is that we end up there.", CHOICE, options) == "no_answer"
    assert value("B", "The answer is that we go down the hill.", CHOICE, options) == "correct"


def test_lenient_is_beside_strict_and_never_below_it() -> None:
    verdict = check(problem("53"), "We find $x = \\boxed{52.9}$, which we round to 53.")
    assert (verdict.value, verdict.lenient) == (Judgement.WRONG, Judgement.CORRECT)
    far = check(problem("18"), f"We get 18 of them. {'And so it goes on. ' * 40}The answer is unclear.")
    assert (far.value, far.lenient) == (Judgement.NO_ANSWER, Judgement.CORRECT), "however far its last number stands"


def test_a_long_text_is_read_at_its_end_and_a_long_answer_is_shown_in_part() -> None:
    assert value("5", f"{'so it goes 7 ' * 20_000}The answer is 5.") == "correct"
    many = "word " * 200
    verdict = check(problem(many, TEXT), f"The answer is {many}")
    assert verdict.value is Judgement.CORRECT and len(verdict.extracted or "") == 500


@pytest.mark.slow
def test_another_formula_at_an_unmarked_end_is_no_answer_and_leniently_wrong() -> None:
    verdict = check(problem(r"\sqrt{2}+\pi", LATEX), r"So in the end we find $\sqrt{3}+\pi$.")
    assert (verdict.value, verdict.lenient) == (Judgement.NO_ANSWER, Judgement.WRONG)


@pytest.mark.parametrize(
    ("answer", "kind", "choices"),
    [
        ("", NUMBER, ()),
        ("E", CHOICE, OPTIONS),
        ("maybe", BOOLEAN, ()),
        ("several", CHOICE, ()),
        ("??", LATEX, ()),
        ("??", NUMBER, ()),
        ("\\frac{1}{2", LATEX, ()),
        ("\x0crac{1}{2}", LATEX, ()),
    ],
)
def test_a_bad_gold_answer_is_the_problems_fault(answer: str, kind: AnswerKind, choices: tuple[Choice, ...]) -> None:
    bad = problem(answer, kind, choices)
    with pytest.raises(DataError, match="gold answer"):
        check(bad, "The answer is 5.")
    assert gold_error(bad) is not None


def test_options_written_into_the_question_are_read() -> None:
    asked = problem("B", CHOICE, question="Where? Answer Choices: (A) at home (B) by the sea (C) in bed")
    assert [choice.text for choice in parse_gold(asked).choices] == ["at home", "by the sea", "in bed"]
    assert check(asked, "The answer is by the sea.").value is Judgement.CORRECT
    shown = problem("B", CHOICE, question="Which distance is (A) in the figure? (A) 3 km (B) 4 km (C) 5 km")
    assert [choice.text for choice in parse_gold(shown).choices] == ["3 km", "4 km", "5 km"], "the last run from A on"


def test_the_code_hash_is_that_of_the_sources_whatever_ends_their_lines(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("as", "windows", "changed")]
    for folder, text in zip(folders, (b"a = 1\n", b"a = 1\r\n", b"a = 2\n"), strict=True):
        folder.mkdir()
        (folder / "one.py").write_bytes(text)
    same, windows, changed = map(code_hash, folders)
    assert same == windows != changed
    assert len(code_hash()) == 32


def test_factors_in_nested_powers_are_counted_and_not_written_out() -> None:
    nested = "(x-x+1)"
    for _ in range(6):
        nested = f"({nested})^{{60}}"
    asked = problem("(x-1)(x+1)", AnswerKind.LATEX, question="Factor $x^2-1$.")
    assert check(asked, rf"So \boxed{{(x-1)(x+1){nested}}}.").value is Judgement.CORRECT


@pytest.mark.parametrize("gold", ["banana", "N/A", "nan", "None", "four pens or so?"])
def test_words_are_no_gold_number(gold: str) -> None:
    assert "is no number" in (gold_error(problem(gold)) or "")


def test_a_worked_solution_as_gold_number_ends_in_its_answer() -> None:
    gold = "Natalia sold 48/2 = <<48/2=24>>24 clips in May, 48+24 in all.\n#### 72"
    assert (value(gold, "The answer is 72."), value(gold, "The answer is 24.")) == ("correct", "wrong")
    told = f"{'One third and one sixth are as much as a half. ' * 9}The answer is $\\frac{{1}}{{2}}$."
    assert (value(told, "The answer is 0.5.", LATEX), value(told, "The answer is 0.3.", LATEX)) == ("correct", "wrong")
