"""Tokens as the page shows them: joined they are the text, each at its place, whatever the tokenizer does."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from feints.lab.nano import NANO_FOLDER
from feints.report.texts import tokens_in_place

TEXT = "Karl has 12 cookies.\nLater Ivan's 3 go, so 27 / 3 = 9: the answer is 9.</s>"
STRANGE = "Sí, 7 — naïve “quotes” 🙂 and 漢字\n"


def _byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(special_tokens=["</s>"], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([TEXT], trainer)
    return tokenizer


def _unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=60, special_tokens=["</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator([TEXT] * 5, trainer)
    return tokenizer


@pytest.mark.parametrize("kind", ["nano", "byte-level", "unigram"])
def test_joined_they_are_the_text(kind: str) -> None:
    made = {"byte-level": _byte_level, "unigram": _unigram}
    tokenizer = made[kind]() if kind in made else Tokenizer.from_file(str(NANO_FOLDER / "tokenizer.json"))
    ids = tokenizer.encode(TEXT, add_special_tokens=False).ids
    found = tokens_in_place(tokenizer, ids)
    assert len(found) == len(ids)
    assert "".join(found) == tokenizer.decode(ids, skip_special_tokens=False)
    assert [word for word in ("Karl", " has", " answer") if word not in "".join(found)] == []


def test_a_character_of_several_tokens_stands_at_its_last() -> None:
    tokenizer = _byte_level()
    ids = tokenizer.encode(STRANGE, add_special_tokens=False).ids
    found = tokens_in_place(tokenizer, ids)
    assert "".join(found) == STRANGE
    assert found[found.index("🙂") - 3 : found.index("🙂") + 1] == ("", "", "", "🙂")
    cut = tokens_in_place(tokenizer, ids[: found.index("🙂")])
    assert "".join(cut).rstrip("\N{REPLACEMENT CHARACTER}") == STRANGE[: STRANGE.index("🙂")]
