"""Tailored learning: the student sits exams, the teacher answers its mistakes, and the student reflects on them.

Wang et al., "Democratizing Reasoning Ability: Tailored Learning from Large Language Model" (Wang et al., EMNLP 2023).
Each round the student of the round before writes `samples` texts for every training problem at `temperature`. For each
distinct mistake that states an answer the teacher is shown question, mistake and gold answer and writes a rationale,
which is judged before use. The student then learns (train/reflection.py)

    L = sum_t w_t nll_t / T  +  reflection * sum_i max(0, margin - cos(h_a, h_p) + cos(h_a, h_n)) / M

with w = `prompt_weight` on the prompt and 1 on the rationale, over all T predicted tokens of the step; a is what is
learnt, p another right rationale of the same problem, n an own mistake, and M counts the trios of the step.

Departures: 1) prompts of the teacher, number of rounds and what is carried over are unknown (TAIL-O1 to O3): templates
are replaceable (`prompts`), the rest settings. The student's prompt is zero-shot, and w acts on that shorter text: the
code's has lines Question, Reasoning and Answer behind 3 to 5 demonstrations (a prompt file can). 2) The first round
learns from the teacher's plain rationales too, for a student whose texts cannot be read yet (`plain: false`: where they
can). 3) Problems held back by `curate.validation` are answered greedily in each exam and never learnt from; the best of
all students on them is returned, the untrained one too (TAIL-D6: the code selects on the test set). 4) p and n are
drawn once per rationale, not anew each epoch. 5) Texts are compared whole (the code cuts at 192 tokens); a loss that is
no number stops the run (the code: 0). 6) NO_ANSWER is no mistake, answers are compared as numbers, and the exam stops
at the end of a text (TAIL-D4, D7, D8). 7) `as_released` is TAIL-D1 to D3 only; our prompts end in no space, so the seam
is the weight of two first tokens. 8) An encoder-decoder imitates only and predicts no prompt. 9) `inner` trains each
round's student by another method, to which mistakes are wrong rationales; one with layers of its own (nat) begins each
round untrained. 10) A step may hold two rationales of one problem, each with its trio (the code keeps them apart). 11)
`own` adds the student's own right texts (rejection sampling, Yuan et al., 2023). 12) `mean_of` averages the weights of
the last rounds (model soups, Wortsman et al., 2022). 13) Near duplicates are left out (curate.near_duplicate).

Control: the teacher answers the same kind of mistakes without seeing them (`feedback: untailored`), at equal calls, or
equal tokens with `round_tokens`. Other baselines: `reflection: 0`; `feedback: star` (Zelikman et al., 2022).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Literal

from pydantic import Field, model_validator

from feints import methods
from feints.bench import Bench
from feints.bench.inner import Inner, InnerSettings, Makes
from feints.bench.rounds import Course, ask_within, cut_short, outcome_of, to_be_answered, write_report
from feints.bench.serving import Learner
from feints.config import Settings
from feints.curate.choice import Chosen
from feints.curate.examples import Built
from feints.curate.split import unit_interval
from feints.curate.trios import TrioWeights, draw_trios, trio_examples
from feints.errors import SettingsError
from feints.evaluate.solver import Solver
from feints.generate.prompt import STUDENT, TEACHER, Prompt
from feints.generate.rationales import Asking
from feints.generate.reply import CHARACTERS_PER_TOKEN
from feints.generate.settings import SamplingSettings
from feints.records import Origin, Rationale
from feints.runs import Stored
from feints.train.reflection import reflective_loss
from feints.train.student import Student

Told = list[tuple[str, Stored[Rationale]]]
"""Replies by label."""
SEAM = 2
"""Tokens of a rationale that weigh as the prompt does in `as_released` (TAIL-D3)."""

FEEDBACK = Prompt(
    id="tailored_feedback",
    template="{question}\n{choices}\n\nA student's wrong response:\n{wrong}\n\nThe correct answer is {gold}. Write the "
    "solution that would have kept this student from the mistake: reason step by step, one short sentence per step, "
    "explicit where the response goes wrong. It must stand alone: do not mention the response.\n{cue}",
    cue=TEACHER.cue,
    latex_cue=TEACHER.latex_cue,
)
"""The teacher sees the mistake and the answer; a student that sees the question alone could not learn remarks on it."""
UNTAILORED = replace(
    FEEDBACK,
    id="tailored_unseen",
    template="{question}\n{choices}\n\nThe correct answer is {gold}. Reason step by step, one short sentence per step."
    "\n{cue}",
)
"""The same request, the mistake unseen."""
HINT = Prompt(id="tailored_hint", template="{question}\n{choices}\n(The answer is {gold}.)\n{cue}", cue=STUDENT.cue)
"""STaR: the student is given the answer and asked for a rationale."""


class Config(Settings):
    """Settings of tailored learning."""

    profile: Literal["clean", "as_released"] = Field(
        default="clean",
        description="as_released: mistakes end with the gold answer, prompts are padded, seams weigh less.",
    )
    rounds: int = Field(default=3, ge=1, description="Most rounds; one that brings nothing is the last.")
    samples: int = Field(default=4, ge=1, description="Texts the student writes for each problem in an exam.")
    temperature: float = Field(default=1.0, gt=0, description="Of the student in its exams.")
    feedback: Literal["tailored", "untailored", "star"] = Field(
        default="tailored",
        description="tailored: the teacher sees the mistake; untailored: it does not; star: the student answers.",
    )
    plain: bool = Field(default=True, description="The first round learns plain rationales too, not mistakes alone.")
    own: bool = Field(default=False, description="Learn the student's own right texts too, as star always does.")
    data: Literal["accumulate", "replace"] = Field(
        default="accumulate", description="A round learns from all rounds so far, or from its own rationales alone."
    )
    start: Literal["continue", "restart"] = Field(
        default="continue",
        description="A round goes on from the last student, or from the untrained one, as it must if `inner` is nat.",
    )
    mean_of: int = Field(default=1, ge=1, description="Last rounds whose mean weights are one more student to return.")
    prompt_weight: float = Field(default=0.1, ge=0, description="Weight of prompt tokens in imitation.")
    reflection: float = Field(default=0.5, ge=0, description="Lambda, weight of the triplet term; 0: no reflection.")
    margin: float = Field(default=1.0, gt=0, description="Rho of the triplet.")
    pooling: Literal["last", "mean"] = Field(default="last", description="State of the last token, or the mean of all.")
    round_tokens: int | None = Field(
        default=None, ge=1, examples=[900], description="Most tokens, sent and received, of a round's feedback."
    )
    inner: InnerSettings | None = Field(
        default=None,
        description="Method by name with its settings that trains each round's student instead of the loss above.",
        examples=[{"name": "plain_cot"}],
    )

    @model_validator(mode="after")
    def _no_setting_without_effect(self) -> Config:
        own = ("margin", "pooling", "profile", "prompt_weight", "reflection")
        unused = [name for name in own if getattr(self, name) not in (type(self).model_fields[name].default, 0)]
        if self.inner and unused:
            raise ValueError(f"inner trains by a loss of its own, without {', '.join(unused)}; leave that out")
        return self


def distil(bench: Bench, config: Config) -> Solver:
    """Examine, have mistakes answered, train; until rounds are over, one brings nothing, or the budget is met."""
    course = Course(bench=bench, prompt=bench.prompt(STUDENT), samples=config.samples, temperature=config.temperature)
    inner = None if config.inner is None else Inner.of(config.inner, methods.find, mean_of=config.mean_of)
    known: Chosen | None = None
    for number in range(1, config.rounds + 1):
        here = course.round(number)
        said, verdicts, sitting = course.exam(here, number)
        taken = here.choose(said, verdicts, pile="wrong", unit=f"own texts of round {number}")
        fresh = to_be_answered(taken)
        mistakes = fresh.piles.wrong
        if sitting.perfect or not (mistakes or number == 1):
            outcome = "no mistakes" if sitting.judged else "nothing could be judged"
            write_report(here, sitting.report(number, problems=len(bench.problems), outcome=outcome))
            return course.solver(bench, course.examined(number + 1, mean_of=config.mean_of))
        if not (config.own or config.feedback == "star"):
            fresh = replace(fresh, piles=replace(fresh.piles, right=()))
        asked = _asked(here, config, course, number, mistakes)
        for label, told in asked:
            chosen = here.choose(told, here.judge(label, told), unit=f"{label} of round {number}")
            fresh = fresh.joined(replace(chosen, piles=replace(chosen.piles, wrong=())))
        known = fresh if known is None or config.data == "replace" else known.joined(fresh)
        whole = not any(cut_short(here, told) for _, told in asked)
        useful = any(row.problem_id not in course.held_back for row in fresh.piles.right)
        if useful:
            course.graduate(_train(here, config, course, number, known, inner), mean_of=config.mean_of)
            here.examine(course.solver(here, course.student), f"round_{number}")
        report = sitting.report(
            number,
            mistakes=len(mistakes),
            accepted=len(fresh.piles.right),
            learnt=len(known.piles.right) if useful else 0,
            problems=len(bench.problems),
            outcome=outcome_of(useful, whole),
            **course.spend(here),
        )
        write_report(here, report)
        if not useful or not whole:
            break
    return course.solver(bench, course.end(number + 1, mean_of=config.mean_of))


def _asked(bench: Bench, config: Config, course: Course, number: int, mistakes: Sequence[Rationale]) -> Told:
    """What is said in this round, by label: answers to mistakes, and in the first one plain rationales, if wanted."""
    if config.feedback == "star":
        once = SamplingSettings(
            n=1, temperature=config.temperature, max_tokens=bench.exam.max_tokens, seed=bench.sampling.seed
        )
        hint = bench.prompt(HINT)
        askings = [_about(bench, row, hint) for row in {row.problem_id: row for row in mistakes}.values()]
        how: dict[str, Any] = {"source": course.student, "sampling": once, "origin": Origin.SELF, "round": number}
        return [("hinted", bench.ask("hinted", hint, askings, **how))]
    first = [("teacher", bench.ask("teacher", TEACHER))] if number == 1 and config.plain else []
    return first + _feedback(bench, config, number, mistakes)


def _feedback(bench: Bench, config: Config, number: int, mistakes: Sequence[Rationale]) -> Told:
    """The teacher's answers to mistakes: all at once, or in parts until the tokens of the round are used up."""
    prompt = bench.prompt(FEEDBACK if config.feedback == "tailored" else UNTAILORED)
    waiting = sorted(mistakes, key=lambda row: unit_interval("feedback", bench.sampling.seed, row.id))
    ask = partial(_told, bench, prompt, number, mistakes)
    if config.round_tokens is None:
        return ask("feedback", waiting)
    askings = [_about(bench, row, prompt) for row in waiting]
    lengths = [len(turn.content) for one in askings for turn in prompt.messages(one.problem, **one.filled)]
    most = bench.sampling.max_tokens + max(lengths, default=0) / CHARACTERS_PER_TOKEN
    return ask_within(bench, waiting, config.round_tokens, most, lambda part, rows: ask(f"feedback-{part}", rows))


