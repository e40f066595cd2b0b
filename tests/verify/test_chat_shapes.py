"""How models of today word an answer: headings, bullets, verdicts first, reasons behind, a look back, many tags."""

from __future__ import annotations

import pytest
from tests.verify.asked import BOOLEAN, CHOICE, LATEX, NUMBER, TEXT, problem, value

from feints.records import AnswerKind, Choice, Finish, Judgement
from feints.verify import check

PLACES = tuple(
    Choice(label=label, text=text)
    for label, text in zip("ABCDE", ("bank", "library", "department store", "mall", "new york"), strict=True)
)
SENTENCES = tuple(
    Choice(label=label, text=text)
    for label, text in zip(
        "ABCD", ("It stores heat", "It is used to cool the house", "It moves air", "It filters water"), strict=True
    )
)


@pytest.mark.parametrize(
    ("gold", "text"),
    [
        ("42", "Answer:\n- 42 apples"),
        ("42", "**Answer:**\n\n- **42 apples**"),
        ("42", "**Final Answer:**\n1. 42 apples"),
        ("42", "Answer=> 42"),
        ("42", "The answer is 42. Let's verify: 42 - 2 = 40."),
        ("42", "The answer is 42 when x = 6."),
        ("42", "The answer is $42$, where $x = 6$."),
        ("8", "**Answer: 8 apples** (Check: 8 + 2 = 10)"),
        ("8", "Therefore, the answer is 8 apples, leaving 10 - 8 = 2."),
        ("42", "The answer is 42. The answer is a whole number."),
        ("42", "The final answer is \\boxed{42}.\n\nThe final answer is rounded to 2 decimals."),
        ("42", "The answer is 42.\nThis answer is correct since 42/6 = 7."),
        ("20", "**Answer:** In 5 days he reads **20 pages**."),
        ("20", "Final Answer: The cost of 4 pens is $20."),
        ("20", "Answer: In 5 days he reads 20 pages."),
        ("20", "Answer: After 5 days, 20 pages are left of 30."),
        ("5", "Answer: With 3 cats and 2 dogs, the total is 5 pets."),
        ("20", "Answer: Tom has 20 apples, which is 5 more than Ann."),
        ("20", "**Answer:** Each one gets 20 apples."),
        ("20", "**Answer:** The third side is 20 cm."),
        ("984", "The answer is 246 people times 4 sections, which equals 984 people."),
        ("8", "A: Tom starts with 3 apples. He buys 5 more, so he has 8 apples."),
        ("8", "Answer:\nTom starts with 3 apples.\nHe buys 5 more.\nTom has 8 apples."),
        ("5", "<answer>\nStep 1: 2+3\n\n**5**\n</answer>"),
        ("5", "<final_answer>5</final_answer>"),
        ("8", "<result>8</result>"),
        ("8", '<answer type="int">8</answer>'),
        ("8", "<thinking>The answer is 9</thinking>\nShe has 8 apples."),
        ("80", "Number of correct answers = 20\n\nScore = 20 * 4 = 80\n\nSo she scores **80 points**."),
        ("20", "He can answer 5 questions per minute. So for 100 questions he needs 20 minutes."),
        ("42", "The best choice is 3 packs of 14 pens.\nSo he gets 3 * 14 = 42 pens."),
        ("42", "The answer to this 2-part question is 42."),
        ("3.5", "The answer is 3 and a half hours."),
        ("8", "So Lisa has 8 apples.\n\n---"),
        ("8", "So, Lisa has 8 apples! 😊"),
        ("8", "So, the total is\n\n\\[\n3 + 5 = 8\n\\]"),
        ("8", "Lisa has 8 apples. I hope this helps! Let me know if you have any other questions."),
        ("-42", "The answer is -42."),
        ("9", "That means she needs at least 9 points on the third test."),
    ],
)
def test_a_right_number_is_read(gold: str, text: str) -> None:
    assert value(gold, text) == "correct"


