"""EDIT: learn right rationales whole, then the key tokens in which right and wrong ones of a problem part.

"Capture the Key in Reasoning to Enhance CoT Distillation Generalization" (Dai et al., ACL 2025); released code
C-W-D/CasCoD. The teacher mends its wrong rationales, told the answer, and corrupts its right ones, shown pairs the run
itself mended. A first student imitates all right rationales. A second one, a fresh adapter on the merged first, pulls
the tokens of a right text that a shortest edit into the wrong one deletes or replaces, and pushes away those of the
wrong text: L = 1/|y+| sum alpha nll(key of y+) - 1/|y-| sum beta nll(key of y-), a mean over pairs (EDIT-A1).

`first` and `second` also give the paper's baselines on the same chains: Std-CoT (right, none), + rectified (rectified,
none), Std-CoT with dual chains (marked, none), DPO (dpo), and repeated sampling: at as many calls as the dual chains
take (repeated, none), or with the wrong chains of both draws mended, at as many chains (repeated+rectified, none).

Departures: 1) no sub-task is described, pairs shown may be of another one, and the teacher gets no human demonstrations
(teacher_prompt sets the paper's three) and may be sampled several times a problem; every wrong rationale is mended,
every right one corrupted. 2) Mended chains that end wrong and corrupted ones that end right are dropped with a reason
(EDIT-A9). 3) Texts are aligned unpadded (EDIT-A5). 4) The bound tau reads the distribution that predicts a token
(EDIT-A11). 5) Votes count normalised answers (EDIT-A12). 6) Prompt and target are tokenised apart (EDIT-A6; with a chat
template or an encoder-decoder in either profile). 7) Natural pairs, a right and a wrong sample of one problem, are a
third source. 8) The epoch kept is the best on held-back pairs. 9) Unreadable replies are not mended, near-identical
ones kept once. `profile: as_released` undoes 2 to 6, but cuts no text at 1,024 tokens (a notice counts longer ones).

Control: the same pairs, alpha and steps, nothing pushed away; where nothing is pulled either, the first stage alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import reduce
from itertools import chain
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from feints import methods
from feints.bench import Bench, dual
from feints.config import Settings
from feints.curate.choice import Chosen
from feints.curate.dual import Alignment, KeyWeights, Sources, in_one, key_step_examples, pairs_from
from feints.curate.examples import Built, build_examples
from feints.curate.patterns import of_one_pattern
from feints.evaluate.raw_vote import RawVote
from feints.evaluate.solver import Majority, Solver
from feints.generate.prompt import STUDENT, TEACHER, Prompt
from feints.records import Pair, Rationale, Role, content_hash
from feints.train.losses import Loss, weighted_nll
from feints.train.losses_edit import Bound, SequenceDivisor, dpo, krsl
from feints.train.settings import AdapterSettings, TrainSettings
from feints.train.student import Student

HINT = Prompt(
    id="edit_answer_hint",
    template="{question}\n{choices}\n\nHint: the correct answer is {hint}.\n"
    "Reason step by step towards it, one short sentence per step.\n{cue}",
    cue=TEACHER.cue,
    latex_cue=TEACHER.latex_cue,
)
CONTRAST = Prompt(
    id="edit_contrast",
    template="For each question, fill in a wrong response: the likeliest wrong answer, with a rationale that leads to "
    "it. It must differ from the right response in both, and end as that one does.\n\n{demonstrations}\n\n"
    "Question: {question}\n{choices}\n\nRight response:\n{right}\n\nWrong response:\n",
)
LABEL = Prompt(
    id="edit_pattern",
    template="Question: {question}\n{choices}\n\nRight response:\n{right}\n\nWrong response:\n{wrong}\n\n"
    "Say in a sentence what is mistaken in the wrong response, then classify it. a: the reasoning is not logical. "
    "b: a fact is not true. c: a calculation is wrong. d: anything else. Join several letters with +, and finish with "
    'a line of the form "Label: ..."',
)
COUNTERFACTUAL = replace(STUDENT, id="student_counterfactual", template="[counterfactual] " + STUDENT.template)
MENDING = ("rectified", "marked", "repeated+rectified")
DPO_BETA = 0.1
KEYS = ("alpha", "beta", "gamma", "alignment", "drop_disjoint")


class Config(Settings):
    """Settings of EDIT and of its baselines."""

    profile: Literal["clean", "as_released"] = Field(
        default="clean", description="As described, or as the released code does it: see the departures."
    )
    first: Literal["rectified", "right", "marked", "repeated", "repeated+rectified"] = Field(
        default="rectified",
        description="First stage: right samples with mended ones, alone, with wrong chains behind a marker, with a "
        "second draw of the teacher, or with that and mended ones.",
    )
    second: Literal["krsl", "dpo", "none"] = Field(default="krsl", description="Second stage on the pairs.")
    sources: Sources = Field(
        default="rectified+corrupted", description="Where pairs come from; sampled ones cost nothing further."
    )
    keep_all: bool = Field(default=False, description="Keep chains that missed the answer they were made for.")
    alpha: float = Field(default=1.0, ge=0, description="Weight of key tokens of right rationales.")
    beta: float = Field(default=0.025, ge=0, description="Weight of key tokens of wrong ones, pushed away.")
    gamma: float = Field(default=0.0, ge=0, description="Weight of the other tokens of right rationales.")
    tau: float = Field(default=20.0, gt=0, description="Nats from which a wrong token is let be.")
    divisor: SequenceDivisor = Field(default="target_tokens", description="What the sum over one text is divided by.")
    alignment: Alignment = Field(default="one_way", description="How key tokens are found (EDIT-A4, A5).")
    drop_disjoint: bool = Field(default=False, description="Leave out pairs mostly made of key tokens (EDIT-A8).")
    push: bool = Field(default=True, description="False is the control: the same pairs, nothing pushed away.")
    pattern: Literal["any", "logical", "knowledge", "calculation", "other"] = Field(
        default="any", description="Learn from pairs of one mistake pattern, at equal counts; the teacher labels them."
    )
    second_rate: float = Field(default=0.025, gt=0, description="Rate of stage 2 / stage 1, 5e-6 / 2e-4 (DPO: 0.05).")
    second_length: float = Field(default=1.0, gt=0, description="Epochs (or steps) of stage 2 / stage 1: 10 / 10.")

    @model_validator(mode="after")
    def _learns(self) -> Config:
        if self.second == "krsl" and not (self.alpha or self.gamma or (self.push and self.beta)):
            raise ValueError("alpha, gamma, beta and push leave the second stage nothing to learn; set second: none")
        return self


def distil(bench: Bench, config: Config) -> Solver:
    """Gather right and wrong chains, imitate the right ones, then learn the key tokens of the pairs."""
    released = config.profile == "as_released"
    if released:
        config = config.model_copy(update={"keep_all": True, "alignment": "padded"})
    chains = gather(bench, config)
    wrong = (*chains.wrong, *chains.corrupted) if config.first == "marked" else ()
    mended = chains.rectified if config.first in MENDING else ()
    lesson = bench.examples(
        chains.imitated,
        [bench.prompt(STUDENT).hash, bench.prompt(COUNTERFACTUAL).hash if wrong else "", released],
        lambda student, rows: imitation(bench, student, rows, {row.id for row in wrong}, released),
        [*chains.right, *chains.repeated, *mended, *wrong],
        name="stage1",
    )
    student = bench.fit(lesson, weighted_nll(), loss_settings=["weighted_nll"], name="stage1")
    if config.second != "none":
        student = key_steps_stage(bench, config, chains, student, released)
    solver = bench.one_shot(student, bench.prompt(STUDENT))
    return RawVote(solver.inner, solver.samples) if released and isinstance(solver, Majority) else solver


def control(config: Config) -> Config | None:
    """The same pairs and steps without the push; for DPO, imitation of their right texts; None for a baseline."""
    if config.second == "none" or not config.push:
        return None
    if config.second == "krsl" and not (config.alpha or config.gamma):
        return config.model_copy(update={"second": "none"})  # (0, 0) in the paper's table is the first stage alone
    whole = dict.fromkeys(("alpha", "gamma"), config.alpha or 1.0) if config.second == "dpo" else {}
    return config.model_copy(update={"second": "krsl", "push": False, **whole})


def arm(config: Config) -> tuple[str, str]:
    """Name and explanation for tables; a setting that is not the default stands in the name."""
    baselines = {
        "right": ("std_cot", "imitates the teacher's right rationales"),
        "rectified": ("std_cot_rectified", "imitates right and rectified rationales"),
        "marked": ("std_cot_dual", "imitates right chains, and wrong ones behind a marker"),
        "repeated": ("std_cot_repeated", "imitates the right ones of twice as many samples"),
        "repeated+rectified": ("std_cot_repeated_rectified", "the same and rectified ones"),
    }
    usual = {"second", "push"}
    if config.second == "none":
        name, words = baselines[config.first]
        usual |= {"first"}
    elif config.second == "dpo":
        name, words = "edit_dpo", "imitates right chains, then prefers them to wrong ones (DPO)"
    elif config.push:
        name, words = "edit", "imitates right chains, then pulls and pushes key tokens"
    else:
        name, words = "edit_no_push", "the same pairs and steps, nothing pushed away"
    changed = [
        re.sub(r"\W+", "_", value if isinstance(value, str) else field if value is True else f"{field}_{value}")
        for field, value in config.model_dump(mode="json").items()
        if field in Config.model_fields and field not in usual and value != Config.model_fields[field].default
    ]
    return "_".join([name, *changed]), words


def asks(config: Config, sampled: int) -> methods.Asks:
    """Most calls of the teacher after the first `sampled` ones: a chain is mended or corrupted, a pair labelled."""
    paired = config.sources if config.second != "none" else "sampled"
    again = config.first in MENDING or paired != "sampled"
    labels = config.pattern != "any" and config.second != "none"
    drawn_again = 2 if config.first == "repeated+rectified" else config.first == "repeated"  # and its wrong ones mended
    return methods.Asks(sampled * (again + labels + drawn_again))


# ------------------------------------------------------------------------------------------------------- dual chains


@dataclass(frozen=True, slots=True)
class Chains:
    """All rationales of a run by how they came to be: of the teacher's first draw, of a second, mended, corrupted."""

    right: tuple[Rationale, ...]
    wrong: tuple[Rationale, ...]
    repeated: tuple[Rationale, ...]
    rectified: tuple[Rationale, ...]
    corrupted: tuple[Rationale, ...]
    imitated: Chosen
    """What the first stage may learn from, so that a baseline without a second one has the very same student."""
    chosen: Chosen
    """Everything joined, with what was left out."""