def _told(
    bench: Bench, prompt: Prompt, number: int, mistakes: Sequence[Rationale], label: str, rows: Sequence[Rationale]
) -> Told:
    """Answers to `rows`, some of all `mistakes`; unseen ones of one problem are told apart by their seeds."""
    turn: dict[str, int] = {}
    if "wrong" not in prompt.slots:
        seen: Counter[str] = Counter()
        for row in mistakes:
            turn[row.id] = seen[row.problem_id]
            seen[row.problem_id] += 1
    told = []
    for again in sorted({turn.get(row.id, 0) for row in rows}):
        # Another seed each round too: the same request would bring the same reply.
        seed = bench.sampling.seed + number + 1000 * again
        once = bench.sampling.model_copy(update={"n": 1, "adaptive": None, "seed": seed})
        askings = [_about(bench, row, prompt) for row in rows if turn.get(row.id, 0) == again]
        name = f"{label}-again-{again}" if again else label
        told.append((name, bench.ask(name, prompt, askings, sampling=once, origin=Origin.TAILORED, round=number)))
    return told


def _about(bench: Bench, row: Rationale, prompt: Prompt) -> Asking:
    problem = bench.by_id[row.problem_id]
    texts = {"wrong": row.text, "gold": problem.answer}
    return Asking(problem=problem, filled={slot: texts[slot] for slot in prompt.slots}, parent=row.id)


