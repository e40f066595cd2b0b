"""A small untrained student made from texts of one's own: for dry runs where no pretrained weights can be had."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Self

import torch
from pydantic import Field, model_validator
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from feints.config import Settings
from feints.errors import DataError
from feints.generate.json_lines import json_lines
from feints.generate.reply import whole
from feints.generate.weights import quiet_transformers

START, END, PAD = "<s>", "</s>", "<pad>"


class ScratchSettings(Settings):
    """Shape of the student."""

    words: int = Field(default=32_000, ge=300, description="Size of the byte-level BPE vocabulary.")
    hidden: int = Field(default=256, ge=16, description="Width.")
    layers: int = Field(default=4, ge=1, description="Depth.")
    heads: int = Field(default=4, ge=1, description="Attention heads.")
    context: int = Field(default=2048, ge=16, description="Longest sequence, in tokens.")
    seed: int = Field(default=0, ge=0, description="Of the weights.")

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.hidden % (2 * self.heads):
            raise ValueError(
                f"hidden {self.hidden} is no even number for each of {self.heads} heads; give a multiple of "
                f"{2 * self.heads}, or other heads"
            )
        return self


def make_scratch_student(texts: Path, folder: Path, settings: ScratchSettings) -> int:
    """Train a byte-level BPE on every text of a JSON Lines file and write a random Llama beside it.

    Returns:
        Number of parameters.

    Raises:
        DataError: the file cannot be read or holds no text, or `folder` is a file or holds a model.
    """
    if folder.is_file():
        raise DataError(f"{folder} is a file, and a student is a folder; choose another --out")
    if (folder / "config.json").exists():
        raise DataError(f"{folder} holds a model already; choose another --out, or remove it first")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.words,
        special_tokens=[START, END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts_of(texts), trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=START, eos_token=END, pad_token=PAD)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=settings.hidden,
        intermediate_size=settings.hidden * 8 // 3 // 16 * 16,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=settings.context,
        tie_word_embeddings=True,
        bos_token_id=fast.bos_token_id,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
    )
    with torch.random.fork_rng(), quiet_transformers():
        torch.manual_seed(settings.seed)
        model = LlamaForCausalLM(config)
        model.save_pretrained(folder)
        fast.save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


def texts_of(path: Path) -> Iterator[str]:
    """Every text in a JSON Lines file (also .gz), however deep it lies in its rows.

    Raises:
        DataError: the file cannot be read, a line is not JSON, or there is no text.
    """
    found = False
    for _, value in json_lines(path, "texts"):
        for text in _strings(value):
            found = True
            yield whole(text)
    if not found:
        raise DataError(f"{path} holds no text; give rows with texts, of which the vocabulary is made")


def _strings(value: object) -> Iterator[str]:
    """Texts in the order of the file; a loop, since JSON may lie deeper than Python calls itself."""
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict | list):
            left += reversed(list(value.values()) if isinstance(value, dict) else value)
