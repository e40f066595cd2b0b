"""Adaptive self-consistency: samples vote, a ranker trained on right and wrong rationales weighs the votes.

"Turning Dust into Gold: Distilling Complex Reasoning Capabilities from LLMs by Leveraging Negative Data"
(Li et al., AAAI 2024), step 3. A student answers the training problems several times; its right and wrong rationales
and the teacher's train a ranker (mean state of a rationale, two residual blocks, sigmoid s) to (1 - s_right)^p +
s_wrong^p, one pair a problem and epoch, drawn at random. In the exam each of N samples votes with weight c0 + c1 s.

Departures: 1) Votes are for normalised answers, and a sample without one does not vote; `raw_keys` counts as the code
does (TDG-D8). 2) The ranker stands on the student's own body (or its shape, from scratch) unless another is named, not
on Flan-T5-XL; it sees every token of the rationale and no padding (TDG-D9). 3) The code trains it on the student's
samples and merges two runs so that one is lost; here teacher's and student's are joined, and the data's own solutions.
4) Which of the code's four weights is the paper's is not known (TDG-O2), so c0 and c1 are settings; 1 + s by default.
5) Sampling ends once the vote is decided (`evaluate/adaptive_vote.py`): the answer differs from that of all N with
probability `error` at most. 6) The schedule is the recipe's, over all epochs at once. 7) Of tied answers the one given
first wins; the curves of the report share the credit, as the code does. 8) Near-identical rationales of a problem count
once; set curate.near_duplicate to null for all. 9) No `as_released`:
raw votes are a setting, the rest that the code does is a fault (TDG-D9).

Control: plain self-consistency: the same student, samples and stopping rule, every vote 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from feints import methods
from feints.bench import Bench, Lesson
from feints.bench.inner import Inner, InnerSettings, Makes, one_text
from feints.config import CleanSettings
from feints.curate.choice import Chosen
from feints.curate.examples import STEP, Built, build_examples
from feints.curate.gold import gold_rows
from feints.curate.split import unit_interval
from feints.errors import DataError
from feints.evaluate.adaptive_vote import AdaptiveVote
from feints.evaluate.calibration import RankerCheck, check_ranker
from feints.evaluate.ranker import MOST_TOKENS, Ranker, RankerStudent, body_hashes, ranker_loss
from feints.evaluate.solver import OneShot, Solver, load_solver
from feints.generate.prompt import STUDENT, TEACHER
from feints.generate.settings import SamplingSettings
from feints.records import Dropped, Example, Form, Origin, Rationale, Role, content_hash
from feints.runs import RunFolder
from feints.train.student import Student


class Config(CleanSettings):
    """Settings of adaptive self-consistency."""

    only_clean = "what its code does otherwise is a setting (raw_keys) or a fault (TDG-D9)"

    inner: InnerSettings = Field(
        default={"name": "plain_cot"},
        description="Method by name with its settings that trains the student who votes.",
        examples=[{"name": "mix"}],
    )
    student_run: str | None = Field(
        default=None, description="Folder of a run whose method answers; null trains a student here, by `inner`."
    )
    ranker_body: str | None = Field(
        default=None, description="Folder or hub id of the ranker's body; null takes the recipe's student."
    )
    body: Literal["pretrained", "scratch"] = Field(
        default="pretrained", description="Start from the body's weights, or from its shape alone."
    )
    samples: int = Field(default=16, ge=1, description="N, most drawn in the exam; exam.votes, if above 1, instead.")
    offset: float = Field(default=1.0, ge=0, description="c0 of the weight c0 + c1 s.")
    slope: float = Field(default=1.0, ge=0, description="c1; 0 is plain self-consistency, without a ranker.")
    error: float = Field(
        default=0.05, ge=0, lt=1, description="Most that stopping early may change; 0 stops where nothing can change."
    )
    stop: bool = Field(default=True, description="End sampling once the vote is decided.")
    raw_keys: bool = Field(
        default=False, description="Count answers letter by letter, a missing one too, as released (TDG-D8)."
    )
    own: int = Field(default=16, ge=1, description="The student's own rationales of each training problem.")
    teacher: bool = Field(
        default=True,
        description="The ranker learns the teacher's rationales too; false: the student's alone, which cost nothing.",
    )
    power: float = Field(default=3.0, gt=0, description="p of the ranker's loss.")
    epochs: int = Field(default=5, ge=1, description="Pairs of each problem, one an epoch.")


def distil(bench: Bench, config: Config) -> Solver:
    """Take or train a student; let it answer; train the ranker on its texts and the teacher's; vote."""
    run = config.student_run
    student = learn_student(bench, config) if run is None else student_of_run(run, bench.seed)
    student.sampling = bench.exam.drawn
    student.checker, student.device = bench.pool, bench.device
    ranker = learn_ranker(bench, config, student) if config.slope else None
    return AdaptiveVote(
        student,
        ranker,
        samples=bench.exam.votes if bench.exam.votes > 1 else config.samples,
        offset=config.offset,
        slope=config.slope,
        error=config.error,
        stop=config.stop,
        raw_keys=config.raw_keys,
    )