def _train(bench: Bench, config: Config, course: Course, number: int, known: Chosen, inner: Inner | None) -> Learner:
    """The student of this round, by the loss above or by another method."""
    begin = course.untrained if config.start == "restart" else course.start
    if inner is not None:
        return inner.train(bench, begin, known)
    trios = draw_trios(known.piles.right, known.piles.wrong if config.reflection else (), bench.curate.seed)
    released = config.profile == "as_released"
    weights = TrioWeights(prompt=config.prompt_weight, seam=SEAM if released else 0, gold_ending=released)

    def build(student: Student, _: Sequence[Rationale]) -> Built:
        if student.seq2seq and config.reflection:
            raise SettingsError("self-reflection needs a causal student; set method.reflection to 0")
        return trio_examples(
            student.renderer,
            course.prompt,
            bench.by_id,
            trios,
            replace(weights, prompt=0.0) if student.seq2seq else weights,
            thinking=bench.curate.thinking,
            max_tokens=bench.curate.max_tokens,
        )

    name, rows = f"round_{number}", [row for trio in trios for row in trio.rows]
    lesson = bench.examples(known, [course.prompt.hash, "trios", asdict(weights)], build, rows, name=name)
    settings = [config.reflection, config.margin, config.pooling, released]
    loss = reflective_loss(config.reflection, margin=config.margin, pooling=config.pooling, padded_prompts=released)
    start = None if config.start == "restart" else begin
    return bench.fit(lesson, loss, loss_settings=["reflective", *settings], start=start, name=name)


