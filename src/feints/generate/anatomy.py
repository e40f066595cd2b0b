"""What a model's configuration says of decoding it: its layers, their keys and values, where a decoder begins.

Torch-free, but made for transformers' models, whose configurations differ from family to family.
"""

from __future__ import annotations

from typing import Any

from feints.errors import StudentError

_PLAIN_ATTENTION = {"full_attention", "sliding_attention"}


def context_of(model: Any) -> int | None:
    """Most tokens the model can hold, prompt and completion together; None where positions are relative."""
    config = model.config.get_text_config(decoder=True)
    length = getattr(config, "max_position_embeddings", None)
    return int(length) if isinstance(length, int) and length > 0 else None


def cache_bytes_per_token(model: Any) -> int:
    """Upper bound of the key and value bytes one token of one row takes."""
    config = model.config.get_text_config(decoder=True)
    elements = 0
    for layer in _layers(config):
        heads = getattr(layer, "num_key_value_heads", None) or layer.num_attention_heads
        elements += heads * (getattr(layer, "head_dim", None) or layer.hidden_size // layer.num_attention_heads)
    return int(2 * elements * model.dtype.itemsize)


def _layers(config: Any) -> list[Any]:
    """The configuration of every layer; in a few families heads differ from layer to layer."""
    if getattr(config, "is_heterogeneous", False):
        return list(config.per_layer_config[:])
    return [config] * int(config.num_hidden_layers)


def require_attention(config: Any) -> None:
    """Refuse a model whose texts the local decoder could not keep apart, by its configuration.

    Raises:
        StudentError: it keeps a state that cannot be shared or dropped row by row.
    """
    text = config.get_text_config(decoder=True)
    others = set(getattr(text, "layer_types", None) or ["full_attention"]) - _PLAIN_ATTENTION
    if not others and getattr(text, "num_attention_heads", None) is not None:
        return
    raise StudentError(
        f"{config.model_type} has layers of kind {', '.join(sorted(others)) or 'recurrent'}, whose state the local "
        "decoder cannot keep; take a student whose every layer is attention, and for a teacher serve it with vLLM and "
        "name its endpoint as the source"
    )


def decoder_start(model: Any) -> int:
    """The token with which the decoder of an encoder-decoder begins.

    Raises:
        StudentError: the model names none.
    """
    for config in (model.config, model.generation_config):
        start = getattr(config, "decoder_start_token_id", None)
        if start is not None:
            return int(start)
    raise StudentError(
        f"{model.config.model_type} names no decoder_start_token_id, so its decoder cannot begin; set it in the "
        "model's config.json"
    )


def padding_of(config: Any) -> int | None:
    """The id that fills up rows, which a model of several kinds of input names for its text alone."""
    pad = getattr(config.get_text_config(decoder=True), "pad_token_id", None)
    return None if pad is None else int(pad)


def groups_heads(config: Any) -> bool:
    """Whether heads share keys: transformers then copies them per head as soon as a lane has several new tokens."""
    return any(
        int(getattr(layer, "num_key_value_heads", None) or layer.num_attention_heads) != int(layer.num_attention_heads)
        for layer in _layers(config)
    )