def asks(config: Config, sampled: int) -> methods.Asks:
    """What `inner` asks; a ranker that learns the teacher's rationales wants them in any case."""
    if config.student_run is not None:
        return methods.Asks(plain=config.teacher and config.slope > 0)
    inner = Inner.of(config.inner, methods.find, any_prompt=True)
    asked = methods.asked(inner.method, inner.config, sampled)
    return replace(asked, plain=asked.plain or (config.teacher and config.slope > 0 and inner.makes.words))


def check(config: Config, start: methods.Start) -> None:
    """Look for the student of every seed in the run that is named."""
    for seed in start.seeds if config.student_run else ():
        student_of_run(str(config.student_run), seed)


def makes(config: Config) -> Makes:
    """A vote."""
    del config
    return Makes(one_text=False)


# ------------------------------------------------------------------------------------------------------ the student


def learn_student(bench: Bench, config: Config) -> OneShot:
    """The student whose samples vote, trained by `inner`."""
    return Inner.of(config.inner, methods.find, any_prompt=True).distil(bench)


def student_of_run(path: str, seed: int) -> OneShot:
    """The solver that the method of another run gave for a training seed.

    Raises:
        DataError: the run has none.
        SettingsError: it asks several times, so its samples cannot be scored as one text.
    """
    run = RunFolder.open(Path(path))
    arm = str(run.manifest["arms"][0]["name"])
    folder = run.solvers().get((arm, seed))
    if folder is None:
        raise DataError(f"{path} has no solver of {arm} with training seed {seed}; run it with this seed first")
    return one_text(load_solver(folder), f"run {path}")


# ------------------------------------------------------------------------------------------------------- the ranker


def learn_ranker(bench: Bench, config: Config, student: OneShot) -> Ranker:
    """A ranker trained on right and wrong rationales of the student, and of the teacher where wanted and in words."""
    how = student.sampling
    drawn = SamplingSettings(n=config.own, temperature=how.temperature, top_p=how.top_p, max_tokens=how.max_tokens)
    source = student.student if type(student) is OneShot and isinstance(student.student, Path) else student.source
    own = bench.ask("own", student.prompt, source=source, sampling=drawn, origin=Origin.SELF, form=student.form)
    both = bench.choose(own, bench.judge("own", own), unit="own rationales")
    if config.teacher and student.form is Form.COT:
        said = bench.ask("teacher", TEACHER)
        both = bench.choose(said, bench.judge("teacher", said)).joined(both)
    elif config.teacher:
        bench.notices.append(
            f"ranker: it learns the student's own texts alone; the teacher's have no form {student.form}"
        )
    body = config.ranker_body or bench.student.model

    def start() -> RankerStudent:
        return RankerStudent.start(body, seed=bench.seed, scratch=config.body == "scratch")

    identity, tokenizer_hash = body_hashes(body)
    lesson = pair_lesson(bench, config, both, start, tokenizer_hash)
    folder = bench.fit(
        lesson,
        ranker_loss(config.power),
        loss_settings=["ranker", config.power, config.body, identity],
        settings=bench.training.model_copy(update={"rows": "padded", "epochs": 1, "max_steps": None}),
        student=start,
        save=lambda learnt, place: learnt.save(place),
        name="ranker",
    )
    ranker = Ranker(folder, bench.device)
    report_ranker(bench, ranker, both)
    return ranker


def pair_lesson(
    bench: Bench, config: Config, both: Chosen, start: Callable[[], RankerStudent], tokenizer_hash: str
) -> Lesson:
    """One pair of each problem and epoch, a group of its own, both sides drawn at random."""
    pairs = drawn_pairs(both, config.epochs, bench.curate.seed, gold_rows(bench.problems))
    problems = {row.problem_id for row in (*both.piles.right, *both.piles.wrong)}
    if lone := len(problems) - len({right.problem_id for right, _ in pairs}):
        bench.notices.append(f"ranker: {lone:,} problems have right rationales only, or wrong ones only, and no pair")

    def build(_: Student, rows: Sequence[Rationale]) -> Built:
        return pair_examples(bench, start(), list(zip(rows[::2], rows[1::2], strict=True)))

    how = [STUDENT.hash, "ranker", tokenizer_hash, MOST_TOKENS, config.epochs]
    sides = [row for pair in pairs for row in pair]
    return bench.examples(both, how, build, sides, name="ranker", compared=True)


