"""The nano student: a Llama of about a million parameters that speaks the lab's language, digit by digit.

Imports torch and transformers at load; nothing of the lab's world or teacher imports this file.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from feints.generate.prompt import STUDENT
from feints.generate.weights import quiet_transformers
from feints.lab.teacher_texts import teacher_vocabulary
from feints.lab.vocabulary import tokens, vocabulary

NANO_NAME = "feints-nano"
NANO_FOLDER = Path(__file__).parent / "nano_weights"
"""Where the package keeps the pretrained student; `card.json` in it tells how it was made."""

PAD, UNKNOWN, END = "<pad>", "<unk>", "</s>"
CONTEXT = 512
"""Longest sequence, in tokens."""
_DIGIT_SCALE = 0.5
"""Radius of the circles that digits start on; other weights start at a deviation of 0.05."""
_PIECE = r"\n|[A-Za-z]+|\d|[^\sA-Za-z\d]"
_GLUED = (
    r"(?<=\d) (?=\d)",
    r" (?=[.,:?;%])",
    r" ?(?=\n)",
    r"(?<=\n) ",
    r"(?<=[($_'\[]) (?=\S)",
    r" (?=[)_'\]])",
    r"(?<=[a-z]) (?=\()",
)
"""Where no space stands between two tokens."""
_EXTRA = "Let's think step by step yes no true false A B C D E ( ) [ ] = < > _ % $ ' \" ; ! ? : , . - + * / #"
_ASKING = (
    "Question Answer Hint Core question Useful information Solution Explanation Reason Choices Mistake Program Python "
    "Equations System Constraints counterfactual correct incorrect right wrong mistake write program code equation "
    "equations system constraints solve explain why hint core useful solution rationale another way reflect key points "
    "Let us a the of is it this in with by an and or not how many to"
)
"""Words that methods put into a student's prompt; pretraining shows none of those that stories lack."""


def nano_tokenizer() -> PreTrainedTokenizerFast:
    """Words, single digits and single marks; a text of the lab comes back as it was, spaces included."""
    words = {*vocabulary(), *teacher_vocabulary(), *tokens(_EXTRA), *tokens(_ASKING), *tokens(STUDENT.cue), "\n"}
    ids = {token: number for number, token in enumerate([PAD, UNKNOWN, END, *sorted(words)])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(Regex(r"[ \t\r]+"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(_PIECE), behavior="isolated"), pre_tokenizers.Split(" ", behavior="removed")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace(Regex(r"^"), " "),
            decoders.Fuse(),
            decoders.Replace(Regex("|".join(_GLUED)), ""),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, unk_token=UNKNOWN, eos_token=END, clean_up_tokenization_spaces=False
    )


def nano_config(words: int, hidden: int = 128, layers: int = 5, heads: int = 4) -> LlamaConfig:
    """Shape of the student; `words` is the size of the vocabulary."""
    return LlamaConfig(
        vocab_size=words,
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3 // 16 * 16,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": 1000.0},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
        initializer_range=0.05,
    )


def write_untrained(folder: Path, *, seed: int, hidden: int = 128, layers: int = 5, heads: int = 4) -> int:
    """Write a student with random weights; returns its number of parameters."""
    tokenizer = nano_tokenizer()
    with torch.random.fork_rng(), quiet_transformers():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(nano_config(len(tokenizer), hidden, layers, heads))
        _place_digits(model, tokenizer)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


def _place_digits(model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    """Start the ten digits on circles of five frequencies and on a line, as large models come to hold them.

    It saves the student the longest stretch of learning to add; nothing else about numbers is given to it.
    """
    table = model.get_input_embeddings().weight
    with torch.no_grad():
        for digit in range(10):
            turns = [2 * math.pi * frequency * digit / 10 for frequency in range(1, 6)]
            place = [wave(turn) for turn in turns for wave in (math.cos, math.sin)] + [(digit - 4.5) / 3]
            row = tokenizer.convert_tokens_to_ids(str(digit))
            table[row, : len(place)] = torch.tensor(place) * _DIGIT_SCALE
