"""Weights on this computer: load a student or a local teacher from a folder or a hub id.

Torch-side: imports torch and transformers at the top, so nothing of the core imports this file at load.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from feints.errors import StudentError

_HUB_FILES = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.model", "*.txt", "*.jinja"]
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
)
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_READ_BYTES = 1 << 22
_DEVICE: ContextVar[str | None] = ContextVar("device", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A model with its tokenizer."""

    model: Any
    """A transformers model in evaluation mode."""
    tokenizer: Any
    """Its tokenizer."""
    seq2seq: bool
    """Whether it is an encoder-decoder."""
    identity: str
    """Hash of weight and tokenizer files; who answers, for the ledger."""


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' progress bars, notices and warnings while loading or saving."""
    level = transformers.logging.get_verbosity()
    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    hub = logging.getLogger("huggingface_hub")
    hub_level = hub.level
    hub.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers.logging.set_verbosity(level)
        hub.setLevel(hub_level)
        if bars:
            transformers.utils.logging.enable_progress_bar()


@contextlib.contextmanager
def on_device(device: str | None) -> Iterator[None]:
    """What is loaded within, and names no device of its own, runs on `device`; None changes nothing."""
    before = _DEVICE.set(device or _DEVICE.get())
    try:
        yield
    finally:
        _DEVICE.reset(before)


def device_or_default(device: str | None) -> str:
    """`device`; where it is None, the one `on_device` names, else a GPU where torch sees one, else the CPU."""
    return device or _DEVICE.get() or ("cuda" if torch.cuda.is_available() else "cpu")


def local_folder(path_or_id: str | Path) -> Path:
    """The folder that holds the weights: the folder named, or a download of the hub id (cached by the hub's client).

    Raises:
        StudentError: neither a folder nor a model the hub can give.
    """
    folder = Path(path_or_id)
    if folder.is_dir():
        return folder
    name = str(path_or_id)
    neither = f"there is no folder {name!r}; name a folder with weights, or a hub id such as owner/model"
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
        raise StudentError(neither)
    try:
        with quiet_transformers():
            return Path(snapshot_download(name, allow_patterns=_HUB_FILES))
    except HFValidationError as error:
        raise StudentError(neither) from error
    except RepositoryNotFoundError as error:
        raise StudentError(f"the hub has no model {name!r}, and there is no such folder; look for a slip") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise StudentError(
            f"{name!r} is no folder here and could not be fetched from the hub ({type(error).__name__}); "
            "check the network or name a folder that holds the weights"
        ) from error


def _require_safetensors(folder: Path) -> list[Path]:
    """The weight files, or a clear error when there are none or only pickled ones."""
    files = sorted(folder.glob("*.safetensors"))
    if files:
        return files
    pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(pattern))
    if pickled:
        raise StudentError(
            f"{folder} holds only pickled weights ({', '.join(pickled[:3])}), which can run code when loaded; "
            "convert them: load the model in a place you trust and call save_pretrained, which writes safetensors"
        )
    raise StudentError(f"{folder} holds no *.safetensors file; name the folder that save_pretrained wrote")


def hash_files(paths: list[Path]) -> str:
    """Digest of names and contents, read in pieces."""
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        digest.update(path.name.encode() + b"\0" + str(path.stat().st_size).encode() + b"\0")
        with path.open("rb") as stream:
            while piece := stream.read(_READ_BYTES):
                digest.update(piece)
    return digest.hexdigest()


def weights_identity(folder: Path) -> str:
    """Hash of everything in `folder` that changes what the model says: weights, configuration, tokenizer.

    Raises:
        StudentError: no safetensors.
    """
    files = _require_safetensors(folder)
    others = [folder / name for name in ("config.json", *_TOKENIZER_FILES)]
    return hash_files(files + [path for path in others if path.is_file()])


def load_weights(path_or_id: str | Path, *, dtype: str = "float32", device: str = "cpu") -> Weights:
    """Load a causal or encoder-decoder model with its tokenizer; safetensors only, never remote code.

    Raises:
        StudentError: no such folder or model, pickled weights, no tokenizer, code of its own, unknown dtype.
    """
    if dtype not in _DTYPES:
        raise StudentError(f"dtype {dtype!r} is not one of {', '.join(_DTYPES)}")
    folder = local_folder(path_or_id)
    identity = weights_identity(folder)
    config = load_config(folder)
    with quiet_transformers():
        tokenizer = load_tokenizer(folder)
        seq2seq = bool(config.is_encoder_decoder)
        loader = AutoModelForSeq2SeqLM if seq2seq else AutoModelForCausalLM
        try:
            model = loader.from_pretrained(
                folder, dtype=_DTYPES[dtype], use_safetensors=True, trust_remote_code=False, config=config
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise StudentError(f"the weights in {folder} cannot be loaded: {_first_line(error)}") from error
    model.eval()
    return Weights(model=model.to(device), tokenizer=tokenizer, seq2seq=seq2seq, identity=identity)


def load_config(folder: Path) -> Any:
    """The configuration in `folder`.

    Raises:
        StudentError: there is none, or transformers does not know its kind.
    """
    with quiet_transformers():
        try:
            return AutoConfig.from_pretrained(folder, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            raise StudentError(f"{folder} has no configuration transformers can read: {_first_line(error)}") from error


def shape_of(config: Any) -> Any:
    """The model of a configuration without numbers: its modules by name, made at once and in no memory.

    Raises:
        StudentError: transformers cannot make it a model that writes.
    """
    loader = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    with torch.device("meta"), quiet_transformers():
        try:
            return loader.from_config(config)
        except (ValueError, KeyError) as error:
            raise StudentError(f"{config.model_type} is no model that writes: {_first_line(error)}") from error


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in `folder`.

    Raises:
        StudentError: there is none, or it cannot be used.
    """
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES[:6]):
        raise StudentError(
            f"{folder} holds no tokenizer; copy the tokenizer files of the same model beside the weights"
        )
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise StudentError(f"the tokenizer in {folder} cannot be loaded: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
