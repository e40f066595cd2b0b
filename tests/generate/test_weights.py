"""Weights: folders, hub ids, safetensors only, one clear error each."""

from __future__ import annotations

import json
import logging
import shutil

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from feints.errors import StudentError
from feints.generate.weights import (
    device_or_default,
    load_weights,
    local_folder,
    on_device,
    quiet_transformers,
    weights_identity,
)

SMALL = {"vocab_size": 12, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def _save(folder, seq2seq=False):
    torch.manual_seed(0)
    if seq2seq:
        model = T5ForConditionalGeneration(
            T5Config(**SMALL, d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0)
        )
    else:
        model = LlamaForCausalLM(
            LlamaConfig(**SMALL, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
        )
    words = {f"w{number}": number for number in range(12)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="w3")), pad_token="w0", eos_token="w2"
    )
    with quiet_transformers():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tmp_path):
    return _save(tmp_path / "model")


@pytest.mark.parametrize("seq2seq", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_folder_is_loaded_quietly_and_in_evaluation_mode(seq2seq, dtype, tmp_path, capfd):
    weights = load_weights(_save(tmp_path / "model", seq2seq), dtype=dtype)
    assert weights.seq2seq is seq2seq
    assert {parameter.dtype for parameter in weights.model.parameters()} == {getattr(torch, dtype)}
    assert not weights.model.training
    assert len(weights.tokenizer) == 12
    assert capfd.readouterr() == ("", "")


def test_loading_is_quiet_and_what_follows_it_is_not():
    hub = logging.getLogger("huggingface_hub")

    def heard():
        said = transformers.utils.logging
        return said.is_progress_bar_enabled(), said.get_verbosity(), hub.level

    before = heard()
    try:
        transformers.utils.logging.enable_progress_bar()
        transformers.logging.set_verbosity_info()
        hub.setLevel(logging.INFO)
        with quiet_transformers():
            assert heard() == (False, transformers.logging.ERROR, logging.ERROR)
        assert heard() == (True, transformers.logging.INFO, logging.INFO)
    finally:
        transformers.logging.set_verbosity(before[1])
        hub.setLevel(before[2])
        if not before[0]:
            transformers.utils.logging.disable_progress_bar()


def test_identity_follows_content_and_nothing_else(folder, tmp_path):
    identity = load_weights(folder).identity
    twin = shutil.copytree(folder, tmp_path / "elsewhere")
    (twin / "README.md").write_text("notes change nothing")
    assert weights_identity(twin) == identity
    data = bytearray((twin / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (twin / "model.safetensors").write_bytes(data)
    assert weights_identity(twin) != identity
    third = shutil.copytree(folder, tmp_path / "third")
    (third / "tokenizer.json").write_text((third / "tokenizer.json").read_text() + " ")
    assert weights_identity(third) != identity
    for name in ("chat_template.jinja", "config.json", "tokenizer_config.json"):
        other = shutil.copytree(folder, tmp_path / name)
        (other / name).write_text("{} ")
        assert weights_identity(other) != identity


def test_of_a_model_of_the_hub_the_chat_template_comes_too(folder, monkeypatch):
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    got = []

    def fetched(name, *, allow_patterns):
        got.extend(path.name for path in folder.iterdir() if any(map(path.match, allow_patterns)))
        return str(folder)

    monkeypatch.setattr("feints.generate.weights.snapshot_download", fetched)
    assert local_folder("owner/model") == folder
    assert {"chat_template.jinja", "tokenizer.json", "config.json", "model.safetensors"} <= set(got)
    assert "pytorch_model.bin" not in got


@pytest.mark.parametrize(
    "missing", ["./nowhere", "/nowhere/at/all", "nowhere", "my models/qwen", "models/a--b", "runs/x..y"]
)
def test_no_such_folder(missing):
    with pytest.raises(StudentError, match="there is no folder"):
        load_weights(missing)


def test_pickled_weights_are_refused(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(StudentError, match=r"only pickled weights \(pytorch_model.bin\).*convert them"):
        load_weights(folder)


def test_no_weights_at_all(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(StudentError, match="holds no .*safetensors"):
        load_weights(folder)


def test_no_tokenizer(folder):
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(StudentError, match="holds no tokenizer"):
        load_weights(folder)


def test_damaged_weights(folder):
    (folder / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(StudentError, match="weights in .* cannot be loaded"):
        load_weights(folder)


def test_code_of_its_own_is_never_run(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    marker = tmp_path / "ran"
    (folder / "own.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Own: pass\n")
    config |= {"model_type": "own-model", "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(StudentError, match="no configuration transformers can read"):
        load_weights(folder)
    assert not marker.exists()


def test_unknown_precision(folder):
    with pytest.raises(StudentError, match="dtype 'int3' is not one of float32"):
        load_weights(folder, dtype="int3")


def test_what_names_no_device_runs_where_the_run_does(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_or_default(None) == "cuda"
    with on_device("cpu"):
        assert (device_or_default(None), device_or_default("cuda:1")) == ("cpu", "cuda:1")
        with on_device(None), pytest.raises(RuntimeError), on_device("meta"):
            assert device_or_default(None) == "meta"
            raise RuntimeError
        assert device_or_default(None) == "cpu"
    assert device_or_default(None) == "cuda"
