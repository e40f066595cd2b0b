"""Feedback-driven distillation: what the student solves grows harder, what it fails is practised; the set grows.

"Improving Mathematical Reasoning Capabilities of Small Language Models via Feedback-Driven Distillation"
(Zhu et al., arXiv 2411.14698, 2024). Each round the student is trained on the teacher's right rationales of the
problems so far and sits an exam on them. For a problem it solves the teacher makes a harder variant, for one it fails a
similar one; a variant joins the set if it is readable, unlike every training problem, in no test set, and if more than
half of `attempts` answers, by default executed programs, agree on its answer, which becomes the gold answer.

Departures: 1) rounds, thresholds and how answers are accepted are not in the source we have; they are settings, and a
majority of five executed programs is our specification's advice. 2) Problems held back by `curate.validation` sit the
exams, get no variants and are never trained on; the student that does best on them is returned. 3) Each round's student
begins untrained. 4) `inner` trains it by any method of the shelf. 5) Near-identical rationales of a problem count once
(curate.near_duplicate).

Control: the static set at equal teacher calls (`grow: false`), on the given problems: with `round_calls` both use up
that many calls a round, without it it gets as many as growing can take. What `inner` itself asks comes on top.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from pydantic import Field

from feints import methods
from feints.bench import Bench
from feints.bench.inner import Inner, InnerSettings, Makes
from feints.bench.rounds import Course, cut_short, write_report
from feints.config import UnreleasedSettings
from feints.curate.choice import Chosen
from feints.curate.split import unit_interval
from feints.curate.variants import STEP, agreed, read_variant, unlike
from feints.evaluate.solver import Solver
from feints.evaluate.vote import answer_key
from feints.generate.prompt import STUDENT, TEACHER, Prompt
from feints.generate.rationales import Asking
from feints.records import Dropped, Form, Judgement, Origin, Problem, Rationale, Verdict, content_hash

HARDER = Prompt(
    id="fdd_harder",
    template="{question}\n{choices}\n\nWrite a new problem that is harder than this one: one step more, other names and"
    " numbers. Write the problem only, without its solution.",
)
"""For a problem the student solves."""
SIMILAR = Prompt(
    id="fdd_similar",
    template="{question}\n{choices}\n\nWrite a new problem similar to this one and about as hard, with other names and "
    "numbers. Write the problem only, without its solution.",
)
"""For a problem the student fails."""
PROGRAM = Prompt(
    id="fdd_program",
    template="{question}\n{choices}\n\nWrite a short Python program that computes the answer step by step and stores it"
    " in the variable ans. Write the program and nothing else.",
)
"""An attempt at a new problem that can be executed."""


class Config(UnreleasedSettings):
    """Settings of feedback-driven distillation."""

    rounds: int = Field(default=2, ge=1, description="Times the set grows; one more training follows the last.")
    grow: bool = Field(default=True, description="Whether problems are made; the control asks about the given ones.")
    samples: int = Field(default=4, ge=1, description="Texts the student writes for each problem in an exam.")
    temperature: float = Field(default=1.0, gt=0, description="Of the student in its exams.")
    easy_from: float = Field(
        default=0.5, gt=0, le=1, description="Share of right texts from which a problem counts as solved."
    )
    answers: Literal["programs", "rationales"] = Field(
        default="programs", description="What must agree on a new answer: executed programs, or rationales in words."
    )
    attempts: int = Field(default=5, ge=1, description="Answers to each new problem; more than half must agree.")
    round_calls: int | None = Field(
        default=None,
        ge=1,
        description="Most teacher calls of one round, rationales of new problems included; null: a variant each.",
        examples=[40],
    )
    inner: InnerSettings = Field(
        default={"name": "plain_cot"},
        description="Method by name with its settings that trains the student of each round.",
        examples=[{"name": "plain_cot", "target": "answer"}],
    )


@dataclass(kw_only=True)
class _Growth:
    """What came of one round of asking."""

    proposed: int = 0
    added: list[Problem] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    paid: list[Rationale] = field(default_factory=list)
    whole: bool = True


def distil(bench: Bench, config: Config) -> Solver:
    """Train, examine, grow, and train again; a round that brings nothing is the last."""
    course = Course(bench=bench, prompt=bench.prompt(STUDENT), samples=config.samples, temperature=config.temperature)
    inner = Inner.of(config.inner, methods.find)
    known: Chosen | None = None
    grown = bench
    for number in range(1, config.rounds + 2):
        here = course.round(number, grown)
        course.graduate(inner.train(here, course.untrained, known))
        here.examine(course.solver(here, course.student), f"round_{number}")
        if number > config.rounds:
            break
        said, verdicts, sitting = course.exam(here, number)
        solved = _solved(said.rows, verdicts.rows, config.easy_from)
        if config.grow:
            growth = _grow(here, config, course, number, solved)
            grown = _with_new(here, number, growth)
        else:
            known, growth = _practise(here, config, course, number, known)
        report = sitting.report(
            number,
            problems=len(grown.problems),
            proposed=growth.proposed,
            added=len(growth.added),
            outcome=("grew" if config.grow else "asked again") + ("" if growth.whole else ", as the budget allowed"),
            **course.spend(here),
        )
        write_report(here, report)
        if not growth.added and (config.grow or not growth.paid):
            break
    return course.solver(bench, course.end(number + 1, {"problems": len(grown.problems), **course.spend(here)}))


def _solved(said: Sequence[Rationale], verdicts: Sequence[Verdict], easy_from: float) -> set[str]:
    """Problems of whose judged texts enough are right; one that could not be judged shrinks the whole."""
    right, judged = Counter[str](), Counter[str]()
    for row, verdict in zip(said, verdicts, strict=True):
        right[row.problem_id] += verdict.value is Judgement.CORRECT
        judged[row.problem_id] += verdict.value is not Judgement.NOT_CHECKED
    return {name for name, count in right.items() if count and count >= easy_from * judged[name]}


def _grow(bench: Bench, config: Config, course: Course, number: int, solved: set[str]) -> _Growth:
    """New problems: one of each parent, or, where calls are bounded, as many as these allow."""
    growth = _Growth()
    parents = [problem for problem in bench.problems if (problem.parent or problem.id) not in course.held_back]
    later = _later(bench, config)
    most = 1 + config.attempts + later
    left, turn = config.round_calls, 0
    while growth.whole and (turn == 0 if left is None else left >= most):
        turn += 1
        order = sorted(parents, key=lambda problem: unit_interval("parent", number, turn, problem.id))
        while order and growth.whole and (left is None or left >= most):
            many = len(order) if left is None else left // most
            part, order = order[:many], order[many:]
            before, added = len(growth.paid), len(growth.added)
            _propose(bench, config, number, turn, part, solved, growth)
            if left is not None:
                left -= len(growth.paid) - before + (len(growth.added) - added) * later
    return growth


def _with_new(bench: Bench, number: int, growth: _Growth) -> Bench:
    """The bench with the new problems among the others; what was left out lies beside them."""
    content = content_hash([asdict(problem) for problem in growth.added])
    label = f"{bench.arm}-new-seed{bench.seed}"
    new = bench.run.table(
        "0_problems", label, Problem, ["new", content], lambda: growth.added, arm=bench.arm, round=number
    )
    lost = [asdict(row) for row in growth.dropped]
    bench.run.table("3_dropped", label, Dropped, ["new", content, content_hash(lost)], lambda: growth.dropped)
    rows, address = (*bench.problems.rows, *new.rows), content_hash("grown", bench.problems.address, new.address)
    funnel = bench.funnel.start("written", f"new problems of round {number}", growth.proposed)
    funnel = funnel.step("added", len(growth.added), growth.dropped)
    funnel = funnel.start("to learn from", f"problems after round {number}", len(rows))
    return replace(bench, problems=replace(bench.problems, rows=rows, address=address), funnel=funnel)


def _propose(
    bench: Bench,
    config: Config,
    number: int,
    turn: int,
    parents: Sequence[Problem],
    solved: set[str],
    growth: _Growth,
) -> None:
    """Ask for a variant of each parent, and answers to those that can be used."""
    part = len(growth.paid)
    # A seed of its own for each round and turn: the same request would bring the same reply.
    seed = bench.sampling.seed + 1000 * turn + number
    once = bench.sampling.model_copy(update={"n": 1, "adaptive": None, "seed": seed})
    found: list[Problem] = []
    for label, prompt, easy in (("harder", HARDER, True), ("similar", SIMILAR, False)):
        wanted = [problem for problem in parents if (problem.id in solved) is easy]
        if not wanted:
            continue
        told = bench.ask(f"{label}-{part}", prompt, wanted, sampling=once, origin=Origin.PROBLEM, round=number)
        growth.whole = growth.whole and not cut_short(bench, told)
        growth.paid += told
        growth.proposed += len(told)
        for row in told:
            made = read_variant(row, bench.by_id[row.problem_id])
            if isinstance(made, Problem):
                found.append(made)
            else:
                growth.dropped.append(Dropped(item_id=row.id, step=STEP, reason=made))
    fresh, equal = unlike(found, (*bench.problems, *growth.added))
    clean = bench.without_leaks(fresh)
    growth.dropped += [*equal, *clean.dropped]
    if clean.kept:
        _answer(bench, config, number, clean.kept, growth)


def _answer(bench: Bench, config: Config, number: int, problems: Sequence[Problem], growth: _Growth) -> None:
    """Accept each problem whose attempts agree on an answer."""
    programs = config.answers == "programs"
    prompt, form = (PROGRAM, Form.POT) if programs else (TEACHER, Form.COT)
    how = bench.sampling.model_copy(update={"n": config.attempts, "adaptive": None})
    label = f"attempts-{len(growth.paid)}"
    told = bench.ask(label, prompt, problems, sampling=how, origin=Origin.SAMPLED, form=form, round=number)
    growth.whole = growth.whole and not cut_short(bench, told)
    growth.paid += told
    verdicts = bench.read_attempts(label, told, problems)
    said: dict[str, list[str | None]] = {problem.id: [] for problem in problems}
    for row, verdict in zip(told, verdicts, strict=True):
        said[row.problem_id].append(verdict.extracted)
    for problem in problems:
        extracted = said[problem.id]
        winner = agreed([answer_key(problem, one) for one in extracted], config.attempts)
        answer = extracted[winner] if winner is not None else None
        if answer is None:
            reason = f"no answer on which more than half of {config.attempts} {config.answers} agree"
            growth.dropped.append(Dropped(item_id=problem.id, step=STEP, reason=reason))
        else:
            growth.added.append(replace(problem, answer=answer))


# ------------------------------------------------------------------------------------------------------- control


def _practise(
    bench: Bench, config: Config, course: Course, number: int, known: Chosen | None
) -> tuple[Chosen, _Growth]:
    """The same problems asked again, as often as growing may take; all rationales so far."""
    learnt = [problem for problem in bench.problems if problem.id not in course.held_back]
    calls = config.round_calls or (1 + config.attempts + _later(bench, config)) * len(learnt)
    every, rest = divmod(calls, len(learnt))
    asked = [(every, learnt)] if every else []
    if rest:
        order = sorted(learnt, key=lambda problem: unit_interval("again", bench.sampling.seed, number, problem.id))
        asked.append((1, order[:rest]))
    if known is None:
        first = bench.ask("teacher", TEACHER)
        known = bench.choose(first, bench.judge("teacher", first))
    growth = _Growth()
    for place, (n, problems) in enumerate(asked):
        # Seeds of their own: the same request would bring the same reply.
        seed = bench.sampling.seed + 2 * number + place
        how = bench.sampling.model_copy(update={"n": n, "adaptive": None, "seed": seed})
        label = f"again-{place + 1}"
        told = bench.ask(label, TEACHER, [Asking(problem=p) for p in problems], sampling=how, round=number)
        growth.whole = growth.whole and not cut_short(bench, told)
        growth.paid += told
        known = known.joined(bench.choose(told, bench.judge(label, told), unit=f"{label} of round {number}"))
    return known, growth


def _later(bench: Bench, config: Config) -> int:
    """Most calls that the rationales of an added problem take; attempts in words are the first of them."""
    samples = bench.sampling.adaptive.maximum if bench.sampling.adaptive else bench.sampling.n
    return samples if config.answers == "programs" else max(0, samples - config.attempts)


def control(config: Config) -> Config | None:
    """The static set at equal teacher calls."""
    return config.model_copy(update={"grow": False}) if config.grow else None


def asks(config: Config, sampled: int) -> methods.Asks:
    """Most calls of the teacher after the first `sampled` ones: without a bound the set can double each round."""
    largest: int = 2**config.rounds * sampled
    inner = Inner.of(config.inner, methods.find)
    inside = (config.rounds + 1) * methods.asked(inner.method, inner.config, largest).further
    unbound = (2 + config.attempts) * (largest - sampled)
    return methods.Asks(inside + (config.rounds * config.round_calls if config.round_calls else unbound))


def makes(config: Config) -> Makes:
    """What `inner` makes, of problems of its own too."""
    return replace(Inner.of(config.inner, methods.find).makes, grows=config.grow)


def arm(config: Config) -> tuple[str, str]:
    """Name and explanation for tables."""
    trainer = config.inner["name"]
    own, by = ("", "") if trainer == "plain_cot" else (f"-{trainer}", f", trained by {trainer}")
    if config.grow:
        return f"fdd{own}", f"new problems where it is strong and weak{by}"
    return f"static{own}", f"the given problems asked again{by}"
