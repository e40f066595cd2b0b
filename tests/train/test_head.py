"""Logits: made for the tokens that are learnt and no others, and never all held at once, whatever follows the head."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import Gemma2Config, Gemma2ForCausalLM

from feints.errors import StudentError
from feints.train import head as head_file
from feints.train.batch import Batcher
from feints.train.losses import token_nll, weighted_nll
from feints.train.rows import Layout

WORDS = 97
AT_ONCE = 5


class Watch(TorchDispatchMode):
    """Notes the rows of every tensor as wide as the vocabulary, and those that a product made."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []
        self.products: list[int] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = operation(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and made.ndim and made.shape[-1] == WORDS:
            rows = made.numel() // WORDS
            self.rows.append(rows)
            if operation in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default):
                self.products.append(rows)
        return made


def _soft_capped() -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = Gemma2Config(
        vocab_size=WORDS, num_key_value_heads=2, head_dim=8, final_logit_softcapping=2.0, **sizes, **special
    )
    return Gemma2ForCausalLM(config)


def _squares(model: Any, batch: Any, counts: Any) -> dict[str, torch.Tensor]:
    return {"squares": (token_nll(model, batch) ** 2).sum() / counts.target_tokens}


def _mean_nll(parts: list[tuple[torch.Tensor, torch.Tensor, Any]]) -> torch.Tensor:
    return -sum((logps * weights).sum() for logps, weights, _ in parts) / sum(len(e.target_ids) for *_, e in parts)


def test_a_bias_of_zeros_on_the_logits_is_no_hindrance_and_any_other_is_refused(
    make_student: Any, make_examples: Any, step_gradients: Any, naive_gradients: Any, assert_same: Any
) -> None:
    student = make_student("bart")
    examples = make_examples(student, 6)
    found = step_gradients(student, examples, weighted_nll(), rows="padded")
    assert_same(found, naive_gradients(student, examples, _mean_nll))
    assert student.model.final_logits_bias.shape == (1, WORDS)
    biased = make_student("bart")
    biased.model.final_logits_bias[0, 5] = 1.0
    with pytest.raises(StudentError, match="final_logits_bias"):
        step_gradients(biased, examples, weighted_nll(), rows="padded")


@pytest.mark.parametrize(
    ("family", "loss", "times"),
    [("llama", weighted_nll(), 1), ("llama", _squares, 2), ("t5", weighted_nll(), 1), ("soft-cap", weighted_nll(), 2)],
)
def test_logits_are_made_for_targets_only_and_never_held_whole(
    family: str, loss: Any, times: int, monkeypatch: Any, make_student: Any, make_examples: Any
) -> None:
    monkeypatch.setattr(head_file, "PIECE_ELEMENTS", WORDS * AT_ONCE)
    student = make_student("llama" if family == "soft-cap" else family)
    if family == "soft-cap":
        student.model = _soft_capped()
    examples = make_examples(student, 8)
    rows = "packed" if family == "llama" else "padded"
    batcher = Batcher(examples, Layout(rows=rows, micro_tokens=10_000, seq2seq=student.seq2seq, pad_id=0))
    step = batcher.whole()
    head_file.head_of(student.model)  # what follows the head is found out by trying, once a model
    with Watch() as seen:
        sum(loss(student.model, batcher.batch(step.micro[0]), step.counts).values()).backward()
    targets = sum(len(example.target_ids) for example in examples)
    assert targets > 4 * AT_ONCE
    assert sum(seen.products) == times * targets
    assert max(seen.rows) <= max(AT_ONCE, 32)  # 32: the head's own matrix, turned
    assert max(seen.products) == AT_ONCE
