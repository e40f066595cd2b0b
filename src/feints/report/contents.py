"""What a report needs to know of a run: one frozen record, filled from the run folder."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from feints.curate.funnel import FunnelStep
from feints.evaluate.stats import Overlap
from feints.records import Problem, Rationale, Role, Score, Verdict
from feints.report.training import Curve, FurtherFunnel, RankerRow, Round, VoteLine


class ArmRole(StrEnum):
    """What a solver is to the question the run asks."""

    METHOD = "method"
    CONTROL = "control"
    """The same training with the method's own signal switched off."""
    FLOOR = "floor"
    """The untrained student."""
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One solver of the run, as the report names and orders it."""

    name: str
    """As in `Score.solver`."""
    role: ArmRole
    """Decides mark, colour and place in the summary."""
    explanation: str = ""
    """Half a sentence: what it is, for example "same problems and steps, answers only"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """Two solvers on the same problems."""

    a: str
    """The solver in question."""
    b: str
    """The solver it is held against."""
    problem_set: str
    """On which problems."""
    difference: float
    """Accuracy of a minus accuracy of b, in [-1, 1]."""
    low: float
    """Lower end of the 95 % interval of the difference."""
    high: float
    """Upper end."""
    p: float | None
    """Two-sided p-value, None where the test does not apply."""
    both: int
    """Problems both solve (summed over seeds, like the next three)."""
    only_a: int
    """Problems only a solves."""
    only_b: int
    """Problems only b solves."""
    neither: int
    """Problems neither solves."""
    problems: int
    """Distinct problems compared."""
    seeds: int
    """Training seeds that took part."""
    how: str
    """Test and interval in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlapRow:
    """How far two solvers are right on the same problems of the main set."""

    a: str
    """One solver."""
    b: str
    """The other."""
    found: Overlap
    """Problems both solve, and the chance level of the ratio."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """What the teacher was asked, what it cost and what came of it."""

    teacher: str
    """Identity of the model."""
    requests: int
    """Requests paid, those for new problems and labels too, and attempts that brought nothing usable."""
    prompt_tokens: int
    """Tokens sent."""
    completion_tokens: int
    """Tokens received, thinking included."""
    unanswered_tokens: int = 0
    """Tokens of attempts that were paid and brought nothing usable: malformed, or lost on the way."""
    money: float | None
    """Money at the recipe's price, such attempts included; None where the recipe has no price."""
    currency: str
    """Of the price table, "" where there is none."""
    right: int
    """Rationales judged correct."""
    wrong: int
    """Rationales judged wrong."""
    no_answer: int
    """Rationales without an answer."""
    not_checked: int
    """Rationales the checker could not judge."""

    @property
    def tokens(self) -> int:
        """Sent, received and lost."""
        return self.prompt_tokens + self.completion_tokens + self.unanswered_tokens

    @property
    def rationales(self) -> int:
        """All judged rationales, whatever the verdict."""
        return self.right + self.wrong + self.no_answer + self.not_checked


