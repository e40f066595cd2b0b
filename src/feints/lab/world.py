"""The lab's problems: seeded, split without overlap, each answer counted while the story is planned."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass

from feints.errors import UnknownNameError
from feints.lab import grammar
from feints.lab.endings import DISTRACTIONS, ENDINGS
from feints.lab.events import NOW, THEN
from feints.lab.lexicon import CONTAINER_BY_MANY, COUNTED, DOLLARS, MEASURED, POSSESSIVE, PRONOUN, Thing
from feints.lab.moves import BEGINNINGS, MOVES, Move
from feints.lab.plan import Amount, InfeasibleError, Plan, Planned
from feints.lab.questions import FORMS
from feints.records import AnswerKind, Problem

WORLD_VERSION = 2
"""Changing any problem of any split raises this; recorded results of another version are void."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRule:
    """What the problems of a split are like."""

    steps: dict[int, float]
    """Number of steps -> relative frequency."""
    buckets: frozenset[int]
    """Which eighths of all contents belong to it (see `fingerprint`)."""
    held_out: bool = False
    """Held-out paraphrases only, and at least one held-out pair of kinds."""


_ALL = frozenset(range(8))
_UP_TO_FOUR = {1: 0.25, 2: 0.35, 3: 0.25, 4: 0.15}
SPLITS = {
    "train": SplitRule(steps=_UP_TO_FOUR, buckets=frozenset((0, 1, 2))),
    "test": SplitRule(steps=_UP_TO_FOUR, buckets=frozenset((3, 4))),
    "validation": SplitRule(steps=_UP_TO_FOUR, buckets=frozenset((5,))),
    "longer": SplitRule(steps={5: 0.6, 6: 0.4}, buckets=_ALL),
    "unseen": SplitRule(steps={2: 0.35, 3: 0.4, 4: 0.25}, buckets=_ALL, held_out=True),
    "one_step": SplitRule(steps={1: 1.0}, buckets=frozenset((6,))),
    "language": SplitRule(steps=_UP_TO_FOUR, buckets=frozenset((7,))),
}
"""Every split. No content of one occurs in another, whatever the seed.

one_step and language (whose sentences are used one by one) are for pretraining."""
IRRELEVANT = {0: 0.4, 1: 0.35, 2: 0.15, 3: 0.1}
"""Number of irrelevant facts -> relative frequency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabProblem:
    """A generated problem and what its maker knows of it."""

    id: str
    """ "lab/train/000017", with "@seed" behind it unless the seed is 0."""
    split: str
    """One of `SPLITS`."""
    question: str
    """The text."""
    answer: int
    """The gold answer."""
    steps: int
    """How many steps lead to it."""
    kinds: tuple[str, ...]
    """Kind of each of these steps, in the order of the story."""
    irrelevant: int
    """How many facts do not matter."""


@dataclass(frozen=True, slots=True)
class _Draft:
    plan: Plan
    answer: Amount
    core: int
    """How many of the planned sentences belong to the story, its question included; distractions follow."""


def _weighted(rng: random.Random, weights: dict[int, float]) -> int:
    return rng.choices(list(weights), list(weights.values()))[0]


def _thing(rng: random.Random) -> Thing:
    draw = rng.random()
    return rng.choice(COUNTED) if draw < 0.75 else rng.choice(MEASURED) if draw < 0.88 else DOLLARS


def _try_one(plan: Plan, moves: Sequence[Move], budget: int) -> int:
    """Play one of the moves within the budget; what it cost. Infeasible when none fits."""
    fitting = [move for move in moves if move.steps <= budget]
    for _ in range(8):
        if not fitting:
            break
        move = plan.rng.choices(fitting, [move.weight for move in fitting])[0]
        mark = plan.mark()
        try:
            move.play(plan)
        except InfeasibleError:
            plan.undo(mark)
            fitting.remove(move)
        else:
            return move.steps
    raise InfeasibleError


def _branch(plan: Plan, budget: int) -> None:
    """A person begins and things happen until the budget of steps is spent."""
    budget -= _try_one(plan, BEGINNINGS, budget)
    while budget:
        budget -= _try_one(plan, MOVES, budget)


def _story(plan: Plan, steps: int) -> Amount:
    """Everything that matters, question last; the answer."""
    fitting = [ending for ending in ENDINGS if ending.steps <= steps]
    ending = plan.rng.choices(fitting, [ending.weight for ending in fitting])[0]
    budget = steps - ending.steps
    second = plan.rng.randint(1, max(1, budget - 1)) if ending.company and budget and plan.rng.random() < 0.7 else 0
    _branch(plan, budget - second)
    if second:
        first, thing = plan.focus, plan.thing
        plan.focus = plan.stranger()
        _branch(plan, second)
        if plan.thing is not thing:
            plan.focus, plan.thing = first, thing
    return ending.ask(plan)


def _bits(mask: int) -> list[int]:
    return [place for place in range(mask.bit_length()) if mask >> place & 1]


def _draft(rng: random.Random, rule: SplitRule) -> _Draft | None:
    """One attempt at a problem, None when it does not come out as the split wants it."""
    plan = Plan(rng, _thing(rng), rule.held_out)
    try:
        answer = _story(plan, _weighted(rng, rule.steps))
    except InfeasibleError:
        return None
    if answer.steps.bit_count() not in rule.steps or (rule.held_out and not plan.novel & answer.steps):
        return None
    if fingerprint(plan, answer) not in rule.buckets:
        return None
    core = len(plan.told)
    wanted = _weighted(rng, IRRELEVANT) - (core - 1 - answer.facts.bit_count())
    if wanted < 0:
        return None
    distractions, weights = zip(*DISTRACTIONS, strict=True)
    while len(plan.told) < core + wanted:
        try:
            rng.choices(distractions, weights)[0](plan)
        except InfeasibleError:
            continue
    return _Draft(plan, answer, core)


def fingerprint(plan: Plan, answer: Amount) -> int:
    """An eighth, 0 to 7, decided by what matters: forms, things and numbers of the relevant facts and the question.

    Names, paraphrases, order and irrelevant facts do not enter: a problem that differs from another in these alone
    falls into the same eighth, hence never into another split.
    """
    question = next(place for place, planned in enumerate(plan.told) if planned.block == "question")
    relevant = [plan.told[place] for place in [*_bits(answer.facts), question]]
    content = sorted(
        (planned.form, *(value for slot, value in sorted(planned.slots.items()) if slot not in "abc"))
        for planned in relevant
    )
    return hashlib.blake2b(repr(content).encode(), digest_size=1).digest()[0] % 8


def _word(rng: random.Random, planned: Planned, held_out: bool, first: bool) -> str:
    """One sentence in a random paraphrase."""
    form = FORMS[planned.form]
    slots = dict(planned.slots)
    if "a" in slots:
        slots |= {"his": POSSESSIVE[slots["a"]], "he": PRONOUN[slots["a"]]}
    if "k" in slots:
        slots["j"] = CONTAINER_BY_MANY[slots["k"]]
    template = rng.choice(form.held_out if held_out else form.trained)
    opener = ""
    if planned.now:
        opener = rng.choice(NOW)
    elif planned.block == "event" and not first and rng.random() < 0.5:
        opener = rng.choice(THEN)
    return grammar.say(template, slots, opener)


def _arrange(rng: random.Random, draft: _Draft) -> list[Planned]:
    """The order of telling: what holds at the start in any order, events in theirs, timeless facts anywhere."""
    told = draft.plan.told
    starts = [planned for planned in told if planned.block == "start"]
    events = [planned for planned in told[: draft.core] if planned.block == "event"]
    rng.shuffle(starts)
    for planned in told[draft.core :]:
        if planned.block == "event":
            events.insert(rng.randint(0, len(events)), planned)
    order = starts + events
    for planned in told:
        if planned.block == "timeless":
            order.insert(rng.randint(0, len(order)), planned)
    return order + [planned for planned in told if planned.block == "question"]


def _rule(split: str) -> SplitRule:
    if split not in SPLITS:
        raise UnknownNameError("split of the lab", split, SPLITS)
    return SPLITS[split]


def generate(split: str, index: int, seed: int = 0) -> LabProblem:
    """Problem number `index` of a split: the same on every machine.

    Raises:
        UnknownNameError: no such split.
    """
    rule = _rule(split)
    rng = random.Random(f"feints lab {WORLD_VERSION} {split} {seed} {index}")
    while (draft := _draft(rng, rule)) is None:
        pass
    order = _arrange(rng, draft)
    plan, answer = draft.plan, draft.answer
    return LabProblem(
        id=f"lab/{split}/{index:06d}" + (f"@{seed}" if seed else ""),
        split=split,
        question=" ".join(_word(rng, planned, rule.held_out, place == 0) for place, planned in enumerate(order)),
        answer=answer.value,
        steps=answer.steps.bit_count(),
        kinds=tuple(plan.kinds[place] for place in _bits(answer.steps)),
        irrelevant=len(plan.told) - 1 - answer.facts.bit_count(),
    )


def lab_problems(split: str, count: int, seed: int = 0) -> list[LabProblem]:
    """The first `count` problems of a split with distinct texts; an index whose text came before is passed over."""
    found: dict[str, LabProblem] = {}
    index = 0
    while len(found) < count:
        problem = generate(split, index, seed)
        found.setdefault(problem.question, problem)
        index += 1
    return list(found.values())


def problems(split: str, count: int, seed: int = 0) -> list[Problem]:
    """The first `count` distinct problems of a split as records; topic is the kind of the last step."""
    return [
        Problem(
            id=problem.id,
            question=problem.question,
            answer=str(problem.answer),
            answer_kind=AnswerKind.NUMBER,
            task="lab",
            split=split,
            topic=problem.kinds[-1],
            level=problem.steps,
        )
        for problem in lab_problems(split, count, seed)
    ]
