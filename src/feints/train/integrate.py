"""The layers of negative assistance: a frozen projection, frozen NEG, learning POS, and the unit that weighs the two.

Li et al., "Turning Dust into Gold" (AAAI 2024), step 1.2. Torch-side: nothing of the core imports this file at load.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from feints.errors import StudentError

Mode = Literal["nat", "neg", "base"]
"""What the layers answer with: the integrated output, NEG alone, or the frozen projection alone."""
FAMILIES = (
    ("q_proj", "v_proj"),
    ("c_attn",),
    ("query_key_value",),
    ("qkv_proj",),
    ("q", "v"),
    ("query", "value"),
    ("q_lin", "v_lin"),
)
"""Names of query and value projections, by family; a fused projection is one projection with one unit."""
_LEAST = 2.0**-24
"""Least chance of a candidate: a sigmoid in float32 rounds to 1 from about 17 on, and the interval of a is open."""


# ---------------------------------------------------------------------------------------------------- the equation


class IntegrateUnit(nn.Module):
    """The weights of one unit: W_Q, W_K, W_1 and W_2, without biases."""

    def __init__(self, d_in: int, d_out: int, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(d_in, width, bias=False)
        """W_Q [width, d_in]."""
        self.key = nn.Linear(d_out, width, bias=False)
        """W_K [width, d_out]."""
        self.inner = nn.Linear(d_out, width, bias=False)
        """W_1 [width, d_out]."""
        self.outer = nn.Linear(width, d_out, bias=False)
        """W_2 [d_out, width]."""

    def value(self, h: Tensor) -> Tensor:
        """V(h) = W_2 GELU(W_1 h): [..., d_out] -> [..., d_out]."""
        found: Tensor = self.outer(functional.gelu(self.inner(h)))
        return found


def negative_weight(x: Tensor, h_pos: Tensor, h_neg: Tensor, unit: IntegrateUnit) -> Tensor:
    """The weight a of NEG, token by token: [..., d_in], [..., d_out], [..., d_out] -> [..., 1] in (-0.5, 0.5).

        a = softmax(q . k_pos, q . k_neg)[neg] - 0.5,   q = W_Q x, k_j = W_K h_j

    A softmax over two is a sigmoid of the difference, and keys are linear, so one product with W_K is enough. POS
    has 1 - a, so that the two weights always sum to 1 and NEG may be subtracted.
    """
    leaning = (unit.query(x) * unit.key(h_neg - h_pos)).sum(-1, keepdim=True)
    return torch.sigmoid(leaning.float()).clamp(_LEAST, 1 - _LEAST) - 0.5


def integrate(
    x: Tensor,
    u: Tensor,
    h_pos: Tensor,
    h_neg: Tensor,
    unit: IntegrateUnit,
    *,
    weigh: bool = True,
    value: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """The output of one projection: u + (1 - a) V(h_pos) + a V(h_neg), a as in `negative_weight`.

    W_2 is applied once, to the weighed inner states, since it is linear.

    Args:
        x: [..., d_in] what the projection reads.
        u: [..., d_out] what the frozen projection says.
        h_pos: [..., d_out] u plus the addition of POS.
        h_neg: [..., d_out] u plus the addition of NEG.
        unit: its weights; d_in and d_out may differ.
        weigh: False fixes a at 0, and NEG plays no part.
        value: stands in for V.
    """
    a = negative_weight(x, h_pos, h_neg, unit).to(u.dtype) if weigh else None
    if value is not None:
        return u + value(h_pos) if a is None else u + (1 - a) * value(h_pos) + a * value(h_neg)
    inner = functional.gelu(unit.inner(h_pos))
    if a is not None:
        inner = torch.lerp(inner, functional.gelu(unit.inner(h_neg)), a.to(inner.dtype))
    added: Tensor = unit.outer(inner)
    return u + added


# ------------------------------------------------------------------------------------------------------- the layers


class LowRank(nn.Module):
    """A low-rank addition s B A x, as LoRA has it: [..., d_in] -> [..., d_out]; dropout is the layer's."""

    def __init__(self, d_in: int, d_out: int, rank: int, scale: float) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.empty(rank, d_in))
        self.b = nn.Parameter(torch.zeros(d_out, rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        added: Tensor = functional.linear(functional.linear(x, self.a), self.b)
        return added * self.scale


class NatProjection(nn.Module):
    """Stands where a projection stood; whatever precision or class that one has, it is only called."""

    def __init__(self, base: nn.Module, plan: NatPlan) -> None:
        super().__init__()
        d_in, d_out = _widths(base)
        self.base = base
        self.pos = LowRank(d_in, d_out, plan.rank, plan.scale)
        self.neg = LowRank(d_in, d_out, plan.neg_rank, plan.neg_scale) if plan.neg_rank else None
        self.unit = IntegrateUnit(d_in, d_out, plan.width)
        self.dropout = nn.Dropout(plan.dropout)
        self.weigh = plan.weigh
        self.mode: Mode = "nat"

    def forward(self, x: Tensor) -> Tensor:
        """[..., d_in] -> [..., d_out] in the precision of the frozen projection."""
        u: Tensor = self.base(x)
        if self.mode == "base" or (self.mode == "neg" and self.neg is None):
            return u
        own = self.pos.a.dtype
        x, said = x.to(own), u.to(own)
        if self.mode == "neg":
            assert self.neg is not None
            alone: Tensor = said + self.neg(x)
            return alone.to(u.dtype)
        # One draw for both: POS and NEG are compared on the same input.
        kept = self.dropout(x)
        h_pos = said + self.pos(kept)
        h_neg = said if self.neg is None or not self.weigh else said + self.neg(kept)
        out = integrate(x, said, h_pos, h_neg, self.unit, weigh=self.weigh)
        return out.to(u.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class NatPlan:
    """Everything about the layers but their numbers; written into the head of the adapter file."""

    modules: tuple[str, ...]
    """Last names of the projections that get a unit."""
    rank: int
    """Rank of POS."""
    scale: float
    """alpha / rank of POS."""
    dropout: float
    """On the input of POS and NEG, in training."""
    neg_rank: int
    """Rank of NEG; 0 puts zeros in its place."""
    neg_scale: float
    """alpha / rank of NEG."""
    width: int
    """Width of the units."""
    weigh: bool = True
    """False fixes the weight of NEG at 0."""
    stop_at_pad: bool = False
    """Whether padding was learnt as the stop signal (as released, TDG-D1)."""
    base: str = ""
    """Hash of the base weights the layers were trained on."""


def attention_projections(model: Any) -> tuple[str, ...]:
    """Names of the query and value projections of a transformers model.

    Raises:
        StudentError: no known name is there; those that are there are listed.
    """
    present = {path.rpartition(".")[2] for path, _ in model.named_modules()}
    for names in FAMILIES:
        if set(names) <= present:
            return names
    linear = {path.rpartition(".")[2] for path, module in model.named_modules() if hasattr(module, "weight")}
    raise StudentError(
        f"{type(model).__name__} has no query and value projections of a known name; name them in "
        f"student.adapter.modules (there are {', '.join(sorted(linear))})"
    )


def add_units(model: Any, plan: NatPlan, *, seed: int, released: bool = False) -> None:
    """Put a `NatProjection` around every projection the plan names; POS and units learn, all else is frozen.

    Clean, W_2 starts as zero, so the model answers as before; as released (TDG-D3) it starts at random.

    Raises:
        StudentError: no module has a name of the plan.
    """
    model.requires_grad_(False)
    chosen = [path for path, _ in model.named_modules() if path.rpartition(".")[2] in plan.modules]
    if not chosen:
        raise StudentError(f"the student has no module called {' or '.join(plan.modules)}")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for path in chosen:
            base = model.get_submodule(path)
            layer = NatProjection(base, plan).to(next(base.parameters()).device)
            if not released:
                nn.init.zeros_(layer.unit.outer.weight)
            if layer.neg is not None:
                layer.neg.requires_grad_(False)
                nn.init.zeros_(layer.neg.a)
            layer.train(model.training)
            _put(model, path, layer)


def layers(model: Any) -> Iterator[tuple[str, NatProjection]]:
    """Path and layer of every unit in a model."""
    return ((path, module) for path, module in model.named_modules() if isinstance(module, NatProjection))


def set_mode(model: Any, mode: Mode) -> None:
    """Let the whole network answer as NAT, as NEG or as its base."""
    for _, layer in layers(model):
        layer.mode = mode


@contextmanager
def bare(model: Any) -> Iterator[None]:
    """The frozen projections in their own places for a while, as the base model has them."""
    placed = list(layers(model))
    try:
        for path, layer in placed:
            _put(model, path, layer.base)
        yield
    finally:
        for path, layer in placed:
            _put(model, path, layer)


def _put(model: Any, path: str, module: nn.Module) -> None:
    owner, _, name = path.rpartition(".")
    setattr(model.get_submodule(owner), name, module)


def _widths(base: Any) -> tuple[int, int]:
    """d_in and d_out of a linear layer of any make; GPT-2's Conv1D names them otherwise."""
    if hasattr(base, "in_features"):
        return int(base.in_features), int(base.out_features)
    if hasattr(base, "nx"):
        return int(base.nx), int(base.nf)
    raise StudentError(f"{type(base).__name__} is no linear layer, so NAT cannot integrate it; name another projection")


def added_tensors(model: Any) -> dict[str, Tensor]:
    """Every tensor of POS, NEG and the units, by path."""
    return {
        f"{path}.{name}": value
        for path, layer in layers(model)
        for name, value in layer.named_parameters()
        if not name.startswith("base.")
    }