@pytest.mark.parametrize(
    ("gold", "text"),
    [
        ("40", "The answer is 42. Let's verify: 42 - 2 = 40."),
        ("2", "Therefore, the answer is 8 apples, leaving 10 - 8 = 2."),
        ("6", "The answer is 42 when x = 6."),
        ("-42", "Answer:\n- 42 apples"),
        ("5", "**Answer:** In 5 days he reads **20 pages**."),
        ("9", "<thinking>The answer is 9</thinking>\nThe answer is 8."),
        ("3", "The answer is 3 and a half hours."),
        ("5", "The answer is 5 apples or 6 apples."),
        ("5", "The answer is 5, or possibly 6."),
        ("3", "\\boxed{\\frac{3}{n}}"),
        ("3", "\\boxed{3n}"),
    ],
)
def test_another_number_is_wrong(gold: str, text: str) -> None:
    assert value(gold, text) == "wrong"


@pytest.mark.parametrize(
    ("gold", "text"),
    [
        ("20", "Number of correct answers = 20\n\nScore = 20 * 4 = 80\n\nSo she scores **80 points**."),
        ("3", "Answer:\nTom starts with 3 apples.\nHe buys 5 more.\nTom has 8 apples."),
        ("8", "<thinking>\nSo the answer is 8"),
        ("5", "If A, the answer is 5. If B, the answer is less clear."),
    ],
)
def test_a_number_on_the_way_is_no_answer(gold: str, text: str) -> None:
    assert value(gold, text) == "no_answer"


@pytest.mark.parametrize(
    ("gold", "text", "expected"),
    [
        ("yes", "**Yes.**\n\nHamsters are prey animals.", "correct"),
        ("no", "Yes. Hamsters are prey animals. Prey are food for predators.", "wrong"),
        ("yes", "Yes, some are. But the statement speaks of all, so it is false.", "no_answer"),
        ("no", "The answer is No.\n\nThis answer is correct because snow never falls there.", "correct"),
        ("no", "The answer is no. If it were X, the answer would be yes.", "correct"),
        ("yes", "Some are. My answer is true.", "correct"),
        ("no", "There is no definitive answer to this question, as there is no one practice.", "no_answer"),
        ("no", "If A, the answer is yes. If B, the answer is less clear.", "no_answer"),
    ],
)
def test_yes_and_no(gold: str, text: str, expected: str) -> None:
    assert value(gold, text, BOOLEAN) == expected


@pytest.mark.parametrize(
    ("gold", "text", "expected"),
    [
        ("B", "The answer is library, because a bank does not lend books.", "correct"),
        ("A", "The answer is library, because a bank does not lend books.", "wrong"),
        ("B", "The answer is **library**, since a bank holds money.", "correct"),
        ("D", "The answer is a mall, because a department store is in a mall.", "correct"),
        ("A", "The most likely answer is a bank. A library, a mall, or a department store less so.", "correct"),
        ("A", "The answer is a bank or a library.", "no_answer"),
        ("A", "Therefore, option A is correct.", "correct"),
        ("A", '{"answer": "A"}', "correct"),
        ("A", "Answer: I think it is A.", "correct"),
        ("A", "The answer is A given the facts.", "correct"),
        ("A", "The answer is A while B is false.", "correct"),
        ("A", "The answer is A/B.", "wrong"),
        ("A", "The answer is A, B is wrong.", "correct"),
        ("A", "The answer is A, B.", "wrong"),
        ("A", "Therefore, the correct answer to this question is A.", "correct"),
        ("A", "Answer: A given amount of money.", "no_answer"),
    ],
)  # fmt: skip
def test_options_by_text_and_letter(gold: str, text: str, expected: str) -> None:
    assert value(gold, text, CHOICE, PLACES) == expected


@pytest.mark.parametrize(
    ("gold", "text", "expected"),
    [
        ("B", "B. It is used to cool the house.\n\nThis is since it is hot.", "correct"),
        ("C", "**B**\n\nThis is since it is hot.", "wrong"),
        ("C", "B. It is hot.\n\nNo: option C is right.", "correct"),
        ("C", "I. It is hot in there.", "no_answer"),
        ("B", "The correct answer is B.\n\nThe right option is the one that cools.", "correct"),
        ("B", "Analysis:\n(A) wrong\n(B) right\n(C) wrong\n(D) wrong", "no_answer"),
        ("C", "The closest option is:\n\nC) It moves air\nC) It moves air", "correct"),
    ],
)
def test_a_review_of_options_is_no_answer_and_a_verdict_first_is(gold: str, text: str, expected: str) -> None:
    assert value(gold, text, CHOICE, SENTENCES) == expected