def drawn_pairs(
    both: Chosen, epochs: int, seed: int, gold: Sequence[Rationale] = ()
) -> list[tuple[Rationale, Rationale]]:
    """For each epoch and each problem with both, a right and a wrong rationale drawn at random.

    The data set's own solution stands among the right ones where there is one.
    """
    sides: dict[str, tuple[list[Rationale], list[Rationale]]] = {}
    for side, pile in enumerate(((*both.piles.right, *gold), both.piles.wrong)):
        for row in pile:
            sides.setdefault(row.problem_id, ([], []))[side].append(row)
    return [
        (_drawn(right, seed, epoch), _drawn(wrong, seed, epoch))
        for epoch in range(epochs)
        for right, wrong in sides.values()
        if right and wrong
    ]


def _drawn(rows: Sequence[Rationale], seed: int, epoch: int) -> Rationale:
    return min(rows, key=lambda row: unit_interval(f"ranker {epoch}", seed, row.id))


def pair_examples(bench: Bench, ranker: RankerStudent, pairs: Sequence[tuple[Rationale, Rationale]]) -> Built:
    """Two examples a pair; a pair with a side that is too long is left out whole."""
    examples: list[Example] = []
    dropped: list[Dropped] = []
    for number, pair in enumerate(pairs):
        sides = [
            build_examples(
                ranker.renderer,
                STUDENT,
                bench.by_id,
                [row],
                role=role,
                thinking="drop",
                max_tokens=min(MOST_TOKENS, ranker.context or MOST_TOKENS),
            )
            for row, role in zip(pair, (Role.RIGHT, Role.WRONG), strict=True)
        ]
        reasons = [reason for side in sides for reason in side.dropped]
        if reasons:
            left = [row for row, side in zip(pair, sides, strict=True) if side.examples]
            dropped += [
                *reasons,
                *(Dropped(item_id=row.id, step=STEP, reason="its counterpart is left out") for row in left),
            ]
            continue
        group = content_hash("ranker pair", number, *(row.id for row in pair))
        examples += [
            replace(example, id=content_hash(group, example.id), group=group)
            for side in sides
            for example in side.examples
        ]
    return Built(examples=tuple(examples), dropped=tuple(dropped))


def report_ranker(bench: Bench, ranker: Ranker, both: Chosen) -> None:
    """Pair accuracy and calibration on the rationales of held-back problems, for the report."""
    rows = [
        (row, right)
        for pile, right in ((both.piles.right, True), (both.piles.wrong, False))
        for row in pile
        if row.problem_id in both.validation
    ]

    def made() -> list[RankerCheck]:
        scores = ranker.score([(bench.by_id[row.problem_id], row.text) for row, _ in rows])
        return [check_ranker([row.problem_id for row, _ in rows], scores, [right for _, right in rows])]

    if not rows:
        bench.notices.append("ranker: no problem is held back, so its scores are not checked; set curate.validation")
        return
    label, depends = f"{bench.arm}-ranker-seed{bench.seed}", [ranker.identity, both.address]
    bench.run.table("6_report", label, RankerCheck, depends, made, arm=bench.arm, seed=bench.seed)


def control(config: Config) -> Config | None:
    """Plain self-consistency; None for the control itself."""
    return config.model_copy(update={"slope": 0.0, "offset": config.offset or 1.0}) if config.slope else None


def arm(config: Config) -> tuple[str, str]:
    """Name and explanation for tables."""
    by = config.inner["name"]
    raw = ("" if by == "plain_cot" else f"-{by}") + ("_raw" if config.raw_keys else "")
    most = f"up to exam.votes of them, or {config.samples} where that is 1"
    if not config.slope:
        return f"self_consistency{raw}", f"samples of the same student vote, all alike, {most}"
    name, ranker = ("asc", "a ranker") if config.body == "pretrained" else ("asc_scratch", "a ranker from scratch")
    name += "" if config.teacher else "_own"
    return f"{name}{raw}", f"samples vote, weighed by {ranker} of right and wrong rationales, {most}"