def gather(bench: Bench, config: Config) -> Chains:
    """Ask for what the settings need and no more, each chain judged."""
    said = bench.ask("teacher", TEACHER)
    sampled = bench.choose(said, bench.judge("teacher", said))
    right, wrong = sampled.piles.right, sampled.piles.wrong
    repeated = rectified = corrupted = also_wrong = tuple[Rationale, ...]()
    paired = config.sources if config.second != "none" else ""
    parts = [(sampled, True)]  # and whether the first stage learns from it
    if config.first.startswith("repeated"):
        again = bench.sampling.model_copy(update={"seed": bench.sampling.seed + 1})
        draw = bench.ask("repeated", TEACHER, sampling=again)
        second = bench.choose(draw, bench.judge("repeated", draw), unit="rationales of a second draw")
        parts.append((second, True))
        repeated, also_wrong = second.piles.right, second.piles.wrong
    # Demonstrations of a corruption are mended chains, so these come first.
    if config.first in MENDING or paired not in ("", "sampled"):
        to_mend = (*wrong, *also_wrong) if config.first in MENDING else wrong
        parts.append((dual.mend(bench, HINT, to_mend, keep_all=config.keep_all), config.first in MENDING))
        rectified = parts[-1][0].piles.right
    if config.first == "marked" or paired in ("rectified+corrupted", "corrupted", "all"):
        bent = dual.corrupt(bench, CONTRAST, right, rectified, wrong, keep_all=config.keep_all)
        parts.append((bent, config.first == "marked"))
        corrupted = bent.piles.wrong
    imitated = reduce(Chosen.joined, (part for part, used in parts if used))
    chosen = reduce(Chosen.joined, (part for part, _ in parts))
    return Chains(right, wrong, repeated, rectified, corrupted, imitated, chosen)


