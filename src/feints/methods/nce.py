"""Negative calibrated enhancement: self-distillation that leans on what NEG and NAT disagree about.

"Turning Dust into Gold: Distilling Complex Reasoning Capabilities from LLMs by Leveraging Negative Data"
(Li et al., AAAI 2024), step 2. A fresh student learns the teacher's right rationales and, at the same time, the
distribution of NAT over each token. A rationale on which NEG and NAT disagree carries more of what matters, so its
share of the distillation is beta = tanh(D), D the mean divergence KL(NEG || NAT) over its tokens:

    L = (1 - alpha) CE + alpha T^2 sum_i sum_t (c0 + beta_i) [-sum_v p_NAT(v) log q(v)] / target tokens

The weights are stored with the examples (`scoring: stored`: NEG answers once, before training), or NEG is asked for
every batch (`live`): the same loss. Teachers are one frozen network in two modes, on the base weights of the student.

Departures: 1) Target tokens only, in the loss and in D; as released prompt and padding too (TDG-D1). 2) The weight is
beta as the figure draws it; as released 0.5 + beta (TDG-D6). 3) No smoothing in D, so it is 0 where NEG and NAT
agree; as released 1e-7 is added to NEG's side alone (TDG-D11) and to the target distribution. 4) The student is what
the recipe says, not always a LoRA addition. 5) The released code cannot run NCE (TDG-D5), and the paper's equations 6
and 7 were not at hand (TDG-O2), so this is the code's form. 6) The weight per token (`per: token`) and the other
direction are ours. 7) Near-identical rationales of a problem count once, in either profile; set curate.near_duplicate
to null for all. 8) Instead of the paper's limit of 1,200 characters, curate.max_tokens leaves out what is too long.

Control: plain self-distillation (`per: one`): the same teacher, examples and steps, every weight 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from feints.bench import Bench
from feints.bench.assistants import NatSettings, Profile, learn_nat, pad_id, shot_of
from feints.bench.inner import Makes
from feints.config import Settings
from feints.curate.examples import Built, build_examples
from feints.curate.released import whole_and_padded
from feints.errors import DataError
from feints.evaluate.solver import Solver
from feints.generate.prompt import STUDENT, TEACHER
from feints.generate.weights import weights_identity
from feints.methods import Start
from feints.records import Rationale, Role
from feints.runs import RunFolder
from feints.train.assistants import holds_nat
from feints.train.disagreement import Direction, Disagreement, Per, Smoothing, Teacher, scored, self_distillation
from feints.train.student import Student

AS_RELEASED = {"offset": 0.5, "smoothing": "one_sided"}
"""What the profile as_released changes where nothing else is said."""


class Config(Settings):
    """Settings of negative calibrated enhancement."""

    profile: Profile = Field(default="clean", description="clean, or as_released: TDG-D1 to D3, D6 and D11.")
    nat_run: str | None = Field(
        default=None, description="Folder of a run that trained NAT with this seed; null trains one here."
    )
    width: int = Field(default=128, ge=1, description="Width of the integrate units of a NAT trained here.")
    per: Per = Field(default="sequence", description="What has a weight of its own; one is plain self-distillation.")
    scoring: Literal["stored", "live"] = Field(
        default="stored", description="NEG scores all examples once beforehand, or every batch as it comes."
    )
    direction: Direction = Field(default="neg_nat", description="KL(NEG || NAT), or KL(NAT || NEG).")
    temperature: float = Field(default=1.0, gt=0, description="T of teachers and student.")
    share: float = Field(default=0.5, ge=0, le=1, description="alpha: share of the distillation in the loss.")
    offset: float = Field(default=0.0, ge=0, description="c0: the weight is c0 + beta; 0.5 as released.")
    smoothing: Smoothing = Field(default="none", description="Of the divergence; one_sided as released.")

    @model_validator(mode="before")
    @classmethod
    def _released(cls, given: Any) -> Any:
        """Defaults of the profile as_released; whatever is given stays."""
        if isinstance(given, dict) and given.get("profile") == "as_released":
            return {**AS_RELEASED, **given}
        return given

    @property
    def how(self) -> Disagreement:
        """The settings of the weights."""
        fields = Disagreement.__dataclass_fields__
        return Disagreement(**{name: getattr(self, name) for name in fields})


def distil(bench: Bench, config: Config) -> Solver:
    """Sample the teacher; take or train NAT; weigh the right rationales; learn them and NAT's view of them."""
    said = bench.ask("teacher", TEACHER)
    verdicts = bench.judge("teacher", said)
    released = config.profile == "as_released"
    if config.nat_run is None:
        nat = learn_nat(bench, NatSettings(profile=config.profile, width=config.width), said, verdicts)
    else:
        nat = nat_of_run(Path(config.nat_run), bench.seed, "nat_released" if released else "nat")
    teacher = Teacher(nat)
    chosen = bench.choose(said, verdicts)
    stored = config.scoring == "stored" and config.share > 0

    def build(student: Student, rows: Sequence[Rationale]) -> Built:
        built = lesson_examples(bench, student, rows, released)
        examples = (
            scored(student, teacher, built.examples, config.how, device=bench.device, console=bench.console)
            if stored
            else built.examples
        )
        return replace(built, examples=tuple(examples))

    scores: list[object] = ["scored", weights_identity(nat), asdict(config.how)] if stored else []
    lesson = bench.examples(chosen, [bench.prompt(STUDENT).hash, Role.RIGHT, released, *scores], build, name="nce")
    student = bench.fit(
        lesson,
        self_distillation(teacher, config.how, stored=stored, released=released),
        loss_settings=["nce", weights_identity(nat), asdict(config.how), stored, released],
        student=lambda: teacher.beside(bench.fresh_student()),
        name="nce",
    )
    return shot_of(bench, student, released)