def test_a_review_that_is_cut_is_never_a_negative() -> None:
    said = "Let's look at each option.\n\nA. It stores heat: no, that is a boiler.\n\nC. It moves"
    verdict = check(problem("B", CHOICE, SENTENCES), said, finish=Finish.LENGTH)
    assert verdict.value is Judgement.NO_ANSWER
    assert check(problem("no", BOOLEAN), "Yes, since some", finish=Finish.LENGTH).value is Judgement.NO_ANSWER


def test_a_refusal_that_opens_with_a_word_is_none() -> None:
    said = "No. I cannot help with that question, sorry."
    assert check(problem("yes", BOOLEAN), said, finish=Finish.REFUSAL).value is Judgement.NO_ANSWER


def test_what_a_vote_counts_of_a_text_does_not_hang_on_the_gold_answer() -> None:
    said = "The answer is Paris, the capital of France."
    right, wrong = (check(problem(gold, TEXT), said) for gold in ("Paris", "Lyon"))
    assert (right.value, wrong.value) == (Judgement.CORRECT, Judgement.WRONG)
    assert right.extracted == wrong.extracted == "Paris"


@pytest.mark.parametrize(
    ("texts", "said", "gold"),
    [
        (("$2x+1$", "$3x-4$", "$x^2+1$"), "\\boxed{3x - 4}", "B"),
        (("8:00 am", "9:30 am", "10:00 am"), "The answer is 9:30 a.m.", "B"),
        (("3 hours 20 minutes", "2 hours 30 minutes"), "The answer is 2 hours and 30 minutes.", "B"),
        (("09/14/2020", "10/14/2020", "09/07/2020"), "Therefore, the answer is 9/14/2020.", "A"),
        (("1.05", "1.5"), "The answer is 1.5.", "B"),
    ],
)
def test_an_option_in_another_dress(texts: tuple[str, ...], said: str, gold: str) -> None:
    choices = tuple(Choice(label=label, text=text) for label, text in zip("ABC", texts, strict=False))
    others = {choice.label for choice in choices} - {gold}
    assert value(gold, said, CHOICE, choices) == "correct"
    assert {value(other, said, CHOICE, choices) for other in others} == {"wrong"}


@pytest.mark.parametrize(
    ("kind", "gold", "text", "expected"),
    [
        (TEXT, "Paris", "The answer to this question is Paris.", "correct"),
        (TEXT, "Paris", "The answer is Paris, the capital of France.", "correct"),
        (TEXT, "Paris", "The answer is Paris because it is the capital.", "correct"),
        (TEXT, "Monday", "Answer: It is Monday", "correct"),
        (TEXT, "9 AM", "The answer is 9 a.m.", "correct"),
        (TEXT, "8:30 AM", "The answer is 8:30 a.m.", "correct"),
        (TEXT, "red", "The answer is red, blue.", "wrong"),
        (LATEX, "5", "Thus, the answer is 5. Let's verify: $2 \\cdot 5 = 10$.", "correct"),
        (LATEX, "5", "The answer is 5 since $x = 3$.", "correct"),
        (LATEX, "8", "\\boxed{a + b + c = 8}", "correct"),
        (LATEX, "5", "\\boxed{m + n = 2 + 3 = 5}", "correct"),
        (LATEX, "6", "\\boxed{m + n = 2 + 3 = 5}", "wrong"),
        (LATEX, "2", "\\boxed{2a}", "wrong"),
        (LATEX, "2", "\\boxed{2\\text{ a day}}", "correct"),
        (NUMBER, "3", "3 a day", "correct"),
    ],
)
def test_texts_and_mathematics(kind: AnswerKind, gold: str, text: str, expected: str) -> None:
    assert value(gold, text, kind) == expected


