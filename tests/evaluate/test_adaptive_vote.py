"""ASC: the weighed vote (TDG-P12), the stopping rule and its error, the solver with a scripted student and ranker."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, permutations
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as settings_of
from hypothesis import strategies as st

from feints.errors import DataError, SettingsError
from feints.evaluate.adaptive_vote import AdaptiveVote, boundary, decided, first_look
from feints.evaluate.calibration import check_ranker
from feints.evaluate.raw_vote import RawVote
from feints.evaluate.settings import ExamSettings
from feints.evaluate.solver import Majority, OneShot
from feints.evaluate.vote import affine_weights, credit, vote
from feints.evaluate.vote_curve import VotePoint, vote_curve
from feints.generate.prompt import STUDENT
from feints.generate.scripted import ScriptedSource
from feints.generate.source import Request, Sampling
from feints.pipeline import Exams
from feints.records import AnswerKind, Judgement, Problem
from feints.runs import Stored
from feints.tables import read_table
from feints.verify.pool import CheckerPool

WARM = Sampling(temperature=0.7, max_tokens=32)


def problem(number: int) -> Problem:
    return Problem(
        id=f"p{number}",
        question=f"What is {number} + 1 ?",
        answer=str(number + 1),
        answer_kind=AnswerKind.NUMBER,
        task="made up",
        split="test",
    )


class Lengths:
    """A ranker that likes certain texts."""

    identity = "likes"

    def __init__(self, liked: str = "liked", unread: str = "unread") -> None:
        self.liked, self.unread = liked, unread

    def score(self, items: Sequence[tuple[Problem, str]]) -> list[float | None]:
        return [None if self.unread in text else 0.9 if self.liked in text else 0.1 for _, text in items]

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True)


@pytest.fixture(scope="module")
def pool() -> CheckerPool:
    with CheckerPool(workers=1) as made:
        yield made


def solver(texts: dict[int, str], default: str, pool: CheckerPool, sampling: Sampling = WARM) -> OneShot:
    """A student that says `texts[i]` as its i-th sample."""

    def write(request: Request) -> str:
        return texts.get(request.sample_index, default)

    return OneShot(ScriptedSource(write, "scripted"), STUDENT, sampling, checker=pool)


# --------------------------------------------------------------------------------------------------------- the vote


def test_tdg_p12_equal_scores_are_a_majority_and_slope_zero_is_self_consistency() -> None:
    """TDG-P12: of the vote."""
    keys = ["3", "4", "4", None, "5", "3", "4"]
    for offset, slope in ((1.0, 2.0), (1.0, 1.0), (0.0, 1.0)):
        assert vote(keys, affine_weights([0.4] * 7, offset, slope)).winner == vote(keys).winner
    draw = np.random.default_rng(0)
    assert vote(keys, affine_weights(draw.random(7).tolist(), 1.0, 0.0)) == vote(keys)


@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_tdg_p12_one_sample_is_that_samples_answer(slope: float, pool: CheckerPool) -> None:
    """TDG-P12: N = 1."""
    one = solver({0: "The answer is 7."}, "", pool)
    asked = [problem(3), problem(6)]
    answers = AdaptiveVote(one, Lengths(), samples=1, slope=slope).solve(asked, 0)
    alone = one.solve(asked, 0)
    assert [(a.text, a.judgement, a.tokens) for a in answers] == [(a.text, a.judgement, a.tokens) for a in alone]


def test_votes_without_a_ranker_are_the_majority(pool: CheckerPool) -> None:
    """TDG-P12: of whole solvers, also with a ranker that scores all texts alike."""
    texts = {n: f"The answer is {4 if n % 3 else 5}." for n in range(9)}
    inner = solver(texts, "?", pool)
    asked = [problem(n) for n in range(4)]
    majority = Majority(inner, 9).solve(asked, 1)
    voted = AdaptiveVote(inner, None, samples=9, slope=0.0, stop=False).solve(asked, 1)
    assert voted == majority
    scored = AdaptiveVote(inner, Lengths(liked=""), samples=9, stop=False).solve(asked, 1)
    assert [replace(answer, sample_scores=()) for answer in scored] == majority


def test_the_ranker_turns_a_vote_and_answers_are_normalised_first(pool: CheckerPool) -> None:
    texts = {
        0: "The answer is 9.",
        1: "The answer is 9.",
        2: "liked. The answer is $4.00.",
        3: "liked. The answer is 4.",
    }
    texts |= {4: "The answer is 9.", 5: "nothing is said"}
    inner, asked = solver(texts, "?", pool), [problem(3)]
    assert AdaptiveVote(inner, None, samples=6, slope=0.0).solve(asked, 0)[0].extracted == "9"
    (answer,) = AdaptiveVote(inner, Lengths(), samples=6, offset=0.0, stop=False).solve(asked, 0)
    assert answer.text == texts[2]
    assert answer.sample_scores == (0.1, 0.1, 0.9, 0.9, 0.1, 0.1)


def test_what_the_ranker_cannot_read_has_the_mean_score(pool: CheckerPool) -> None:
    texts = {0: "liked. The answer is 4.", 1: "The answer is 9.", 2: "unread. The answer is 9."}
    (answer,) = AdaptiveVote(solver(texts, "?", pool), Lengths(), samples=3, stop=False).solve([problem(3)], 0)
    assert answer.sample_scores == (0.9, 0.1, 0.5)
    assert answer.extracted == "9", "1.1 + 1.5 against 1.9"


def test_tdg_d8_raw_keys_split_votes_and_let_a_missing_answer_win(pool: CheckerPool, tmp_path: Path) -> None:
    texts = {0: "The answer is 4.", 1: "The answer is $4.00.", 2: "The answer is 9.", 3: "The answer is 9."}
    asked = [problem(3)]
    usual, raw = (
        AdaptiveVote(solver(texts, "?", pool), None, samples=4, slope=0.0, stop=False, raw_keys=switch)
        for switch in (False, True)
    )
    assert usual.solve(asked, 0)[0].text == texts[0], "4 and $4.00 are one answer, tied with 9 and given first"
    assert raw.solve(asked, 0)[0].text == texts[2]
    mute = AdaptiveVote(solver({0: "The answer is 4."}, "?", pool), None, samples=4, slope=0.0, raw_keys=True)
    assert mute.solve(asked, 0)[0].extracted is None
    assert usual.identity != raw.identity and "raw_keys" not in usual.settings


def test_the_curve_of_a_raw_vote_is_of_that_vote(pool: CheckerPool) -> None:
    texts = {0: "The answer is 4.", 1: "The answer is 4.0.", 2: "The answer is 4.00.", 3: "The answer is 9."}
    texts |= {4: "The answer is 9.", 5: "I do not know"}
    inner, asked = solver(texts, "?", pool), [problem(3)]
    by_letter = AdaptiveVote(inner, None, samples=6, slope=0.0, stop=False, raw_keys=True)
    for raw, usual in ((by_letter, replace_keys(by_letter)), (RawVote(inner, 6), Majority(inner, 6))):
        said = {one: one.solve(asked, 0)[0].judgement for one in (raw, usual)}
        assert said == {raw: Judgement.WRONG, usual: Judgement.CORRECT}
        for one in (raw, usual):
            curve = vote_curve(asked, one.solve(asked, 0), [6], key=one.key)
            (whole,) = [point.accuracy for point in curve if point.vote == "majority"]
            assert whole == float(said[one] is Judgement.CORRECT)


def test_a_run_keeps_the_curve_of_the_vote_it_was_examined_with(
    tiny: ModuleType, student: Path, tmp_path: Path, pool: CheckerPool
) -> None:
    texts = {0: "The answer is 4.", 1: "The answer is 4.0.", 2: "The answer is 9.", 3: "The answer is 9."}
    asked = Stored((problem(3),), "asked", tmp_path)
    recipe, sets = (SimpleNamespace(exam=ExamSettings(), seeds=(0,)), SimpleNamespace(tests={"test": asked}))
    with tiny.tiny_bench(tmp_path, student) as bench:
        exams = Exams(recipe, sets)  # type: ignore[arg-type]
        for arm, voting in (("usual", Majority), ("raw", RawVote)):
            exams.take(replace(bench, arm=arm), voting(solver(texts, "?", pool), 4))
        points = {
            (point.vote, point.k, entry["arm"]): point.accuracy
            for path, entry in bench.run.outputs("6_report")
            for point in read_table(path, VotePoint)
        }
    assert (points["majority", 4, "usual"], points["majority", 4, "raw"]) == (0.5, 0.0)


def replace_keys(voting: AdaptiveVote) -> AdaptiveVote:
    return AdaptiveVote(voting.inner, None, **(voting.settings | {"raw_keys": False}))


@pytest.mark.parametrize("sizes", [(2, 2), (3, 3, 1), (2, 2, 2)])
def test_the_first_of_a_tie_shares_the_credit_over_all_orders(sizes: tuple[int, ...]) -> None:
    """Exact, over all orders of the samples: the winner is each of the tied answers equally often."""
    keys = tuple(str(answer) for answer, size in enumerate(sizes) for _ in range(size))
    orders = set(permutations(keys))
    won = Counter(order[vote(order).winner or 0] for order in orders)
    tied = [str(answer) for answer, size in enumerate(sizes) if size == max(sizes)]
    assert won == {key: len(orders) // len(tied) for key in tied}


# ------------------------------------------------------------------------------------------------ the stopping rule


@pytest.mark.parametrize("samples", [5, 8, 16, 17])
@pytest.mark.parametrize("error", [0.01, 0.05, 0.2])
def test_in_every_two_answer_vote_the_error_is_below_the_one_stated(samples: int, error: float) -> None:
    """Exact: all orders of A votes for a and N - A for b, by dynamic programming over the path of the lead."""
    leads = boundary(samples, error)
    for own in range(samples // 2 + 1):
        # Chance that a, with no more votes than b, is stopped at as the winner.
        paths, stopped = {(0, 0): 1.0}, 0.0
        for k in range(1, samples):
            following: dict[tuple[int, int], float] = Counter()
            for (a, b), chance in paths.items():
                left = samples - a - b
                for step, more in (((a + 1, b), own - a), ((a, b + 1), samples - own - b)):
                    if more > 0:
                        following[step] += chance * more / left
            paths = {}
            for (a, b), chance in following.items():
                lead = abs(a - b)
                if lead > samples - k or lead > leads[k - 1]:
                    stopped += chance if a > b else 0.0
                else:
                    paths[a, b] = chance
        assert stopped <= error


@pytest.mark.parametrize("weights", ["spread", "two sizes"])
def test_with_weights_and_several_answers_the_error_is_below_the_one_stated(weights: str) -> None:
    rng = np.random.default_rng(0)
    samples, error, times = 16, 0.05, 3000
    for sizes in ((8, 8), (6, 5, 5), (7, 9), (4, 4, 4, 4)):
        keys = [str(answer) for answer, size in enumerate(sizes) for _ in range(size)]
        loads = 1 + rng.random(samples) if weights == "spread" else rng.choice([0.2, 2.0], samples)
        wrong = 0
        for _ in range(times):
            order = rng.permutation(samples)
            mine, own = [keys[at] for at in order], [float(loads[at]) for at in order]
            stop = next(n for n in range(1, samples + 1) if decided(mine[:n], own[:n], samples, 2.0, error))
            early, full = vote(mine[:stop], own[:stop]), vote(mine, own)
            wrong += mine[early.winner or 0] != mine[full.winner or 0]
        assert wrong / times <= error + 3 * math.sqrt(error / times)


@given(st.lists(st.sampled_from(["3", "4", "5", None]), min_size=7, max_size=7), st.randoms())
@settings_of(max_examples=60, deadline=None)
def test_error_zero_stops_only_where_nothing_can_change(keys: list[str | None], random: object) -> None:
    for n in range(1, 7):
        if decided(keys[:n], [1.0] * n, 7, 1.0, 0.0):
            now = vote(keys[:n]).winner
            for rest in combinations(["3", "4", "5", "6"] * (7 - n), 7 - n):
                after = vote([*keys[:n], *rest]).winner
                assert now is not None and after is not None and keys[now] == [*keys[:n], *rest][after]


def test_a_unanimous_vote_of_sixteen_needs_six_samples_and_none_is_ever_drawn_twice(pool: CheckerPool) -> None:
    assert first_look(16, 0.05) == 6
    assert [first_look(16, error) for error in (0.0, 0.01, 0.2)] == [9, 8, 5]
    assert first_look(1, 0.05) == 1
    assert first_look(3, 0.05) == 2
    drawn: list[tuple[str, int]] = []

    def write(request: Request) -> str:
        drawn.append((request.messages[-1].content, request.sample_index))
        sure = "What is 3" in request.messages[-1].content
        return "The answer is 4." if sure else f"The answer is {request.sample_index}."

    inner = OneShot(ScriptedSource(write, "s"), STUDENT, WARM, checker=pool)
    answers = AdaptiveVote(inner, None, slope=0.0).solve([problem(3), problem(8)], 0)
    assert [len(a.samples) for a in answers] == [6, 16]
    assert len(set(drawn)) == len(drawn) == 22
    assert answers[0].tokens == sum(answers[0].sample_tokens)


def test_where_low_scores_weigh_most_a_lead_is_measured_by_them(pool: CheckerPool) -> None:
    """Two votes of 0.95 against one leave a lead of 0.95, which the last vote may make up for."""
    texts = {n: f"The answer is {4 if n < 2 else 9}." for n in range(4)}
    voting = AdaptiveVote(solver(texts, "?", pool), Lengths(), samples=4, offset=1.0, slope=-0.5, error=0.0)
    assert len(voting.solve([problem(3)], 0)[0].samples) == 4


def test_scores_that_differ_by_rounding_break_no_tie(pool: CheckerPool) -> None:
    class Rounding(Lengths):
        def score(self, items: Sequence[tuple[Problem, str]]) -> list[float | None]:
            return [0.5 + 1e-9 * place for place, _ in enumerate(items)]

    texts = {0: "The answer is 4.", 1: "The answer is 9."}
    (answer,) = AdaptiveVote(solver(texts, "?", pool), Rounding(), samples=2, stop=False).solve([problem(3)], 0)
    assert answer.extracted == "4", "of tied answers the one given first"


def test_samples_without_an_answer_never_decide(pool: CheckerPool) -> None:
    (answer,) = AdaptiveVote(solver({}, "no idea", pool), None, samples=8, slope=0.0).solve([problem(1)], 0)
    assert len(answer.samples) == 8 and answer.extracted is None


def test_settings_that_make_no_vote_are_refused(pool: CheckerPool) -> None:
    inner = solver({}, "", pool)
    with pytest.raises(SettingsError, match="below 0"):
        AdaptiveVote(inner, Lengths(), offset=0.5, slope=-1.0)
    with pytest.raises(SettingsError, match="need a ranker"):
        AdaptiveVote(inner, None)
    with pytest.raises(SettingsError, match="temperature"):
        AdaptiveVote(solver({}, "", pool, Sampling(temperature=0.0)), Lengths())


# ------------------------------------------------------------------------------------------------------- the scores


def test_a_ranker_is_held_against_verdicts() -> None:
    ids = ["a", "a", "a", "b", "b", "c"]
    found = check_ranker(ids, [0.9, 0.2, 0.9, 0.25, None, 0.55], [True, False, False, False, True, True])
    assert (found.rationales, found.unscored, found.pairs) == (5, 1, 2)
    assert found.pair_accuracy == 0.75, "one in order, one tie"
    assert found.brier == pytest.approx((0.01 + 0.04 + 0.81 + 0.0625 + 0.2025) / 5)
    assert found.bin_sizes == (2, 1, 2)
    assert found.calibration_error == pytest.approx((2 * 0.225 + 0.45 + 2 * 0.4) / 5)
    assert math.isnan(check_ranker([], [], []).pair_accuracy)


def test_the_curve_of_votes(pool: CheckerPool) -> None:
    texts = {n: "liked. The answer is 4." if n % 2 else f"The answer is {20 + n % 4}." for n in range(8)}
    inner, asked = solver(texts, "?", pool), [problem(3), problem(40)]
    answers = AdaptiveVote(inner, Lengths(), samples=8, stop=False).solve(asked, 0)
    points = {(p.vote, p.k): p for p in vote_curve(asked, answers, [1, 4, 8])}
    for k in (1, 4, 8):
        assert points["weighted", k].accuracy >= points["majority", k].accuracy - 0.05
        assert points["weighted until decided", k].samples <= k
        assert points["weighted until decided", k].tokens <= points["weighted", k].tokens
    tokens = sum(answer.tokens for answer in answers) / 2
    assert points["majority", 8].tokens == pytest.approx(tokens)
    assert points["majority", 8].accuracy == 0.5
    with pytest.raises(DataError, match="fewer than 9"):
        vote_curve(asked, answers, [9])


def test_ties_share_the_credit() -> None:
    assert credit(vote(["3", "4"]), [True, False]) == 0.5