def lesson_examples(bench: Bench, student: Student, rows: Sequence[Rationale], released: bool) -> Built:
    """Right rationales, to be imitated."""
    curate = bench.curate
    built = build_examples(
        student.renderer,
        bench.prompt(STUDENT),
        bench.by_id,
        rows,
        role=Role.RIGHT,
        thinking=curate.thinking,
        max_tokens=curate.max_tokens,
    )
    return replace(built, examples=whole_and_padded(built.examples, pad_id(student))) if released else built


def nat_of_run(path: Path, seed: int, arm: str) -> Path:
    """Folder of the NAT that `arm` of the run in `path` trained with `seed`.

    Raises:
        DataError: there is none.
    """
    found = [
        (folder / "student", entry["seed"])
        for folder, entry in RunFolder.open(path).outputs("4_student")
        if entry.get("name") == "nat" and entry["arm"] == arm and holds_nat(folder / "student")
    ]
    for folder, trained in found:
        if trained == seed:
            return folder
    seeds = ", ".join(str(trained) for _, trained in found) or "none"
    raise DataError(
        f"{path} has no arm {arm} of training seed {seed} (it has those of: {seeds}); run method nat with this seed "
        "and profile first, or leave nat_run out"
    )


def check(config: Config, start: Start) -> None:
    """Look for the NAT of every seed in the run that is named."""
    if config.nat_run is not None:
        arm = "nat_released" if config.profile == "as_released" else "nat"
        for seed in start.seeds:
            nat_of_run(Path(config.nat_run), seed, arm)


def control(config: Config) -> Config | None:
    """Plain self-distillation; None for the control itself."""
    return None if config.per == "one" else config.model_copy(update={"per": "one"})


def makes(config: Config) -> Makes:
    """As released padding stops the student, and the prompt is learnt, which an encoder-decoder never predicts."""
    released = config.profile == "as_released"
    return Makes(layers=released, causal=released)


def arm(config: Config) -> tuple[str, str]:
    """Name and explanation for tables."""
    if config.per == "one":
        name, explanation = "self_distillation", "learns right rationales and NAT's distribution, all weighed alike"
    else:
        name = "nce" if config.per == "sequence" else "nce_tokens"
        explanation = "the same, weighed by how far the models of wrong and right rationales disagree"
    if config.profile == "as_released":
        return f"{name}_released", f"{explanation}, as the code was released"
    if config.offset and config.per != "one":
        return f"{name}_offset_{config.offset:g}", f"{explanation}, on top of {config.offset:g}"
    return name, explanation
