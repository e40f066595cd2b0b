"""Refuse, before anything is paid, a student that could not be trained or examined: by its configuration alone."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from feints.errors import SettingsError, StudentError
from feints.generate.anatomy import require_attention
from feints.generate.rendering import Renderer
from feints.generate.source import Message
from feints.generate.weights import load_config, load_tokenizer, local_folder, shape_of
from feints.train.settings import StudentSettings
from feints.train.student import require_modules


def check_student(settings: StudentSettings, causal: Collection[str] = ()) -> None:
    """Read a student's configuration and tokenizer, not its weights, and refuse what would fail later.

    Args:
        settings: of the student.
        causal: names of the arms by which an encoder-decoder cannot learn.

    Raises:
        StudentError: it could not learn to stop, has ids without an embedding, a decoder without a beginning, layers
            whose texts cannot be kept apart, or no module of a name that is to be trained.
        SettingsError: it is an encoder-decoder, and `causal` names an arm.
    """
    folder = local_folder(settings.model)
    config, tokenizer = load_config(folder), load_tokenizer(folder)
    seq2seq = bool(config.is_encoder_decoder)
    renderer = Renderer(tokenizer, settings.chat, seq2seq)
    require_attention(config)
    _require_embeddings(config, renderer)
    if seq2seq:
        _require_start(config, folder)
        if causal:
            raise SettingsError(
                f"{', '.join(causal)} cannot teach an encoder-decoder such as {config.model_type}: it learns or "
                "compares what a decoder alone computes; take a causal student, or other settings of the method "
                "(reflection: 0 for tailored learning, profile: clean for nat and nce)"
            )
    if settings.adapter.kind == "lora" and settings.adapter.modules != "linear":
        require_modules(shape_of(config), list(settings.adapter.modules))


def _require_embeddings(config: Any, renderer: Renderer) -> None:
    """Ids of ordinary texts, prompts and ends; a special token nothing here writes may lack a row, as in Gemma 3."""
    rows = getattr(config.get_text_config(decoder=True), "vocab_size", None)
    tokenizer = renderer.tokenizer
    special = {place for place, token in tokenizer.added_tokens_decoder.items() if token.special}
    written = set(tokenizer.get_vocab().values()) - special - set(tokenizer.all_special_ids)
    written |= {*renderer.stop_ids, *renderer.prompt_ids([Message(role="user", content="a")])}
    beyond = [place for place in written if rows is not None and place >= rows]
    if beyond:
        raise StudentError(
            f"the student's tokenizer writes {len(beyond)} ids from {min(beyond)} on, but the weights have {rows} "
            "embeddings; take the tokenizer that belongs to them, or resize the embeddings and save the model again"
        )


def _require_start(config: Any, folder: Path) -> None:
    if getattr(config, "decoder_start_token_id", None) is not None:
        return
    try:
        start = GenerationConfig.from_pretrained(folder).decoder_start_token_id
    except OSError:  # there is no such file
        start = None
    if start is None:
        raise StudentError(
            f"{config.model_type} names no decoder_start_token_id, so its decoder cannot begin; set it in {folder}'s "
            "config.json"
        )