@pytest.mark.parametrize(
    ("kind", "gold", "text", "said"),
    [
        (NUMBER, "42", "The answer is 43... wait, no, 42.", "42"),
        (NUMBER, "42", "The answer is 43. Wait, that's wrong. It should be 42.", "42"),
        (NUMBER, "42", "Answer: 43, no, 42 apples", "42"),
        (NUMBER, "42", "\\boxed{43}. Oops, the correct answer is 42.", "42"),
        (NUMBER, "-42", "The answer is 43, or rather -42", "-42"),
        (LATEX, "\\frac{1}{2}", "The answer is $\\frac{1}{3}$. Wait, no, 1/2.", "1/2"),
        (CHOICE, "C", "The answer is B. Wait, no, C.", "C"),
    ],
)
def test_a_correction_at_the_end_counts(kind: AnswerKind, gold: str, text: str, said: str) -> None:
    verdict = check(problem(gold, kind, PLACES if kind is CHOICE else ()), text)
    assert (verdict.value, verdict.extracted) == (Judgement.CORRECT, said)


@pytest.mark.parametrize(
    ("kind", "gold", "text"),
    [
        (NUMBER, "42", "The answer is 42. Wait, let me check: 6 * 7 = 42, and 42 - 2 = 40."),
        (NUMBER, "42", "The answer is 42, no more than 50."),
        (NUMBER, "42", "The answer is 42, actually 2 more than 40."),
        (CHOICE, "B", "The answer is B. Sorry, A is wrong."),
        (CHOICE, "B", "The answer is B, actually a"),
    ],
)
def test_a_look_back_is_no_correction(kind: AnswerKind, gold: str, text: str) -> None:
    assert value(gold, text, kind, PLACES if kind is CHOICE else ()) == "correct"


def test_a_correction_that_was_cut_is_no_wrong_answer() -> None:
    asked = problem("42")
    assert check(asked, "The answer is 43... wait, no, 4", finish=Finish.LENGTH).value is Judgement.NO_ANSWER
    assert check(asked, "The answer is 43... wait, no, 4.", finish=Finish.LENGTH).value is Judgement.WRONG


@pytest.mark.parametrize(
    ("gold", "text"),
    [
        ("12", "Answer: There are **12** ways."),
        ("12", "Answer: twelve apples"),
        ("12", "Answer: 12 (twelve)"),
        ("12", "Answer: There are 12 such integers between 1 and 100."),
        ("12", "Answer: 12 (since 3 × 4 = 12)"),
        ("72", "The answer is 72 Mb per hour."),
        ("25\\pi", "Answer: 25π (approximately 78.54)"),
        ("2\\sqrt3", "Answer: 2√3 (about 3.464)"),
        ("\\frac12", "Answer: 1/2 (or 0.5)"),
        ("\\frac{14}{3}", "Answer: 14/3 (≈ 4.67)"),
        ("x^4+1", "Answer: x⁴ + 1"),
        ("x^{-2}", "Answer: x⁻²"),
        ("2^n", "Answer: 2ⁿ"),
        ("2516_8", "Answer: 2516₈"),
        ("6.02\\times10^{23}", "Answer: 6.02 × 10²³"),
        ("20,\\!000,\\!000", "The answer is 20 million."),
        ("20,\\!000,\\!000", "\\boxed{\\$20\\text{ million dollars}}"),
        ("3\\text{ hours }30\\text{ minutes}", "\\boxed{3\\text{ hours }30\\text{ min}}"),
        ("1,-2", "The solutions are $x = \\boxed{1}$ and $x = \\boxed{-2}$."),
        ("1,-2", "They are $x_1 = \\boxed{1}$ and $x_2 = \\boxed{-2}$."),
        ("8", "So $a=\\boxed{2}$ and $c=\\boxed{8}$."),
        ("\\text{Evelyn}", "Answer: Evelyn, since her slope is steepest."),
        ("\\text{Evelyn}", "**Answer: Evelyn** (highest average speed)"),
    ],
)
def test_mathematics_is_read_in_prose_and_in_unicode(gold: str, text: str) -> None:
    assert value(gold, text, LATEX) == "correct"


