"""NEG and NAT as students: how each starts, what learns in it, what is saved of it; the base is shared with others.

Li et al., "Turning Dust into Gold" (AAAI 2024), steps 1.1 and 1.2.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from feints.generate.weights import load_weights
from feints.train.integrate import NatPlan, add_units, attention_projections, bare
from feints.train.integrate_files import (
    UNIT_FILE,
    Adapter,
    plan_of,
    read_adapter,
    read_plan,
    save_units,
    take_negative,
    take_units,
)
from feints.train.settings import AdapterSettings, StudentSettings
from feints.train.student import Student

ADAPTER = AdapterSettings(kind="lora", rank=8, alpha=16.0, dropout=0.05)
"""Low-rank additions of the paper (LLaMA-7B), in query and value projections."""


def adapter_of(settings: StudentSettings) -> AdapterSettings:
    """Low-rank additions of NEG and NAT: those of the recipe's student where it has some, else the paper's.

    `modules: linear`, the default of a recipe, means the query and value projections here.
    """
    return settings.adapter if settings.adapter.kind == "lora" else ADAPTER


def _whole(settings: StudentSettings) -> StudentSettings:
    return settings.model_copy(update={"adapter": AdapterSettings()})


def neg_student(settings: StudentSettings, *, seed: int, device: str = "cpu", released: bool = False) -> Student:
    """A base with a fresh LoRA addition, to imitate wrong rationales (or whatever stands for them in a control).

    B starts as zero; as released (TDG-D2) at random.
    """
    student = Student.load(_whole(settings), device=device)
    adapter = adapter_of(settings)
    if adapter.modules == "linear":
        adapter = adapter.model_copy(update={"modules": attention_projections(student.model)})
    student.add_lora(adapter, seed=seed)
    student.settings = settings.model_copy(update={"adapter": adapter})
    if released:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in student.model.named_parameters():
                if "lora_B" in name:
                    bound = 1 / math.sqrt(parameter.shape[1])
                    parameter.copy_((torch.rand(parameter.shape, generator=generator) * 2 - 1) * bound)
    return student


class NatStudent(Student):
    """A frozen base with a frozen NEG, a POS and units that learn."""

    plan: NatPlan
    """What the layers are like."""

    @classmethod
    def beside(
        cls,
        settings: StudentSettings,
        negative: Path | None,
        *,
        width: int,
        seed: int,
        weigh: bool = True,
        device: str = "cpu",
        released: bool = False,
    ) -> NatStudent:
        """A NAT before training, beside the NEG saved in folder `negative`; None puts zeros in its place.

        Raises:
            StudentError: NEG cannot be read or has other projections.
        """
        student = cls.load(_whole(settings), device=device)
        adapter = adapter_of(settings)
        neg: Adapter | None = None if negative is None else read_adapter(negative / "adapter")
        plan = plan_of(student.model, adapter, neg, width=width, weigh=weigh, released=released)
        student.plan = replace(plan, base=student.identity)
        add_units(student.model, student.plan, seed=seed, released=released)
        if neg is not None:
            take_negative(student.model, neg)
        student.settings = settings.model_copy(update={"adapter": adapter})
        return student

    @classmethod
    def load(cls, settings: StudentSettings, *, seed: int = 0, device: str = "cpu") -> NatStudent:
        """A base without units; see `beside`."""
        plain = Student.load(settings, seed=seed, device=device)
        return cls(plain.model, plain.renderer, seq2seq=plain.seq2seq, settings=plain.settings, identity=plain.identity)

    def save(self, folder: Path, *, merge: bool = True) -> None:
        """Write base, tokenizer and the adapter file of NEG, POS and units; nothing of them can be merged.

        Raises:
            StorageError: the folder cannot be written.
        """
        with bare(self.model):
            super().save(folder)
        save_units(self.model, self.plan, folder)


def load_nat(folder: Path, *, dtype: str = "float32", device: str = "cpu") -> Any:
    """The network `NatStudent.save` wrote, in evaluation mode, nothing of it learning.

    Raises:
        StudentError: the folder does not hold one.
    """
    model = load_weights(folder, dtype=dtype, device=device).model
    take_units(model, folder)
    return model.requires_grad_(False).eval()


def teacher_beside(student: Student, folder: Path) -> Any:
    """The NAT of `folder` as a frozen teacher of `student`; the base weights are shared where that is safe.

    A student with low-rank additions on the same base leaves it as it is, so both read the same tensors and there is
    one base in memory. A student trained whole, or from other weights, has a teacher with a base of its own.
    """
    shares = student.settings.adapter.kind == "lora" and read_plan(folder).base == student.identity
    if not shares:
        return load_nat(folder, dtype=student.settings.dtype, device=str(student.model.device))
    base = student.model.get_base_model() if hasattr(student.model, "get_base_model") else student.model
    model = _without_additions(copy.deepcopy(base, {id(tensor): tensor for tensor in base.parameters()}))
    take_units(model, folder)
    return model.eval()


def _without_additions(model: Any) -> Any:
    """Layers of peft replaced by the projections inside them."""
    for path, module in list(model.named_modules()):
        if hasattr(module, "base_layer") and isinstance(module.base_layer, nn.Module):
            owner, _, name = path.rpartition(".")
            setattr(model.get_submodule(owner), name, module.base_layer)
    return model


def holds_nat(folder: Path) -> bool:
    """Whether a student's folder holds a NAT."""
    return (folder / UNIT_FILE).is_file()
