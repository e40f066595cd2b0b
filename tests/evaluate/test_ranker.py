"""The ranker: head, pooling and loss against a naive twin, on encoder, encoder-decoder and decoder bodies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from feints.errors import StudentError
from feints.evaluate import ranker as ranker_file
from feints.evaluate.ranker import HEAD_FILE, Ranker, RankerHead, RankerStudent, body_hashes, padded, ranker_loss
from feints.generate.prompt import STUDENT
from feints.generate.weights import quiet_transformers
from feints.records import AnswerKind, Example, Problem, Role
from feints.train.batch import Batcher
from feints.train.loop import fit
from feints.train.rows import Layout
from feints.train.settings import TrainSettings

BODIES = ("llama", "gpt2", "t5", "bert")
WORDS = 120


def tokenizer(end: bool) -> PreTrainedTokenizerFast:
    letters = [chr(code) for code in range(32, 32 + WORDS - 4)]
    ids = {"<pad>": 0, "<unk>": 1, "</s>": 2, **{letter: 3 + n for n, letter in enumerate(letters)}}
    backend = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    named = {"eos_token": "</s>"} if end else {"sep_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>", **named)


def body(family: str) -> Any:
    torch.manual_seed(0)
    size: dict[str, Any] = {"vocab_size": WORDS, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    size |= {"num_attention_heads": 2, "max_position_embeddings": 256, "pad_token_id": 0}
    if family == "llama":
        return LlamaForCausalLM(LlamaConfig(**size))
    if family == "bert":
        return BertModel(BertConfig(**size))
    if family == "gpt2":
        return GPT2LMHeadModel(GPT2Config(vocab_size=WORDS, n_embd=16, n_layer=2, n_head=2, n_positions=256))
    return T5ForConditionalGeneration(
        T5Config(vocab_size=WORDS, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, decoder_start_token_id=0)
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = tmp_path_factory.mktemp(family)
            with quiet_transformers():
                body(family).save_pretrained(made[family])
                tokenizer(family != "bert").save_pretrained(made[family])
        return made[family]

    return folder


def problem(number: int) -> Problem:
    return Problem(
        id=f"p{number}",
        question=f"What is {number} + 1 ?",
        answer=str(number + 1),
        answer_kind=AnswerKind.NUMBER,
        task="made up",
        split="test",
    )


def said(number: int, right: bool) -> str:
    return f"{'so ' * number}{'Thus' if right else 'Oh my'} it is {number + right}."


def pairs(student: RankerStudent, count: int = 5) -> list[Example]:
    made = []
    for number in range(count):
        for role in (Role.RIGHT, Role.WRONG):
            text = said(number, role is Role.RIGHT)
            prompt, target = (
                student.renderer.prompt_ids(STUDENT.messages(problem(number))),
                student.renderer.target_ids(text),
            )
            made.append(
                Example(
                    id=f"{number}{role}",
                    problem_id=f"p{number}",
                    rationale_id="",
                    prompt_ids=prompt,
                    target_ids=target,
                    weights=(0.0,) * len(prompt) + (1.0,) * len(target),
                    tokenizer_hash=student.renderer.tokenizer_hash,
                    group=f"p{number}",
                    role=role,
                )
            )
    return made


def naive_score(student: RankerStudent, example: Example) -> Tensor:
    """One text at a time: mean state of the rationale, two residual blocks, sigmoid."""
    ids = torch.tensor([example.prompt_ids + example.target_ids])
    h = student.model.body(input_ids=ids).last_hidden_state[0, len(example.prompt_ids) :].mean(0)
    head = student.model.head
    for block in head.blocks:
        h = torch.nn.functional.elu(block.weight @ h + block.bias) + h
    return torch.sigmoid(head.out.weight @ h + head.out.bias)[0]


def gradients(student: RankerStudent, value: Tensor) -> tuple[float, dict[str, Tensor]]:
    student.model.zero_grad()
    value.backward()
    return value.item(), {n: p.grad.clone() for n, p in student.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", BODIES)
def test_scores_and_loss_are_the_equations_however_rows_are_cut(family: str, folders: Any) -> None:
    student = RankerStudent.start(folders(family), seed=0)
    examples = pairs(student)
    scores = [naive_score(student, example) for example in examples]
    torch.testing.assert_close(student.model(*padded(examples, "cpu")), torch.stack(scores), rtol=1e-4, atol=1e-5)
    losses = [(1 - s) ** 3 if e.role is Role.RIGHT else s**3 for s, e in zip(scores, examples, strict=True)]
    expected = gradients(student, torch.stack(losses).sum() / 5)
    for rows, micro, order in (("padded", 9999, 1), ("padded", 1, 1), ("packed", 9999, 1), ("packed", 150, -1)):
        layout = Layout(rows=rows, micro_tokens=micro, seq2seq=False, pad_id=0)
        batcher = Batcher(examples[::order], layout)
        step = batcher.whole()
        total = [sum(ranker_loss()(student.model, batcher.batch(m), step.counts).values()) for m in step.micro]
        found = gradients(student, torch.stack(total).sum())
        assert found[0] == pytest.approx(expected[0], rel=1e-5)
        assert found[1].keys() == expected[1].keys()
        for name, tensor in expected[1].items():
            torch.testing.assert_close(found[1][name], tensor, rtol=1e-3, atol=1e-6)


def test_only_tokens_of_the_rationale_are_pooled(folders: Any) -> None:
    student = RankerStudent.start(folders("bert"), seed=0)
    (example, *_) = pairs(student)
    ids, mask, rationale = padded([example], "cpu")
    assert rationale.sum() == len(example.target_ids)
    assert mask.sum() == len(example.target_ids) + len(example.prompt_ids)
    assert not bool(rationale[0, : len(example.prompt_ids)].any())
    longer = replace(
        example, target_ids=example.target_ids * 3, weights=example.weights + (1.0,) * 2 * len(example.target_ids)
    )
    both = student.model(*padded([example, longer], "cpu"))
    torch.testing.assert_close(both[0], student.model(ids, mask, rationale)[0], rtol=1e-5, atol=1e-6)


def test_golden_head_and_loss() -> None:
    head = RankerHead(1)
    with torch.no_grad():
        for block in head.blocks:
            block.weight.fill_(-1.0)
            block.bias.zero_()
        head.out.weight.fill_(2.0)
        head.out.bias.zero_()
    # 1 -> 1 + (exp(-1) - 1) = 0.367879 -> 0.367879 + (exp(-0.367879) - 1) = 0.060080; sigmoid(0.120160) = 0.530004
    assert head(torch.tensor([[1.0]])).item() == pytest.approx(0.530004, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "t5"])
def test_it_learns_to_tell_right_from_wrong_and_is_the_same_loaded_again(
    family: str, folders: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = RankerStudent.start(folders(family), seed=0, scratch=family == "llama")
    examples = pairs(student)
    settings = TrainSettings(max_steps=30, batch_examples=10, learning_rate=1e-2, rows="padded")
    fit(student, examples, ranker_loss(), settings, tmp_path / "training", show_progress=False)
    student.save(tmp_path / "ranker")
    ranker = Ranker(tmp_path / "ranker")
    items = [(problem(n), said(n, right)) for n in range(5) for right in (True, False)]
    scores = ranker.score(items)
    assert all(a is not None and b is not None and a > b for a, b in zip(scores[::2], scores[1::2], strict=True))
    with torch.no_grad():
        direct = student.model(*padded(examples, "cpu")).tolist()
    assert scores == pytest.approx(direct, abs=1e-5)
    assert ranker.score(items[::-1]) == scores[::-1]
    monkeypatch.setattr(ranker_file, "_BATCH_TOKENS", 1)
    assert ranker.score(items) == pytest.approx(scores, abs=1e-5)
    ranker.save(tmp_path / "copy")
    assert Ranker(tmp_path / "copy").score(items[:2]) == pytest.approx(scores[:2], abs=1e-5)
    assert Ranker(tmp_path / "copy").identity == ranker.identity


def test_what_cannot_be_read_has_no_score(folders: Any, tmp_path: Path) -> None:
    RankerStudent.start(folders("llama"), seed=0).save(tmp_path / "ranker")
    scores = Ranker(tmp_path / "ranker").score([(problem(1), "yes"), (problem(1), " "), (problem(1), "long " * 200)])
    assert scores[0] is not None and scores[1:] == [None, None]
    assert Ranker(tmp_path / "ranker").score([(problem(1), "long " * 60)]) == [None], "beyond the body's 256 places"
    assert Ranker(tmp_path / "ranker").score([]) == []


def test_seeds_and_shapes(folders: Any) -> None:
    first, second = (RankerStudent.start(folders("bert"), seed=seed) for seed in (0, 1))
    assert not torch.equal(first.model.head.out.weight, second.model.head.out.weight)
    name, weight = next(iter(first.model.body.named_parameters()))
    assert torch.equal(weight, dict(second.model.body.named_parameters())[name])
    fresh = RankerStudent.start(folders("bert"), seed=3, scratch=True)
    assert not torch.equal(weight, dict(fresh.model.body.named_parameters())[name])


@pytest.mark.parametrize("family", BODIES)
def test_hashes_of_a_body_are_those_of_the_ranker_that_starts_on_it(family: str, folders: Any) -> None:
    student = RankerStudent.start(folders(family), seed=0)
    assert body_hashes(folders(family)) == (student.identity, student.renderer.tokenizer_hash)


def test_folders_without_a_ranker_are_refused(folders: Any, tmp_path: Path) -> None:
    with pytest.raises(StudentError, match=HEAD_FILE):
        Ranker(folders("llama")).score([(problem(1), "yes")])
    with pytest.raises(StudentError, match="no folder"):
        RankerStudent.start(tmp_path / "nothing", seed=0)
