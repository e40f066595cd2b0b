"""Floor: the nouns, Problem -> Rationale -> Verdict -> Pair -> Example -> Answer -> Score.

Every stage reads and writes these and nothing else. All are frozen; none carries a free-form
dictionary: what a later stage needs has a field, a type and a line of documentation here.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

RECORDS_VERSION = 2
"""Written into every table; a table of another version is refused, never guessed at."""


def read_json(data: bytes | str) -> Any:
    """`data` read as JSON.

    Raises:
        ValueError: it is none (json.JSONDecodeError), nested too deeply, or holds a number too long to be read.
    """
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except ValueError as error:
        if type(error) is ValueError:  # no error of JSON: Python refuses to read numbers so long
            raise ValueError("holds a number of thousands of digits") from error
        raise


def content_hash(*parts: object, digits: int = 32) -> str:
    """Hex digest of JSON-able `parts`: equal content, equal hash, on every machine."""
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(canonical.encode(), digest_size=digits // 2).hexdigest()


class AnswerKind(StrEnum):
    """What sort of thing a gold answer is; it decides which checker reads it."""

    NUMBER = "number"
    LATEX = "latex"
    CHOICE = "choice"
    BOOLEAN = "boolean"
    TEXT = "text"
    PROGRAM = "program"
    """The printed result of a program (compared like a number where it is one)."""


class AnswerSource(StrEnum):
    """How the gold answer came to be known."""

    GIVEN = "given"
    AGREEMENT = "agreement"
    """k independent programs or samples agreed (synthesised problems)."""


class Form(StrEnum):
    """The shape of a rationale."""

    COT = "cot"
    POT = "pot"
    EOT = "eot"
    SAT = "sat"
    KEYPOINTS = "keypoints"


class Origin(StrEnum):
    """Why a rationale was written."""

    SAMPLED = "sampled"
    RECTIFIED = "rectified"
    """Written with the gold answer as a hint, to mend a wrong one."""
    CORRUPTED = "corrupted"
    """A plausible wrong response written on purpose."""
    TAILORED = "tailored"
    """The teacher's answer to one mistake of the student."""
    SELF = "self"
    """Written by the student itself."""
    GOLD = "gold"
    """The data set's own human solution."""
    PROBLEM = "problem"
    """A new problem, made from the one it belongs to; it answers nothing, so it is never judged."""


class Finish(StrEnum):
    """Why the author stopped writing."""

    STOP = "stop"
    LENGTH = "length"
    REFUSAL = "refusal"
    MALFORMED = "malformed"
    """A complete reply that could not be read as the protocol says."""
    UNKNOWN = "unknown"
    """The source does not say (recorded data)."""


class Judgement(StrEnum):
    """The four values of a verdict."""

    CORRECT = "correct"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"
    """The text holds no answer: wrong for a student, a reject for a teacher, never a negative."""
    NOT_CHECKED = "not_checked"
    """The checker failed or could not decide: shrinks the denominator, never counted as wrong."""


class Role(StrEnum):
    """What an example is to its group."""

    RIGHT = "right"
    WRONG = "wrong"
    ANCHOR = "anchor"
    POSITIVE = "positive"
    CANDIDATE = "candidate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One option of a multiple-choice problem."""

    label: str
    """The letter or word it is chosen by, for example "B"."""
    text: str
    """What the option says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A question whose answer is known."""

    id: str
    """Unique within a run."""
    question: str
    """The text the solver sees; without the options, which `choices` holds."""
    answer: str
    """The gold answer (for a choice: its label)."""
    answer_kind: AnswerKind
    """Which checker reads the answer."""
    task: str
    """Name of the problem set."""
    split: str
    """train, validation, test, or a further test set such as longer."""
    choices: tuple[Choice, ...] = ()
    """Options in the order shown; empty unless multiple choice."""
    answer_source: AnswerSource = AnswerSource.GIVEN
    """How the gold answer is known."""
    parent: str | None = None
    """Id of the problem this one was made from, if any."""
    solution: str | None = None
    """The data set's own worked solution, where it has one."""
    topic: str = ""
    """Sub-task or subject, for results by group."""
    level: int | None = None
    """Difficulty as the data set states it (for the lab: number of steps)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rationale:
    """One text that reasons towards an answer, and all that is known about its making."""

    id: str
    """Content hash of the ledger key, or of author, problem and text where there is none."""
    problem_id: str
    """The problem it answers."""
    text: str
    """What was said, thinking left out."""
    thinking: str = ""
    """Hidden reasoning the model put apart; never searched for answers."""
    form: Form = Form.COT
    """Words, program, equations, constraints or staged key points."""
    origin: Origin = Origin.SAMPLED
    """Why it was written."""
    author: str = ""
    """Identity of the model that wrote it."""
    round: int = 0
    """Round of a multi-round method, 0 for the first."""
    parent: str | None = None
    """Id of the rationale it mends, corrupts, answers or continues."""
    prompt_id: str = ""
    """Name of the prompt template."""
    prompt_hash: str = ""
    """Hash of the exact messages sent."""
    ledger_key: str = ""
    """Row of the request ledger that holds the raw response."""
    sample_index: int = 0
    """Which of the samples of this prompt."""
    temperature: float | None = None
    """Sampling temperature, if known."""
    top_p: float | None = None
    """Nucleus bound, if known."""
    max_tokens: int | None = None
    """Limit on new tokens, if known."""
    finish: Finish = Finish.UNKNOWN
    """Why the author stopped."""
    prompt_tokens: int = 0
    """Tokens paid for the prompt; of samples asked for in one call the first one bears them."""
    completion_tokens: int = 0
    """Tokens paid for the completion, thinking included."""
    cost: float = 0.0
    """Money paid, in the currency of the recipe's price table."""