def control(config: Config) -> Config | None:
    """The mistakes unseen by the teacher, inside itself too; None for the baselines."""
    within = config.inner and config.inner | ({"feedback": "untailored"} if config.inner["name"] == "tailored" else {})
    unseen = {"feedback": "untailored", "inner": within}
    return config.model_copy(update=unseen) if config.feedback == "tailored" else None


def asks(config: Config, sampled: int) -> methods.Asks:
    """Most calls after the first `sampled` ones: every text of an exam may be a mistake, and `inner` may ask of it."""
    texts = config.samples * sampled
    answered = 0 if config.feedback == "star" else texts
    plain = config.plain and config.feedback != "star"  # star's student asks itself
    inner = None if config.inner is None else Inner.of(config.inner, methods.find, mean_of=config.mean_of)
    known = range(1, config.rounds + 1) if config.data == "accumulate" else [1] * config.rounds
    learnt = [plain * sampled + rounds * (texts + answered) for rounds in known]
    further = sum(methods.asked(inner.method, inner.config, many).further for many in learnt) if inner else 0
    bound = None if further or not answered or config.round_tokens is None else config.rounds * config.round_tokens
    return methods.Asks(config.rounds * answered + further, bound, plain)


def makes(config: Config) -> Makes:
    """Self-reflection compares states of a decoder; without it (`method.reflection: 0`) any student learns."""
    return Inner.of(config.inner, methods.find).makes if config.inner else Makes(causal=config.reflection > 0)


def arm(config: Config) -> tuple[str, str]:
    """Name and explanation for tables."""
    said = {
        "tailored": "the teacher answers the student's mistakes",
        "untailored": "the teacher answers as often, the mistakes unseen",
        "star": "the student answers itself, with the answer as a hint",
    }[config.feedback]
    alone = [] if config.reflection else ["without self-reflection"]
    marks = [f"trained by {config.inner['name']}"] if config.inner else alone
    marks += [] if config.plain or config.feedback == "star" else ["mistakes alone"]
    marks += ["with own right texts"] if config.own else []
    name = "-".join([config.feedback, *(mark.replace(" ", "_") for mark in marks)])
    return name, ", ".join([said, *marks])
