"""Tiny random students and examples for the training tests; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BartConfig,
    BartForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from feints.generate.weights import quiet_transformers
from feints.records import Example, Role
from feints.train.batch import Batcher
from feints.train.losses import Loss
from feints.train.rows import Layout
from feints.train.student import AdapterSettings, Student, StudentSettings

VOCABULARY = 97


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes as words, with the usual three special tokens in front."""
    letters = [chr(code) for code in range(32, 32 + VOCABULARY - 4)]
    words = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, **{letter: 4 + n for n, letter in enumerate(letters)}}
    backend = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def make_model(family: str, dropout: float = 0.0) -> Any:
    """A random model of a family, small enough for milliseconds."""
    torch.manual_seed(0)
    small = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "attention_dropout": dropout,
    }
    if family == "llama":
        return LlamaForCausalLM(LlamaConfig(**small, **sizes))
    if family == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**small, **sizes, tie_word_embeddings=True))
    if family == "gpt2":
        drop = {"resid_pdrop": dropout, "embd_pdrop": dropout, "attn_pdrop": dropout}
        return GPT2LMHeadModel(GPT2Config(**small, n_embd=32, n_layer=2, n_head=4, n_positions=128, **drop))
    if family == "bart":
        layers = {f"{side}_{what}": 2 for side in ("encoder", "decoder") for what in ("layers", "attention_heads")}
        widths = {"encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "d_model": 32, "max_position_embeddings": 128}
        drops = {"dropout": dropout, "decoder_start_token_id": 0, "forced_eos_token_id": None}
        return BartForConditionalGeneration(BartConfig(**small, **layers, **widths, **drops))
    if family == "gemma3":
        text = {**small, **sizes, "model_type": "gemma3_text", "head_dim": 8, "sliding_window": 6}
        sees = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        marks = {"boi_token_index": 94, "eoi_token_index": 95, "image_token_id": 96, "mm_tokens_per_image": 4}
        vision = {**sees, "image_size": 28, "patch_size": 14}
        config = AutoConfig.for_model("gemma3", text_config=text, vision_config=vision, **marks)
        return AutoModelForCausalLM.from_config(config)
    config = T5Config(
        **small, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, dropout_rate=dropout, decoder_start_token_id=0
    )
    return T5ForConditionalGeneration(config)


@pytest.fixture(scope="session")
def student_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    made: dict[tuple[str, float], Path] = {}

    def folder(family: str, dropout: float = 0.0) -> Path:
        if (family, dropout) not in made:
            path = tmp_path_factory.mktemp(f"{family}-{dropout}")
            with quiet_transformers():
                make_model(family, dropout).save_pretrained(path)
                make_tokenizer().save_pretrained(path)
            made[family, dropout] = path
        return made[family, dropout]

    return folder


@pytest.fixture
def make_student(student_folder: Callable[..., Path]) -> Callable[..., Student]:
    def make(family: str = "llama", *, dropout: float = 0.0, lora: bool = False, **settings: Any) -> Student:
        kind: dict[str, Any] = {"kind": "lora", "rank": 4, "dropout": dropout} if lora else {}
        folder = str(student_folder(family, dropout))
        return Student.load(StudentSettings(model=folder, adapter=AdapterSettings(**kind), **settings))

    return make


@pytest.fixture(scope="session")
def make_examples() -> Callable[..., list[Example]]:
    """Random examples: `signed` draws weights of either sign, `prompt` weighs the prompt too, `pairs` groups by two."""

    def make(
        student: Student,
        count: int = 12,
        *,
        seed: int = 0,
        signed: bool = False,
        prompt: float = 0.0,
        pairs: bool = False,
        longest: int = 14,
    ) -> list[Example]:
        random = np.random.default_rng(seed)
        examples = []
        for number in range(count):
            before, after = int(random.integers(2, longest)), int(random.integers(2, longest))
            weights = random.choice([1.0, -0.3, 0.0], size=after) if signed else np.ones(after)
            weights[-1] = 1.0
            examples.append(
                Example(
                    id=f"example {number}",
                    problem_id=f"problem {number // 2}",
                    rationale_id="",
                    prompt_ids=tuple(random.integers(4, VOCABULARY, before).tolist()),
                    target_ids=(*random.integers(4, VOCABULARY, after - 1).tolist(), 2),
                    weights=(*([prompt] * before), *weights.tolist()),
                    tokenizer_hash=student.renderer.tokenizer_hash,
                    group=f"problem {number // 2}" if pairs else "",
                    role=Role.WRONG if pairs and number % 2 else Role.RIGHT,
                )
            )
        return examples

    return make


def _gradients(model: Any) -> dict[str, torch.Tensor]:
    """Gradients by name; a parameter without one counts as zeros."""
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


@pytest.fixture(scope="session")
def step_gradients() -> Callable[..., tuple[float, dict[str, torch.Tensor]]]:
    """Loss and gradients of all examples as one optimiser step, cut into micro-batches as asked."""

    def run(
        student: Student, examples: list[Example], loss: Loss, *, rows: str = "packed", micro: int = 10_000
    ) -> tuple[float, dict[str, torch.Tensor]]:
        layout = Layout(rows=rows, micro_tokens=micro, seq2seq=student.seq2seq, pad_id=0)
        batcher = Batcher(examples, layout)
        step = batcher.whole()
        student.model.zero_grad()
        total = 0.0
        for numbers in step.micro:
            value = sum(loss(student.model, batcher.batch(numbers), step.counts).values())
            value.backward()
            total += value.item()
        return total, _gradients(student.model)

    return run


@pytest.fixture(scope="session")
def naive_gradients() -> Callable[..., tuple[float, dict[str, torch.Tensor]]]:
    """The same by a four-line loop, one text at a time: `value(logps, weights, example)` -> scalar."""

    def log_probabilities(student: Student, example: Example) -> tuple[torch.Tensor, torch.Tensor]:
        prompt, target = torch.tensor([example.prompt_ids]), torch.tensor([example.target_ids])
        weights = torch.tensor(example.weights)
        if student.seq2seq:
            start = torch.cat([torch.zeros(1, 1, dtype=torch.long), target[:, :-1]], dim=1)
            logits = student.model(input_ids=prompt, decoder_input_ids=start).logits[0]
            return logits.log_softmax(-1).gather(1, target.T)[:, 0], weights[prompt.shape[1] :]
        ids = torch.cat([prompt, target], dim=1)
        logits = student.model(input_ids=ids).logits[0, :-1]
        return logits.log_softmax(-1).gather(1, ids[:, 1:].T)[:, 0], weights[1:]

    def run(
        student: Student, examples: list[Example], value: Callable[..., torch.Tensor]
    ) -> tuple[float, dict[str, torch.Tensor]]:
        student.model.zero_grad()
        total = value([(*log_probabilities(student, example), example) for example in examples])
        total.backward()
        return total.item(), _gradients(student.model)

    return run


@pytest.fixture(scope="session")
def assert_same() -> Callable[..., None]:
    """Equal loss and gradients up to float32 rounding, and not all zero."""

    def compare(first: tuple[float, dict[str, torch.Tensor]], second: tuple[float, dict[str, torch.Tensor]]) -> None:
        assert first[0] == pytest.approx(second[0], rel=1e-5, abs=1e-6)
        assert first[1].keys() == second[1].keys()
        assert any(bool(tensor.abs().max() > 1e-6) for tensor in first[1].values())
        for name, tensor in first[1].items():
            torch.testing.assert_close(
                tensor, second[1][name], rtol=1e-4, atol=3e-7, msg=lambda text, n=name: f"{n}: {text}"
            )

    return compare