def pairs_of(bench: Bench, config: Config, chains: Chains) -> list[Pair]:
    """Pairs of the sources asked for; of one mistake pattern at equal counts where one is asked for."""
    rows = chains.right, chains.wrong, chains.rectified, chains.corrupted
    pairs = pairs_from(*rows, sources=config.sources, seed=bench.curate.seed)
    if config.pattern == "any":
        return pairs
    return of_one_pattern(dual.label(bench, LABEL, pairs, chain(*rows)), config.pattern, bench.curate.seed)


# ---------------------------------------------------------------------------------------------------------- training


def imitation(bench: Bench, student: Student, rows: Sequence[Rationale], marked: set[str], joint: bool) -> Built:
    """Every target token alike; rationales of `marked` behind the counterfactual marker."""
    how = {False: (Role.RIGHT, joint, STUDENT), True: (Role.WRONG, joint, COUNTERFACTUAL)}
    return Built.joined([_example(bench, student, row, *how[row.id in marked]) for row in rows])


def key_steps_stage(bench: Bench, config: Config, chains: Chains, first: Path, joint: bool) -> Path:
    """A fresh adapter on the merged first student learns the pairs."""
    made = pairs_of(bench, config, chains)
    depends = [chains.chosen.address, content_hash([asdict(pair) for pair in made])]
    pairs = bench.run.table("3_examples", f"{bench.arm}-pairs", Pair, depends, lambda: made, arm=bench.arm)
    by_id = {row.id: row for row in chain(chains.right, chains.wrong, chains.rectified, chains.corrupted)}
    how = KeyWeights(**{name: getattr(config, name) for name in KEYS}).of_examples(whole=config.second == "dpo")

    def build(student: Student, _: Sequence[Rationale]) -> Built:
        def sides(pair: Pair) -> tuple[Built, Built]:
            right = _example(bench, student, by_id[pair.right_id], Role.RIGHT, joint)
            return right, _example(bench, student, by_id[pair.wrong_id], Role.WRONG, joint)

        return key_step_examples(sides, pairs, how)

    rows = [by_id[name] for pair in pairs for name in (pair.right_id, pair.wrong_id)]
    made_with = [bench.prompt(STUDENT).hash, pairs.address, asdict(how), joint]
    lesson = bench.examples(chains.chosen, made_with, build, rows, name="stage2")
    dual.tell_unpadded(bench, how.alignment, [*lesson.train, *lesson.validation])
    loss, described = _loss(bench, config, first)
    settings = _second(bench.training, config)
    return bench.fit(lesson, loss, loss_settings=described, settings=settings, start=first, name="stage2")


