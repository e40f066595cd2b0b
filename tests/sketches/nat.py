"""A throw-away toy of NEG and NAT (Li et al., AAAI 2024) to try the contracts: two adapters, layers of its own."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from safetensors.torch import load_file
from torch import Tensor, nn

from feints.bench import Bench
from feints.config import Settings
from feints.curate.examples import build_examples
from feints.evaluate.solver import OneShot, Solver
from feints.generate.local import LocalSettings, LocalSource
from feints.generate.prompt import STUDENT, TEACHER
from feints.generate.rendering import Renderer
from feints.generate.weights import hash_files, load_weights, weights_identity
from feints.records import Role
from feints.train.checkpoint import save_tensors
from feints.train.losses import weighted_nll
from feints.train.settings import AdapterSettings
from feints.train.student import Student

PLACES = ("q_proj", "v_proj")
UNIT_FILE = "nat.safetensors"


class Config(Settings):
    """Settings of the toy."""

    rank: int = Field(default=2, ge=1, description="Rank of both additions.")
    unit: int = Field(default=4, ge=1, description="Width of the integrate unit.")
    negative: Literal["trained", "zero"] = Field(default="trained", description="NEG, or zeros in its place (control).")


def distil(bench: Bench, config: Config) -> Solver:
    """Learn the wrong rationales apart, then the right ones beside them."""
    said = bench.ask("teacher", TEACHER)
    verdicts = bench.judge("teacher", said)
    wrong, right = bench.choose(said, verdicts, pile="wrong"), bench.choose(said, verdicts)
    base = bench.student.model_copy(update={"adapter": AdapterSettings()})
    lora = AdapterSettings(kind="lora", rank=config.rank, alpha=2.0 * config.rank, modules=PLACES)

    def lesson(chosen: Any, role: Role, name: str) -> Any:
        return bench.examples(
            chosen,
            [STUDENT.hash, role],
            lambda student, rows: build_examples(student.renderer, STUDENT, bench.by_id, rows, role=role),
            chosen.piles.pile(role.value),
            name=name,
        )

    negative = bench.fit(
        lesson(wrong, Role.WRONG, "neg"),
        weighted_nll(),
        loss_settings=["neg", lora.model_dump(mode="json")],
        student=lambda: Student.load(base.model_copy(update={"adapter": lora}), seed=bench.seed, device=bench.device),
        save=lambda student, folder: student.save(folder, merge=False),
        name="neg",
    )
    adapter = negative / "adapter" / "adapter_model.safetensors"

    def with_units() -> Student:
        student = Student.load(base, seed=bench.seed, device=bench.device)
        add_units(student.model, config.rank, config.unit, bench.seed)
        if config.negative == "trained":
            take_negative(student.model, load_file(adapter))
        return student

    def save(student: Student, folder: Path) -> None:
        shutil.copytree(bench.student.model, folder, dirs_exist_ok=True)
        save_tensors({name: value.detach() for name, value in own_tensors(student.model).items()}, folder / UNIT_FILE)

    student = bench.fit(
        lesson(right, Role.RIGHT, "nat"),
        weighted_nll(),
        loss_settings=["nat", config.model_dump(mode="json"), hash_files([adapter])],
        student=with_units,
        save=save,
        name="nat",
    )
    return bench.voting(NatSolver(student, STUDENT, bench.exam.sampling, checker=bench.pool))


def control(config: Config) -> Config | None:
    """The same unit beside zeros."""
    return config.model_copy(update={"negative": "zero"}) if config.negative == "trained" else None


def arm(config: Config) -> tuple[str, str]:
    """Name and explanation for tables."""
    return ("nat", "weighs NEG") if config.negative == "trained" else ("nat_zero", "the same unit, NEG zeroed")


class NatLinear(nn.Module):
    """A frozen projection with a frozen NEG addition, a POS addition, and the unit that weighs the two (2.2)."""

    def __init__(self, base: nn.Linear, rank: int, width: int) -> None:
        super().__init__()
        wide_in, wide_out = base.in_features, base.out_features
        self.base = base
        self.neg_a = nn.Parameter(torch.zeros(rank, wide_in), requires_grad=False)
        self.neg_b = nn.Parameter(torch.zeros(wide_out, rank), requires_grad=False)
        self.pos_a = nn.Parameter(torch.randn(rank, wide_in) / math.sqrt(wide_in))
        self.pos_b = nn.Parameter(torch.zeros(wide_out, rank))
        self.query, self.key = nn.Linear(wide_in, width, bias=False), nn.Linear(wide_out, width, bias=False)
        self.inner, self.outer = nn.Linear(wide_out, width, bias=False), nn.Linear(width, wide_out, bias=False)
        nn.init.zeros_(self.outer.weight)

    def forward(self, x: Tensor) -> Tensor:
        u = self.base(x)
        pos = u + 2.0 * (x @ self.pos_a.T) @ self.pos_b.T
        neg = u + 2.0 * (x @ self.neg_a.T) @ self.neg_b.T
        query = self.query(x)
        scores = torch.stack([(query * self.key(side)).sum(-1) for side in (pos, neg)], -1)
        a = (scores.softmax(-1)[..., 1] - 0.5)[..., None]
        value = [self.outer(nn.functional.gelu(self.inner(side))) for side in (pos, neg)]
        return u + (1 - a) * value[0] + a * value[1]


def add_units(model: Any, rank: int, width: int, seed: int) -> None:
    """Put units around the projections; everything else is frozen."""
    model.requires_grad_(False)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for layer in model.model.layers:
            for place in PLACES:
                setattr(layer.self_attn, place, NatLinear(getattr(layer.self_attn, place), rank, width))


def take_negative(model: Any, lora: dict[str, Tensor]) -> None:
    """Copy a saved LoRA addition into the units."""
    modules = dict(model.named_modules())
    with torch.no_grad():
        for name, value in lora.items():
            path, _, side = name.removeprefix("base_model.model.").removesuffix(".weight").rpartition(".")
            getattr(modules[path], {"lora_A": "neg_a", "lora_B": "neg_b"}[side]).copy_(value)


def own_tensors(model: Any) -> dict[str, Tensor]:
    """All tensors of the units but the base's."""
    return {
        f"{path}.{name}": value
        for path, module in model.named_modules()
        if isinstance(module, NatLinear)
        for name, value in module.named_parameters()
        if not name.startswith("base.")
    }


class NatSolver(OneShot):
    """Generates through the units."""

    def load_source(self) -> LocalSource:
        folder = Path(str(self.student))
        weights, saved = load_weights(folder), load_file(folder / UNIT_FILE)
        first = next(name for name in saved if name.endswith("pos_a"))
        add_units(weights.model, len(saved[first]), len(saved[first.replace("pos_a", "inner.weight")]), 0)
        for name, tensor in own_tensors(weights.model).items():
            tensor.data.copy_(saved[name])
        renderer = Renderer(weights.tokenizer, None, weights.seq2seq)
        return LocalSource(weights.model, renderer, weights_identity(folder), LocalSettings(**self.source_settings))
