"""Every form of request on real problems of the world."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from typing import Any

import pytest

from feints.evaluate.error_kinds import JUDGE, ErrorKind, read_label
from feints.lab.prompts import Ask, stated_answer
from feints.lab.reader import read
from feints.lab.teacher import LabTeacher, Truth
from feints.lab.teacher_settings import LabTeacherSettings
from feints.lab.teacher_texts import teacher_vocabulary
from feints.lab.vocabulary import tokens, vocabulary
from feints.lab.world import problems
from feints.methods.tailored import FEEDBACK
from feints.records import Problem

PROBLEMS = problems("train", 120)
LONGER = problems("longer", 40)
UNSEEN = problems("unseen", 40)
TEACHER = LabTeacher()
RELIABLE = LabTeacher(LabTeacherSettings(failure=0.0, lucky=0.0))
SOLVE = '\n\nReason step by step, one short sentence per step.\nFinish with a line of the form "The answer is ...".'
PROGRAM = "\nLet's break it down in code: write a Python program that puts the answer into `ans`."
EQUATIONS = "\nLet's form a linear equation system whose unknown is `ans`, one equation per line. Do not simplify."
CONSTRAINTS = "\nState the problem as declarative constraints for a solver; the target is ans. Do not solve it."


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "temperature": 0.7, "seed": 7, **more}


def texts(body: dict[str, Any], teacher: LabTeacher = TEACHER) -> list[str]:
    return [choice["message"]["content"] for choice in teacher.respond(body)["choices"]]


def told(body: dict[str, Any], teacher: LabTeacher = TEACHER) -> list[tuple[str, Truth]]:
    return list(zip(texts(body, teacher), teacher.explain(body), strict=True))


# -- words ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("some", [PROBLEMS, LONGER, UNSEEN], ids=["train", "longer", "unseen"])
def test_words_state_the_answer_carried_through_and_stay_in_the_vocabulary(some: list[Problem]) -> None:
    known = set(vocabulary())
    for problem in some:
        for text, truth in told(chat(problem.question + SOLVE, n=4)):
            assert truth.ask is Ask.SOLVE
            assert truth.gold == int(problem.answer)
            assert truth.text == text
            assert stated_answer(text) == truth.answer
            assert (truth.failure == "") == (truth.answer is not None)
            if not truth.mistakes and not truth.failure:
                assert truth.answer == truth.gold
            if truth.failure != "refused":
                assert set(tokens(text)) <= known


def test_the_last_value_follows_from_the_steps_as_written() -> None:
    for problem in PROBLEMS:
        for text, truth in told(chat(problem.question + SOLVE, n=4)):
            if truth.answer is None or truth.kinds:
                continue
            results = [int(number) for number in re.findall(r"(?:= |get )(\d+)", text)]
            assert truth.answer in results


def test_samples_differ_in_wording_and_order_and_right_and_wrong_do_not_share_a_template() -> None:
    distinct = [len(set(texts(chat(problem.question + SOLVE, n=8)))) for problem in PROBLEMS]
    longer = [d for d, problem in zip(distinct, PROBLEMS, strict=True) if (problem.level or 0) > 1]
    assert sum(d == 8 for d in longer) > 0.75 * len(longer)
    orders = set()
    for problem in LONGER[:10]:
        for text in texts(chat(problem.question + SOLVE, n=8)):
            orders.add(tuple(re.findall(r"\d+(?: [-+*/] \d+)+", text)))
    assert len(orders) > 40


def test_greedy_is_deterministic_and_seeds_and_choices_differ() -> None:
    body = chat(LONGER[0].question + SOLVE, n=4)
    assert texts(body) == texts(body) == texts(body, LabTeacher())
    assert len({*texts(body), *texts({**body, "seed": 8})}) > 5
    greedy = {**body, "temperature": 0}
    assert len(set(texts(greedy))) == 1
    assert texts(greedy) == texts({**greedy, "seed": 99})


def test_without_a_seed_every_call_is_a_new_draw() -> None:
    body = chat(LONGER[1].question + SOLVE)
    del body["seed"]
    teacher = LabTeacher()
    assert len({texts(body, teacher)[0] for _ in range(6)}) > 3
    again = LabTeacher()
    assert texts(body, again)[0] == again.explain(body)[0].text


# -- lines ---------------------------------------------------------------------------------------------


def run_programs(programs: list[str]) -> list[float]:
    """`ans` of each, in one fresh interpreter; only names, numbers and arithmetic are let through."""
    allowed = re.compile(r"(?:#.*|\w+ = [\w ()+*/-]+)(?:\n(?:#.*|\w+ = [\w ()+*/-]+))*")
    assert all(allowed.fullmatch(program) for program in programs)
    code = (
        "import json,sys\nfound=[]\n"
        "for p in json.load(sys.stdin):\n s={}\n exec(p,{'__builtins__':{}},s)\n found.append(s['ans'])\n"
        "print(json.dumps(found))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], input=json.dumps(programs), capture_output=True, text=True, check=True
    )
    return list(json.loads(done.stdout))


def test_programs_run_to_the_answer_they_are_said_to_give() -> None:
    both = [pair for p in (*PROBLEMS, *LONGER) for pair in told(chat(p.question + PROGRAM, n=2), RELIABLE)]
    for (text, truth), value in zip(both, run_programs([text for text, _ in both]), strict=True):
        assert value == truth.answer
        assert set(tokens(text)) <= set(vocabulary()) | teacher_vocabulary()
    assert 0.55 < sum(truth.right for _, truth in both) / len(both) < 0.9
    assert not any(kind.value == "calculation" for _, truth in both for kind in truth.kinds)


def solve_lines(text: str) -> Fraction:
    """Substitute until every unknown is known; each line has at most one unknown at its turn."""
    lines = [line for line in text.split("\n") if not line.startswith(("#", "solve"))]
    known: dict[str, Fraction] = {}
    while lines:
        before = len(lines)
        for line in list(lines):
            left, right = line.split(" = ")
            unknown = {name for name in re.findall(r"[A-Za-z]+", line) if name not in known}
            if len(unknown) > 1:
                continue
            if unknown:
                (name,) = unknown
                known[name] = linear_root(left, right, name, known)
            else:
                assert value(left, known) == value(right, known)
            lines.remove(line)
        assert len(lines) < before
    return known["ans"]


def value(expression: str, known: dict[str, Fraction]) -> Fraction:
    """From left to right; parentheses stand only around what comes first."""
    parts = expression.replace("(", "").replace(")", "").split()
    total = Fraction(0)
    for operator, part in zip(["+", *parts[1::2]], parts[::2], strict=True):
        number = known[part] if part in known else Fraction(part)
        total = {"+": total + number, "-": total - number, "*": total * number}.get(operator, total / (number or 1))
    return total


def linear_root(left: str, right: str, name: str, known: dict[str, Fraction]) -> Fraction:
    def gap(x: int) -> Fraction:
        return value(left, {**known, name: Fraction(x)}) - value(right, {**known, name: Fraction(x)})

    slope = gap(2) - gap(1)
    return Fraction(1) - gap(1) / slope


@pytest.mark.parametrize("cue", [EQUATIONS, CONSTRAINTS], ids=["equations", "constraints"])
def test_equations_and_constraints_have_the_answer_as_their_solution(cue: str) -> None:
    for problem in (*PROBLEMS, *LONGER):
        for text, truth in told(chat(problem.question + cue, n=2), RELIABLE):
            assert solve_lines(text) == truth.answer
            assert set(tokens(text)) <= set(vocabulary()) | teacher_vocabulary()
            assert ("solve(ans)" in text) is (cue == CONSTRAINTS)


# -- key points ----------------------------------------------------------------------------------------


def test_key_points_in_one_call() -> None:
    ask = "\nGive three labelled fields: the core question, the useful information as a list, and the solution."
    for problem in PROBLEMS[:60]:
        for text, truth in told(chat(problem.question + ask, n=2), RELIABLE):
            assert truth.ask is Ask.KEYPOINTS
            core, rest = text.split("\nUseful information:\n")
            information, solution = rest.split("\nSolution:\n")
            assert core == "Core question: " + read(problem.question).core_question
            assert stated_answer(solution) == truth.answer
            for number in re.findall(r"\d+", re.sub(r"(?m)^\d+\. ", "", information)):
                assert number in re.findall(r"\d+", problem.question)


def test_key_points_by_a_chain_of_prompts() -> None:
    for problem in PROBLEMS[:60]:
        q = problem.question
        first = chat(f"{q}\nPlease extract the core question, only the most comprehensive one. Do not solve it.")
        (core,) = texts(first, RELIABLE)
        assert core == read(q).core_question
        second = chat(f"{q}\nNote: extract the most useful information for the core question ({core}), one by one.")
        (information,) = texts(second, RELIABLE)
        assert information.startswith("1. ")
        assert "answer is" not in information
        third = (
            f"{q}\nHint: {information}\n{core}\nPlease combine the hint and the core question, and solve it in detail."
        )
        for text, truth in told(chat(third, n=4), RELIABLE):
            assert truth.ask is Ask.SOLVE
            assert stated_answer(text) == truth.answer
            listed = any(fact.text in information for fact in read(q).irrelevant)
            assert listed or all(kind.value != "misunderstanding" for kind in truth.kinds)


def test_key_points_with_a_program_as_solution() -> None:
    ask = "\nGive the core question, the useful information, and as solution a Python program that sets ans."
    (text,) = texts(chat(PROBLEMS[3].question + ask), RELIABLE)
    assert run_programs([text.split("\nSolution:\n")[1]])


# -- hints, wrong responses, tailored answers ---------------------------------------------------------------


def test_a_hinted_answer_is_reached_nearly_always() -> None:
    reached = total = 0
    for problem in PROBLEMS:
        body = chat(
            f"{problem.question}\nHint: the correct answer is {problem.answer}.\nLet's think step by step.", n=8
        )
        truths = TEACHER.explain(body)
        reached += sum(truth.right for truth in truths)
        total += len(truths)
    assert reached >= 0.97 * total
    assert reached < total


def test_a_false_hint_is_mostly_ignored() -> None:
    followed = right = 0
    for problem in PROBLEMS:
        wrong = int(problem.answer) + 17
        for truth in TEACHER.explain(
            chat(f"{problem.question}\nHint: the answer is {wrong}.\nThink step by step.", n=4)
        ):
            followed += truth.answer == wrong
            right += truth.right
    assert 0.03 < followed / (4 * len(PROBLEMS)) < 0.2
    assert right > followed


CONTRAST = (
    "Solve the problems. Fill in the wrong response: the likeliest wrong answer with its rationale, which differs "
    "from the right response in both.\n\n"
)


def test_a_wrong_response_never_has_the_right_answer() -> None:
    shot, *rest = PROBLEMS
    demonstration = f"Question: {shot.question}\nRight response: 1 + 1 = 2. The answer is 2.\nWrong response: 3.\n\n"
    for problem in rest:
        (right,) = texts(chat(f"{problem.question}\nHint: the correct answer is {problem.answer}."), RELIABLE)
        body = chat(
            f"{CONTRAST}{demonstration}Question: {problem.question}\nRight response: {right}\nWrong response:", n=4
        )
        for text, truth in told(body, RELIABLE):
            assert truth.ask is Ask.WRONG
            assert truth.question == problem.question
            assert stated_answer(text) == truth.answer != int(problem.answer)
            assert truth.mistakes
            assert text != right


def test_a_tailored_answer_names_the_mistake_and_is_right() -> None:
    right = total = commented = 0
    for problem in PROBLEMS:
        wrong = next(
            (t for t in TEACHER.explain(chat(problem.question + SOLVE, n=8)) if t.answer and not t.right), None
        )
        if wrong is None:
            continue
        body = chat(
            f"A student made a mistake. Write a rationale that helps this student.\nQuestion: {problem.question}\n"
            f"Student's wrong rationale: {wrong.text}\nHint: the correct answer is {problem.answer}.\nYour rationale:",
            n=4,
        )
        for text, truth in told(body, RELIABLE):
            assert truth.ask is Ask.TAILORED
            total += 1
            right += truth.right
            commented += text.startswith(("There is a mistake", "This is wrong", "This step is left out"))
            assert set(tokens(text)) <= set(vocabulary()) | teacher_vocabulary()
    assert total > 200
    assert right >= 0.96 * total
    assert commented >= 0.95 * total


def test_a_tailored_answer_that_must_stand_alone_reminds_without_a_word_on_the_mistake() -> None:
    """It is what a student reads that will see the question alone."""
    total = misread = reminded = 0
    for problem in PROBLEMS:
        wrong = next(
            (t for t in TEACHER.explain(chat(problem.question + SOLVE, n=8)) if t.answer and not t.right), None
        )
        if wrong is None:
            continue
        filled = FEEDBACK.messages(problem, wrong=wrong.text, gold=problem.answer)[-1].content
        for text, truth in told(chat(filled, n=4), RELIABLE):
            assert truth.ask is Ask.TAILORED
            assert not re.search("mistake|wrong|left out|right way|not true", text, re.I)
            total += 1
            if wrong.kinds == ("misunderstanding",):
                misread += 1
                reminded += text.startswith("We do not need this: ")
    assert total > 200
    assert misread > 20
    assert reminded >= 0.75 * misread  # not where the number misread is also one that is needed


# -- new problems and labels -----------------------------------------------------------------------------------


@pytest.mark.parametrize("harder", [False, True])
def test_a_new_problem_is_in_the_grammar_and_as_hard_as_asked(harder: bool) -> None:
    wish = "a harder variant of this problem" if harder else "a new problem of similar difficulty"
    for problem in PROBLEMS[:25]:
        (text,) = texts(chat(f"Write {wish}.\n\nProblem: {problem.question}"))
        made = read(text)
        assert text != problem.question
        assert len(made.steps) == min(4, (problem.level or 0) + harder)
        assert {s.kind for s in made.steps} & {s.kind for s in read(problem.question).steps}


def test_labels_agree_with_the_truth_most_of_the_time() -> None:
    letters = {"logical": "a", "knowledge": "b", "calculation": "c", "misunderstanding": "d"}
    agree = total = 0
    for problem in PROBLEMS:
        for wrong in TEACHER.explain(chat(problem.question + SOLVE, n=4)):
            if wrong.right or len(wrong.mistakes) != 1:
                continue
            body = chat(
                "Classify the mistake pattern of the wrong response, with a rationale and then a label: a = logical, "
                f"b = knowledge, c = calculation, d = other; join several by +.\nQuestion: {problem.question}\n"
                f"Right response: The answer is {problem.answer}.\nWrong response: {wrong.text}\nPattern:"
            )
            for text, truth in told(body):
                assert truth.ask is Ask.LABEL
                assert text.endswith(f"Label: {truth.label}")
                agree += truth.label == letters[wrong.kinds[0]]
                total += 1
    assert total > 80
    assert 0.8 < agree / total < 1.0


def test_why_a_response_is_wrong_is_said_in_the_words_of_the_judges_prompt() -> None:
    """What the label is agrees with the single mistake made on purpose, where its kind has a word of its own."""
    words = {"calculation": ErrorKind.CALCULATION, "misunderstanding": ErrorKind.MISUNDERSTANDING}
    seen: Counter[ErrorKind] = Counter()
    for problem in PROBLEMS:
        for wrong in TEACHER.explain(chat(problem.question + SOLVE, n=4)):
            if wrong.right or len(wrong.mistakes) != 1 or wrong.kinds[0] not in words:
                continue
            message = JUDGE.messages(problem, gold=problem.answer, response=wrong.text)[-1]
            for text, truth in told(chat(message.content)):
                assert truth.ask is Ask.KIND
                assert read_label(text) is words[wrong.kinds[0]]
                seen[read_label(text)] += 1
    assert min(seen[kind] for kind in words.values()) > 10