def _loss(bench: Bench, config: Config, first: Path) -> tuple[Loss, list[object]]:
    if config.second == "dpo":
        plain = bench.student.model_copy(update={"model": str(first), "adapter": AdapterSettings()})
        return dpo(lambda: Student.load(plain, device=bench.device or "cpu").model, DPO_BETA), ["dpo", DPO_BETA]
    bound: Bound = "unshifted" if config.profile == "as_released" else "shifted"
    pull, push = bool(config.alpha or config.gamma), config.push and config.beta > 0
    loss = krsl(config.tau, config.divisor, pull=pull, push=push, bound=bound)
    return loss, ["krsl", config.tau, config.divisor, pull, push, bound]


def _second(training: TrainSettings, config: Config) -> TrainSettings:
    """The recipe's training at the rate and length of the second stage."""
    epochs, steps = (n and max(1, round(n * config.second_length)) for n in (training.epochs, training.max_steps))
    learning = {"learning_rate": training.learning_rate * config.second_rate, "epochs": epochs, "max_steps": steps}
    return training.model_copy(update=learning)


def _example(bench: Bench, student: Student, row: Rationale, role: Role, joint: bool, own: Prompt = STUDENT) -> Built:
    """The example of one rationale, every target token alike."""
    prompt, curate, renderer = bench.prompt(own), bench.curate, student.renderer
    built = build_examples(
        renderer, prompt, bench.by_id, [row], role=role, thinking=curate.thinking, max_tokens=curate.max_tokens
    )
    if not joint or renderer.chat or renderer.seq2seq:
        return built
    text = renderer.prompt_text(prompt.messages(bench.by_id[row.problem_id]))
    text += renderer.target_text(row.text, row.thinking if curate.thinking == "keep" else "")
    return replace(built, examples=tuple(in_one(renderer, text, example) for example in built.examples))