@dataclass(frozen=True, slots=True, kw_only=True)
class Expense:
    """What one arm took with one training seed, as if it had been alone: shared stages count in full."""

    arm: str
    """Whose."""
    seed: int
    """Training seed."""
    requests: int
    """Requests of the teacher it used, rejected replies and attempts that brought nothing usable included."""
    prompt_tokens: int
    """Tokens sent for them."""
    completion_tokens: int
    """Tokens of them, thinking included."""
    unanswered_tokens: int = 0
    """Tokens of attempts that were paid and brought nothing usable."""
    own_tokens: int
    """Tokens that students wrote on the way to it, exams for the report excluded."""
    steps: int
    """Optimiser steps of all its students."""
    target_tokens: int
    """Tokens learnt or pushed away, counted each time they were."""
    passes: int
    """Texts sent forward in training, once for each model that read them."""
    training_seconds: float
    """Wall time of its training."""
    seconds: float
    """Wall time of everything it used, exams included."""

    @property
    def teacher_tokens(self) -> int:
        """Sent, received and lost."""
        return self.prompt_tokens + self.completion_tokens + self.unanswered_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A rationale with what the checker says of it."""

    rationale: Rationale
    """The text and its making."""
    verdict: Verdict
    """Its verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One problem with rationales of both kinds, to be read side by side."""

    problem: Problem
    """Question and gold answer."""
    right: tuple[Judged, ...]
    """Rationales judged correct."""
    wrong: tuple[Judged, ...]
    """Rationales judged wrong."""
    other: tuple[Judged, ...] = ()
    """Rationales without answer, or not judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedExample:
    """One training example as the student's tokens and their pull; knows no method."""

    title: str
    """Which example of which arm."""
    role: Role
    """What it is to its group."""
    tokens: tuple[str, ...]
    """Text of each token, prompt then target."""
    weights: tuple[float, ...]
    """Raw weight of each token; 0 ignores it, negative pushes away."""
    prompt_length: int
    """How many of the tokens are prompt."""

    def __post_init__(self) -> None:
        if len(self.tokens) != len(self.weights):
            raise ValueError(f"example {self.title!r}: {len(self.tokens)} tokens but {len(self.weights)} weights")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """A right and a wrong target of one problem, of which some tokens are learnt harder than the rest."""

    problem: Problem
    """What both answer."""
    right: WeightedExample
    """The right one."""
    wrong: WeightedExample
    """The wrong one."""
    pattern: str = ""
    """Mistake pattern, where labelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyShare:
    """How many target tokens are key tokens, over all pairs of an arm."""

    arm: str
    """Which arm."""
    pairs: int
    """Pairs with key tokens."""
    right: float
    """Median share of the right texts, in [0, 1]."""
    wrong: float
    """Median share of the wrong texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupScore:
    """A score on one topic or level of a problem set."""

    group: str
    """Topic or level."""
    score: Score
    """Of the problems in it; solver, problem set and seed as usual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContents:
    """All that a report shows of one run."""

    name: str
    """Name of the run."""
    created: str
    """When it was made, ISO 8601."""
    commit: str
    """Commit of feints, "" if unknown."""
    profile: str
    """Profile of the recipe."""
    machine: str
    """Computer and versions, in words."""
    seeds: tuple[int, ...]
    """Training seeds."""
    recipe: str
    """The recipe as YAML, every default written out."""
    arms: tuple[Arm, ...]
    """Solvers in the order shown: method, control, floor."""
    scores: tuple[Score, ...]
    """One per solver, problem set and seed; the first problem set is the main one."""
    comparisons: tuple[ComparisonRow, ...] = ()
    """Paired tests; the first is the one the run was made for."""
    overlaps: tuple[OverlapRow, ...] = ()
    """Every two trained arms, first training seed."""
    rankers: tuple[RankerRow, ...] = ()
    """Every ranker that was trained."""
    funnel: tuple[FunnelStep, ...] = ()
    """From sampled to learnt, of the method."""
    further_funnels: tuple[FurtherFunnel, ...] = ()
    """Those of its further stages and rounds, and of the other arms."""
    spend: Spend | None = None
    """The teacher's bill, None where no teacher took part."""
    expenses: tuple[Expense, ...] = ()
    """What each arm took, by training seed."""
    samples: tuple[Sample, ...] = ()
    """A few problems with right and wrong rationales."""
    examples: tuple[WeightedExample, ...] = ()
    """A few examples with their weights."""
    pairs: tuple[KeyPair, ...] = ()
    """A few pairs with key tokens."""
    key_shares: tuple[KeyShare, ...] = ()
    """How many tokens are key tokens, one row per arm that has any."""
    rounds: tuple[Round, ...] = ()
    """Rounds in order of arm, seed and number."""
    votes: tuple[VoteLine, ...] = ()
    """Accuracy on the main problem set against samples and tokens, where a solver votes."""
    curves: tuple[Curve, ...] = ()
    """Training curves."""
    by_topic: tuple[GroupScore, ...] = ()
    """Scores by topic."""
    by_level: tuple[GroupScore, ...] = ()
    """Scores by level."""
    notes: tuple[str, ...] = ()
    """What a reader must know: recorded data, doubtful gold answers, what is not established."""
    warnings: tuple[str, ...] = ()
    """What limits the result; shown at the top."""

    def arm(self, name: str) -> Arm:
        """The arm called `name`; a solver nobody described is `other`."""
        return next((arm for arm in self.arms if arm.name == name), Arm(name=name, role=ArmRole.OTHER))

    def problem_sets(self) -> tuple[str, ...]:
        """Problem sets in the order of `scores`, each once."""
        return tuple(dict.fromkeys(score.problem_set for score in self.scores))

    def solvers(self) -> tuple[str, ...]:
        """Solvers that have a score, in the order of `arms`, undescribed ones last."""
        scored = dict.fromkeys(score.solver for score in self.scores)
        return tuple(dict.fromkeys([*(arm.name for arm in self.arms if arm.name in scored), *scored]))

    def scores_of(self, solver: str, problem_set: str) -> tuple[Score, ...]:
        """Scores of one solver on one problem set, one per seed."""
        return tuple(s for s in self.scores if s.solver == solver and s.problem_set == problem_set)
