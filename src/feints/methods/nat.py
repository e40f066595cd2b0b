"""Negative assistant training: a frozen model of the wrong rationales helps to learn the right ones.

"Turning Dust into Gold: Distilling Complex Reasoning Capabilities from LLMs by Leveraging Negative Data"
(Li et al., AAAI 2024), step 1. NEG, a LoRA addition, imitates the teacher's *wrong* rationales and is frozen. POS, a
second one, learns the right rationales beside it, and in every query and value projection of every layer a small unit
weighs the two, token by token:

    output = u + (1 - a) V(h_pos) + a V(h_neg),   a = softmax(q . k_pos, q . k_neg)[neg] - 0.5 in (-0.5, 0.5)

with u = W x the frozen projection, h = u + LoRA(x), q = W_Q x, k = W_K h and V(h) = W_2 GELU(W_1 h). So NEG may be
added or subtracted. The student answers through the units; they cannot be merged into the weights.

Departures: 1) Only target tokens are learnt, and an end of sequence with them, not prompt and padding (TDG-D1); B of
NEG and W_2 of the units start as zero, so that NAT starts as the base model (TDG-D2, D3). `profile: as_released`
brings these three back. 2) The unit is one function whatever the precision, and d_in and d_out may differ (TDG-D4,
D7). 3) A fused projection (GPT-2, GPT-NeoX, Phi-3) is one projection with one unit, keys included; in an encoder-
decoder every attention has units. 4) Low-rank additions are those of the recipe's student where it has some (`linear`
meaning query and value projections), else the paper's: rank 8, alpha 16, dropout 0.05. 5) Instead of the paper's
limit of 1,600 characters, curate.max_tokens leaves out what is too long; verdicts are ours, not string equality (TDG
section 1). 6) The released code trains in 8 bits and cannot generate through NAT (TDG-D10); here precision is the
recipe's. 7) Near-identical rationales of a problem count once, in either profile; set curate.near_duplicate to null
for all.

Control: the same unit beside zeros in place of NEG, at the same examples and steps of NAT. Further controls, which
the paper lacks, are settings: a second POS (`negative: positive`), a LoRA of shuffled rationales (`shuffled`),
`weights: zero`, `width`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from feints.bench import Bench
from feints.bench.assistants import NatSettings, learn_nat
from feints.bench.inner import Makes
from feints.evaluate.pad_stop import PadStops
from feints.evaluate.solver import OneShot, Solver
from feints.generate.local import LocalSettings, LocalSource
from feints.generate.prompt import STUDENT, TEACHER
from feints.generate.rendering import Renderer
from feints.generate.weights import device_or_default, load_weights
from feints.train.integrate_files import take_units


class Config(NatSettings):
    """Settings of negative assistant training."""


def distil(bench: Bench, config: Config) -> Solver:
    """Sample the teacher; wrong rationales make NEG; right ones make NAT beside it; answer through its units."""
    said = bench.ask("teacher", TEACHER)
    verdicts = bench.judge("teacher", said)
    nat = learn_nat(bench, NatSettings(**config.model_dump(exclude={"name"})), said, verdicts)
    how: dict[str, Any] = {"source_settings": bench.local_settings, "device": bench.device}
    return bench.voting(NatSolver(nat, bench.prompt(STUDENT), bench.exam.sampling, checker=bench.pool, **how))


def control(config: Config) -> Config | None:
    """The same units beside zeros; None for any control itself."""
    if config.negative != "wrong" or config.weights == "zero":
        return None
    return config.model_copy(update={"negative": "zeros"})


def makes(config: Config) -> Makes:
    """Units beside the weights; as released the prompt is learnt, which an encoder-decoder never predicts."""
    return Makes(layers=True, causal=config.released)


def arm(config: Config) -> tuple[str, str]:
    """Name and explanation for tables."""
    name, explanation = {
        "wrong": ("nat", "learns right rationales beside a frozen model of the wrong ones"),
        "zeros": ("nat_zeros", "the same units with zeros in place of the model of wrong rationales"),
        "positive": ("nat_positive", "the same units with a second model of right rationales in its place"),
        "shuffled": ("nat_shuffled", "the same units with a model of wrong rationales of other problems in its place"),
    }[config.negative]
    if config.weights == "zero":
        name, explanation = f"{name}_unweighed", f"{explanation}, its weight fixed at zero"
    if config.released:
        name, explanation = f"{name}_released", f"{explanation}, as the code was released"
    return name, explanation


class NatSolver(OneShot):
    """Answers through the units, with a key/value cache, in batches."""

    def load_source(self) -> LocalSource:
        """See `OneShot.load_source`.

        Raises:
            StudentError: the folder holds no NAT that can be used.
        """
        folder, settings = Path(str(self.student)), LocalSettings(**self.source_settings)
        weights = load_weights(folder, dtype=settings.dtype, device=device_or_default(self.device))
        plan = take_units(weights.model, folder)
        kind = PadStops if plan.stop_at_pad else Renderer
        renderer = kind(weights.tokenizer, settings.chat, weights.seq2seq)
        return LocalSource(weights.model.eval(), renderer, weights.identity, settings)