def of_teacher(row: Rationale, teacher: str) -> bool:
    """Whether the source of this identity wrote it as a teacher: a student of the same weights writes its own texts."""
    return row.author == teacher and row.origin is not Origin.SELF


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a checker says of one rationale."""

    rationale_id: str
    """The rationale judged."""
    value: Judgement
    """The strict verdict: piles are made from this one."""
    lenient: Judgement
    """The verdict when any last number or letter counts; reported beside, never used."""
    extracted: str | None
    """The answer read out of the text, as it stands there."""
    checker: str
    """Which checker decided."""
    reason: str
    """Why, in words a user can act on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A right and a wrong rationale of one problem."""

    problem_id: str
    """The problem both answer."""
    right_id: str
    """Rationale with verdict correct."""
    wrong_id: str
    """Rationale with verdict wrong."""
    right_origin: Origin
    """How the right one came to be."""
    wrong_origin: Origin
    """How the wrong one came to be."""
    pattern: str = ""
    """Mistake pattern, where labelled: logical, knowledge, calculation, combinations, other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """Token ids with one weight each: all that training sees, and the export format."""

    id: str
    """Unique within its table."""
    problem_id: str
    """Where it comes from."""
    rationale_id: str
    """Where its target comes from ("" for an answer-only target)."""
    prompt_ids: tuple[int, ...]
    """Context; for an encoder-decoder, the encoder's input."""
    target_ids: tuple[int, ...]
    """What is learnt, end-of-sequence included."""
    weights: tuple[float, ...]
    """Raw pull of each token of prompt then target: 0 ignores it, negative pushes away."""
    tokenizer_hash: str
    """Which tokenizer made the ids; training refuses another."""
    group: str = ""
    """Examples of one group are never split over micro-batches ("" stands alone)."""
    role: Role = Role.RIGHT
    """What it is to its group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A row that was not learnt from, and why: nothing is dropped silently."""

    item_id: str
    """Id of the problem or rationale left out."""
    step: str
    """Which step left it out, in the order of the funnel."""
    reason: str
    """Why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a solver said to one problem."""

    problem_id: str
    """The problem answered."""
    text: str
    """The final text, or the winning text of a vote."""
    extracted: str | None
    """The answer in it."""
    judgement: Judgement
    """Strict verdict."""
    lenient: Judgement
    """Lenient verdict."""
    truncated: bool
    """Whether the text was cut by the token limit."""
    tokens: int
    """New tokens spent on this problem, all samples together."""
    samples: tuple[str, ...] = ()
    """Every text that took part, for votes and pass@k."""
    sample_judgements: tuple[Judgement, ...] = ()
    """Strict verdict of each sample."""
    sample_extracted: tuple[str | None, ...] = ()
    """The answer in each sample, None where there is none."""
    sample_tokens: tuple[int, ...] = ()
    """New tokens of each sample."""
    sample_scores: tuple[float, ...] = ()
    """What a ranker says of each sample, where the solver has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """An accuracy that never travels without its interval."""

    solver: str
    """Whose accuracy, for example "plain_cot"."""
    problem_set: str
    """On which problems, for example "lab/test"."""
    right: int
    """Answers judged correct."""
    counted: int
    """Answers that could be judged; the denominator."""
    total: int
    """Problems asked."""
    low: float
    """Lower end of the 95 % Wilson interval of right / counted, in [0, 1]."""
    high: float
    """Upper end."""
    lenient_right: int
    """Correct under the lenient rule, beside the strict one."""
    extracted: int
    """Answers in which something could be read."""
    truncated: int
    """Answers cut by the token limit."""
    tokens: int
    """New tokens generated in all."""
    seed: int
    """Training seed of the solver."""

    @property
    def accuracy(self) -> float:
        """Share right of counted; NaN when nothing could be judged."""
        return self.right / self.counted if self.counted else float("nan")
