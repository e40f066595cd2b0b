"""A made-up run with everything a report can show."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace

from feints.curate.funnel import Funnel
from feints.evaluate.calibration import check_ranker
from feints.evaluate.rounds import RoundReport
from feints.evaluate.stats import Overlap
from feints.evaluate.vote_curve import VotePoint
from feints.records import (
    AnswerKind,
    Finish,
    Form,
    Judgement,
    Origin,
    Problem,
    Rationale,
    Role,
    Score,
    Verdict,
)
from feints.report.contents import (
    Arm,
    ArmRole,
    ComparisonRow,
    GroupScore,
    Judged,
    KeyPair,
    KeyShare,
    OverlapRow,
    RunContents,
    Sample,
    Spend,
    WeightedExample,
)
from feints.report.training import Curve, CurvePoint, FurtherFunnel, RankerRow, Round, VoteLine


def wilson(right: int, counted: int) -> tuple[float, float]:
    z, p = 1.959963984540054, right / counted
    spread = z * math.sqrt(p * (1 - p) / counted + z * z / (4 * counted**2))
    low, high = (p + z * z / (2 * counted) - spread), (p + z * z / (2 * counted) + spread)
    return max(0.0, low / (1 + z * z / counted)), min(1.0, high / (1 + z * z / counted))


def score(solver: str, problem_set: str, right: int, counted: int = 1000, total: int = 1000, seed: int = 0) -> Score:
    low, high = wilson(right, counted) if counted else (0.0, 1.0)
    return Score(
        solver=solver, problem_set=problem_set, right=right, counted=counted, total=total, low=low, high=high,
        lenient_right=min(counted, right + 7), extracted=max(0, counted - 12), truncated=4, tokens=61_000 + right,
        seed=seed,
    )  # fmt: skip


def problem(id_: str = "lab/train/0042", question: str | None = None) -> Problem:
    text = (
        "Nora has 3 boxes of pencils with 12 pencils in each box. Her brother is 9 years old. She gives 8 pencils "
        "to Tom and shares the rest equally among 4 friends. How many pencils does each friend get?"
    )
    return Problem(
        id=id_, question=question or text, answer="7", answer_kind=AnswerKind.NUMBER, task="lab", split="train"
    )


def judged(text: str, value: Judgement, extracted: str | None, reason: str, thinking: str = "") -> Judged:
    rationale = Rationale(
        id=f"r{abs(hash(text)) % 10_000}", problem_id="lab/train/0042", text=text, thinking=thinking,
        author="scripted-teacher@1", origin=Origin.SAMPLED, finish=Finish.STOP,
    )  # fmt: skip
    verdict = Verdict(
        rationale_id=rationale.id, value=value, lenient=value, extracted=extracted, checker="number", reason=reason
    )
    return Judged(rationale=rationale, verdict=verdict)


RIGHT = judged(
    "Three boxes of 12 make 3 * 12 = 36 pencils. After giving 8 to Tom, 36 - 8 = 28 are left. Her brother's age does "
    "not matter. Shared among 4 friends, 28 / 4 = 7.\nThe answer is 7.",
    Judgement.CORRECT, "7", "equal to the gold answer as exact rationals",
)  # fmt: skip
WRONG = judged(
    "First find the pencils: 3 * 12 = 36. Take away the 8 for Tom and the 9: 36 - 8 - 9 = 19. Each of the 4 friends "
    "gets 19 / 4 = 4.75.\nThe answer is 4.75.",
    Judgement.WRONG, "4.75", "4.75 differs from 7",
)  # fmt: skip
PROGRAM = judged("boxes = 3\nans = (boxes * 12 - 8) / 4\n", Judgement.CORRECT, "7", "the program's result is right")
PROGRAM = replace(PROGRAM, rationale=replace(PROGRAM.rationale, form=Form.POT))
CUT = judged("Three boxes of 12 make 36. She gives 8 to", Judgement.NO_ANSWER, None, "cut off before an answer")


def weighted(negative: bool) -> WeightedExample:
    prompt = ["Q", ":", " How", " many", " pencils", " does", " each", " friend", " get", "?", "\n", "A", ":"]
    target = [
        " 3",
        " *",
        " 1",
        "2",
        " =",
        " 3",
        "6",
        ".",
        " 3",
        "6",
        " -",
        " 8",
        " -",
        " 9",
        " =",
        " 1",
        "9",
        ".",
        "\n",
    ]
    target += ["The", " answer", " is", " 4", ".", "7", "5", ".", "<eos>"]
    weights = [1.0] * len(target)
    if negative:
        weights = [0.0] * 10 + [-0.5] * 2 + [-1.0] * 2 + [-0.5] * 4 + [0.2] * 4 + [-1.0] * 4 + [0.0] * 2
    return WeightedExample(
        title="A wrong rationale, key steps pushed away" if negative else "A right rationale, imitated",
        role=Role.WRONG if negative else Role.RIGHT,
        tokens=tuple(prompt + target),
        weights=tuple([0.0] * len(prompt) + weights),
        prompt_length=len(prompt),
    )


def key_pair(id_: str = "lab/train/0042") -> KeyPair:
    """A pair in which the wrong text takes an irrelevant fact for a relevant one."""
    tokens = ("Q", ":", " 3", " *", " 12", " =", " 36", ".", " 36", " -", " 8", " -", " 9", " =", " 19", "<eos>")
    weights = (0.0,) * 11 + (-0.025,) * 2 + (0.0, -0.025, 0.0)
    wrong = WeightedExample(title="edit", role=Role.WRONG, tokens=tokens, weights=weights, prompt_length=2)
    right = replace(
        wrong, role=Role.RIGHT, tokens=(*tokens[:11], " =", " 28", "<eos>"), weights=(0.0,) * 12 + (1.0, 0.0)
    )
    return KeyPair(problem=problem(id_), right=right, wrong=wrong, pattern="logical")


def rounds() -> tuple[Round, ...]:
    """Two rounds, the second of which brings nothing."""
    first = RoundReport(
        round=1, samples=960, right=402, wrong=498, no_answer=50, not_checked=10, held_back_right=31,
        held_back_counted=80, mistakes=377, requests=377, prompt_tokens=61_000, completion_tokens=40_100, cost=0.21,
        accepted=341, learnt=341, problems=240, outcome="trained",
    )  # fmt: skip
    second = replace(first, round=2, right=950, wrong=0, mistakes=0, requests=0, accepted=0, outcome="no mistakes")
    return (
        Round(arm="tailored", seed=0, brought=first, scores=(score("tailored", "test", 480),)),
        Round(arm="tailored", seed=0, brought=second),
    )


def votes() -> tuple[VoteLine, ...]:
    """A majority over more and more samples, the same until it is decided, and two solvers as examined."""
    line = []
    for place, k in enumerate((1, 2, 4, 8, 16)):
        low, high = wilson(400 + 40 * place, 1000)
        line.append(
            VotePoint(
                vote="majority",
                k=k,
                samples=float(k),
                tokens=61.0 * k,
                accuracy=0.4 + 0.04 * place,
                low=low,
                high=high,
                agreement=1.0,
                problems=1000,
            )  # fmt: skip
        )
    early = [replace(p, samples=p.samples**0.8, tokens=p.tokens**0.9, agreement=0.97) for p in line]
    return (
        VoteLine(label="asc: majority", points=tuple(line)),
        VoteLine(label="asc: majority until decided", points=tuple(early)),
        VoteLine(label="asc", points=(early[3],)),
        VoteLine(label="untrained", points=(line[0],)),
    )


def curve(arm: str, seed: int, steps: int = 400) -> Curve:
    draw = random.Random(f"{arm}{seed}")
    floor = 0.31 if arm == "plain_cot" else 0.55
    points = []
    for step in range(1, steps + 1):
        loss = floor + 1.9 * math.exp(-step / 60) + draw.gauss(0, 0.03)
        last = step % 50 == 0
        points.append(
            CurvePoint(
                step=step,
                loss=loss,
                right_logprob=-loss * 1.02 if last else None,
                wrong_logprob=-loss * 1.25 - 0.1 if last else None,
                right_key=-loss * 1.5 if last and arm == "plain_cot" else None,
                wrong_key=-loss * 1.9 if last and arm == "plain_cot" else None,
                validation=loss + 0.05 if last else None,
            )
        )
    return Curve(arm=arm, seed=seed, points=tuple(points))


def compared(a: str, b: str, problem_set: str, difference: float, half: float, p: float | None) -> ComparisonRow:
    return ComparisonRow(
        a=a, b=b, problem_set=problem_set, difference=difference, low=difference - half, high=difference + half, p=p,
        both=812, only_a=742, only_b=331, neither=1115, problems=1000, seeds=3,
        how="Interval: paired bootstrap over problems and seeds, 10,000 draws; p: exact McNemar on the first seed.",
    )  # fmt: skip


def run(**changed: object) -> RunContents:
    scores = []
    for name, rights in (("test", (523, 511, 534)), ("longer", (188, 203, 176)), ("unseen", (402, 421, 398))):
        scores += [score("plain_cot", name, right, seed=seed) for seed, right in enumerate(rights)]
        scores += [score("answer_only", name, int(right * 0.74), seed=seed) for seed, right in enumerate(rights)]
        scores += [score("untrained", name, rights[0] // 14, counted=997)]
    topics = [
        GroupScore(group=topic, score=score(solver, "test", right, counted=90, total=90, seed=seed))
        for topic, base in (("gaining", 61), ("packs", 50), ("price and change", 38), ("fractions", 22))
        for solver, share in (("plain_cot", 1.0), ("answer_only", 0.7), ("untrained", 0.1))
        for seed in range(3)
        for right in [int(base * share) + seed]
    ]
    levels = [
        GroupScore(group=f"{level} steps", score=score(solver, "test", int(150 * share / level), 160, 160))
        for level in range(1, 7)
        for solver, share in (("plain_cot", 1.0), ("answer_only", 0.7), ("untrained", 0.1))
    ]
    everything: dict[str, object] = {
        "name": "quickstart",
        "created": "2026-11-20 14:02 UTC",
        "commit": "fdb0319c2a7e5d1b",
        "profile": "quickstart",
        "machine": "Linux 6.1, x86-64, 2 cores; Python 3.11.2; torch 2.13.0 (CPU)",
        "seeds": (0, 1, 2),
        "recipe": "task: lab\nmethod: plain_cot\nteacher:\n  source: scripted\n  samples: 4\n",
        "arms": (
            Arm(name="plain_cot", role=ArmRole.METHOD, explanation="imitates right rationales"),
            Arm(name="answer_only", role=ArmRole.CONTROL, explanation="same problems and steps, answers only"),
            Arm(name="untrained", role=ArmRole.FLOOR),
        ),
        "scores": tuple(scores),
        "comparisons": (
            compared("plain_cot", "answer_only", "test", 0.136, 0.031, 3e-11),
            compared("plain_cot", "answer_only", "longer", 0.049, 0.027, 0.0004),
            compared("plain_cot", "answer_only", "unseen", 0.021, 0.029, 0.16),
        ),
        "funnel": Funnel()
        .start("Sampled", "rationales", 4000)
        .step("Judged", 2871, Counter({"wrong": 1014, "no answer": 103, "not checked": 12}))
        .step("Exact duplicates", 2714, Counter({"same text, same problem": 157}))
        .step("Near duplicates", 2380, Counter({"more than 0.9 alike": 334}))
        .step("At most 2 per problem", 1822, Counter({"problem has enough": 558}))
        .steps,
        "spend": Spend(
            teacher="scripted-teacher@1", requests=1000, prompt_tokens=81_220, completion_tokens=262_410, money=0.4127,
            currency="USD", right=2871, wrong=1014, no_answer=103, not_checked=12,
        ),
        "samples": (
            Sample(problem=problem(), right=(RIGHT,), wrong=(WRONG,), other=(CUT,)),
            Sample(problem=problem("lab/train/0077"), right=(PROGRAM,), wrong=(WRONG, WRONG)),
        ),
        "examples": (weighted(False), weighted(True)),
        "pairs": (key_pair(), key_pair("lab/train/0077")),
        "key_shares": (KeyShare(arm="edit", pairs=412, right=0.083, wrong=0.214),),
        "rounds": rounds(),
        "further_funnels": (
            FurtherFunnel(title="tailored, round 2", steps=Funnel().start("Sampled", "own texts", 960).steps),
        ),
        "votes": votes(),
        "overlaps": (OverlapRow(a="plain_cot", b="nat", found=Overlap(both=310, either=702, iou=0.4416, chance=0.35)),),
        "rankers": (
            RankerRow(arm="asc", seed=0, check=check_ranker("ppqq", [0.9, 0.2, 0.4, None], [True, False, True, False])),
        ),
        "curves": tuple(curve(arm, seed) for arm in ("plain_cot", "answer_only") for seed in range(3)),
        "by_topic": tuple(topics),
        "by_level": tuple(levels),
        "notes": (
            "The teacher is scripted: this run shows that the path works, not that a method helps on real text.",
            "Not established: whether the order of the arms holds for a student above 4M parameters.",
        ),
        "warnings": ("3 problems of the test set could not be judged and are left out of every denominator.",),
    }  # fmt: skip
    return RunContents(**{**everything, **changed})  # type: ignore[arg-type]