@pytest.mark.parametrize(
    ("kind", "gold", "text"),
    [
        (LATEX, "13", "Answer: There are **12** ways."),
        (LATEX, "2", "Answer: (2, 3)"),
        (LATEX, "-4", "Answer: (-4, -4)"),
        (LATEX, "2", "Answer: 2 < x < 5"),
        (LATEX, "2", "Answer: x = 2 and y = 3"),
        (LATEX, "2", "Answer: g(2) is odd"),
        (LATEX, "4", "Answer: The 4 pens cost 20 dollars."),
        (LATEX, "3", "Answer: Each of the 3 students gets 12 apples."),
        (LATEX, "26\\pi", "Answer: 25π (approximately 26)"),
        (LATEX, "20", "\\boxed{20\\text{ million}}"),
        (LATEX, "330", "\\boxed{3\\text{ hours }30\\text{ minutes}}"),
        (LATEX, "90", "\\boxed{3\\text{ hours }30\\text{ minutes}}"),
        (LATEX, "-2", "The solutions are $n = \\boxed{-8}$ and $n = \\boxed{-2}$."),
        (LATEX, "\\text{Evelyn}", "Answer: Tom, since his slope is steepest."),
        (NUMBER, "3", "\\boxed{\\frac{3(4)}{2}}"),
        (NUMBER, "3", "\\boxed{3(4)}"),
        (NUMBER, "12", "\\boxed{\\frac{12}{\\frac42}}"),
        (NUMBER, "5", "Answer: 5 ÷ 2"),
    ],
)
def test_what_only_begins_like_the_gold_answer_is_wrong(kind: AnswerKind, gold: str, text: str) -> None:
    assert value(gold, text, kind) == "wrong"


def test_a_sign_of_money_is_a_unit() -> None:
    said = "The answer is $5 and 50 cents."
    assert [value(gold, said) for gold in ("5.5", "550", "5", "50")] == ["correct", "correct", "wrong", "wrong"]
    assert [value(gold, "Answer: $5 and 4 pens.") for gold in ("5", "4")] == ["correct", "wrong"]


@pytest.mark.parametrize("said", ["\\frac{3(4)}{2}", "\\frac{12}{\\frac42}", "3 + 3", "12 ÷ 2"])
def test_a_number_may_be_stated_as_a_formula(said: str) -> None:
    assert value("6", f"\\boxed{{{said}}}") == "correct"


@pytest.mark.parametrize("label", "ABE")
@pytest.mark.parametrize(
    "text",
    [
        "Therefore, {} is the correct answer.",
        "I would choose {}.",
        "This corresponds to {}.",
        "Hence {}.",
        "The answer is `{}`.",
        "So {} fits best.",
    ],
)
def test_a_label_alone_is_read_whichever_it_is(label: str, text: str) -> None:
    assert value(label, text.format(label), CHOICE, PLACES) == "correct"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("The answer could be (A) bank, (B) library, or (D) mall.", "wrong"),
        ("The answer is either (A) bank or (D) mall.", "wrong"),
        ("Answer: A. bank or D. mall", "wrong"),
        ("The answer is either (A) bank or (D) mall. (A) bank makes the most sense.", "correct"),
        ("The answer is (A) bank, and a library would be too quiet.", "correct"),
        ("The answer is (A) bank. (D) mall is too loud.", "correct"),
    ],
)
def test_several_options_with_their_texts_are_no_answer(text: str, said: str) -> None:
    assert value("A", text, CHOICE, PLACES) == said


def test_the_article_is_no_label() -> None:
    assert value("A", "So a bank robber would choose A mall or the like.", CHOICE, PLACES) != "correct"


def test_what_is_shown_does_not_hang_on_the_gold_answer() -> None:
    text = "Answer: There are **12** ways."
    right, wrong = (check(problem(gold, LATEX), text) for gold in ("12", "13"))
    assert (right.value, wrong.value) == (Judgement.CORRECT, Judgement.WRONG)
    assert right.extracted == wrong.extracted


def test_a_short_answer_is_read_where_the_long_one_says_nothing() -> None:
    assert value("no", "Short answer: No.\n\nLong answer: While they are alike, they differ.", BOOLEAN) == "correct"


def test_a_sentence_does_not_end_in_an_abbreviation() -> None:
    said = [
        check(problem("Dr. Smith", TEXT), f"The answer is {name}. He was there.") for name in ("Dr. Smith", "Dr. Jones")
    ]
    assert [verdict.extracted for verdict in said] == ["Dr. Smith", "Dr. Jones"]
    assert [verdict.value for verdict in said] == [Judgement.CORRECT, Judgement.WRONG]
