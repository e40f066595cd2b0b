"""Rendering: one class for training and inference, chat templates of three styles, a base model, real tokenizers."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from feints.errors import StudentError
from feints.generate.rendering import Renderer
from feints.generate.source import Message

RATIONALES = Path(__file__).parents[2] / "../shared/data/rationales/math_train_gpt35_8samples.jsonl.gz"
SPECIAL = ["<pad>", "<s>", "</s>", "<|start|>", "<|end|>", "<|turn|>", "<turn_end>"]
LLAMA_STYLE = (
    "{{ bos_token }}{% for m in messages %}<|start|>{{ m['role'] }}<|turn|>\n\n{{ m['content'] | trim }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|start|>assistant<|turn|>\n\n{% endif %}"
)
QWEN_STYLE = (
    "{% for m in messages %}{% set content = m['content'] %}"
    "{% if m['role'] == 'assistant' and '</think>' in content %}{% set content = content.split('</think>')[-1] %}"
    "{% endif %}<|start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and loop.last and m.reasoning_content %}"
    "<think>\n{{ m.reasoning_content }}\n</think>\n\n{% endif %}{{ content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
GEMMA_STYLE = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
    "<|turn|>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n{{ m['content'] | trim }}<turn_end>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>model\n{% endif %}"
)
TEMPLATES = {"llama": LLAMA_STYLE, "qwen": QWEN_STYLE, "gemma": GEMMA_STYLE, "base": None}
ENDS = {"llama": "<|end|>", "qwen": "<|end|>", "gemma": "<turn_end>", "base": "</s>"}
CHAT = (
    Message(role="system", content="Think step by step."),
    Message(role="user", content="Tom has 3 apples and gets 4. How many?"),
)
TEXTS = ["3 + 4 = 7.\nThe answer is 7.", "  So $\\frac{1}{2}$ of 14 is 7  \n", "Sí, 7 — naïve “quotes” 🙂", "7", ""]


def _texts(limit):
    """Recorded rationales where they are, else sentences of sums; never stored."""
    if not RATIONALES.is_file():
        return [
            f"Tom has {a} apples and gets {b}. {a} + {b} = {a + b}, so the answer is {a + b}."
            for a in range(300)
            for b in range(30)
        ]
    texts = []
    for path in sorted(RATIONALES.parent.glob("*.jsonl.gz")):
        size = 0
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            for line in stream:
                for sample in json.loads(line)["samples"]:
                    texts.append(sample["text"])
                    size += len(sample["text"])
                if size > limit:
                    break
    return texts


@pytest.fixture(scope="session")
def byte_level():
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=32_000, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False, min_frequency=1
    )
    backend.train_from_iterator(_texts(6_000_000), trainer)
    assert backend.get_vocab_size() == 32_000 or not RATIONALES.is_file()
    return backend


@pytest.fixture(scope="session")
def unigram():
    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    trainer = trainers.UnigramTrainer(
        vocab_size=4_000, special_tokens=[*SPECIAL, "<unk>"], unk_token="<unk>", show_progress=False
    )
    backend.train_from_iterator(_texts(60_000), trainer)
    return backend


@pytest.fixture(params=["byte_level", "unigram"])
def backend(request):
    return request.getfixturevalue(request.param)


def _tokenizer(backend, style, adds_start=True):
    copy = Tokenizer.from_str(backend.to_str())
    if adds_start:
        copy.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=copy,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<|start|>", "<|end|>", "<|turn|>", "<turn_end>"],
    )
    tokenizer.chat_template = TEMPLATES[style]
    return tokenizer


@pytest.mark.slow
@pytest.mark.parametrize("style", TEMPLATES)
def test_training_and_inference_see_the_same_ids(style, backend, tmp_path):
    tokenizer = _tokenizer(backend, style)
    training = Renderer(tokenizer)
    tokenizer.save_pretrained(tmp_path)
    inference = Renderer(PreTrainedTokenizerFast.from_pretrained(tmp_path))
    assert training.tokenizer_hash == inference.tokenizer_hash
    assert training.prompt_ids(CHAT) == inference.prompt_ids(CHAT)
    assert training.target_ids("a 7", "hm") == inference.target_ids("a 7", "hm")
    assert training.stop_ids == inference.stop_ids


@pytest.mark.slow
@pytest.mark.parametrize("style", TEMPLATES)
@pytest.mark.parametrize("adds_start", [True, False])
def test_one_beginning_one_end_and_a_stable_seam(style, adds_start, backend):
    tokenizer = _tokenizer(backend, style, adds_start)
    renderer = Renderer(tokenizer)
    prompt = renderer.prompt_ids(CHAT)
    end = tokenizer.convert_tokens_to_ids(ENDS[style])
    assert prompt.count(1) == (1 if style in ("llama", "gemma") or (style == "base" and adds_start) else 0)
    assert prompt[-1] not in renderer.stop_ids
    assert renderer.end_id == end
    assert renderer.stop_ids == {end, 2}
    written = Renderer(tokenizer).prompt_text(CHAT)
    for text in TEXTS:
        target = renderer.target_ids(text)
        assert target[-1] == end
        assert target.count(end) == 1
        joined = tokenizer.decode(prompt + target[:-1], skip_special_tokens=False)
        if backend.model.__class__.__name__ == "BPE":
            assert joined == ("<s>" if style == "base" and adds_start else "") + written + text.strip()


@pytest.mark.slow
@pytest.mark.parametrize("style", TEMPLATES)
def test_decode_undoes_target_ids(style, byte_level):
    renderer = Renderer(_tokenizer(byte_level, style))
    for text in TEXTS:
        for thinking in ("", "first 3, then\n4"):
            ids = renderer.target_ids(text, thinking)
            assert renderer.decode(ids) == (text.strip(), thinking)
            assert renderer.decode([*ids, 5, 6, 7]) == (text.strip(), thinking)
            assert renderer.decode(ids[:-1]) == (text.strip(), thinking)


@pytest.mark.slow
def test_unigram_text_comes_back_without_a_leading_space(unigram):
    renderer = Renderer(_tokenizer(unigram, "base"))
    assert renderer.decode(renderer.target_ids("so the answer is 7"))[0] == "so the answer is 7"


@pytest.mark.slow
def test_the_template_decides_how_a_prompt_looks(byte_level):
    system, question = (message.content for message in CHAT)
    llama = Renderer(_tokenizer(byte_level, "llama")).prompt_text(CHAT)
    assert llama == (
        f"<s><|start|>system<|turn|>\n\n{system}<|end|><|start|>user<|turn|>\n\n{question}<|end|>"
        "<|start|>assistant<|turn|>\n\n"
    )
    gemma = Renderer(_tokenizer(byte_level, "gemma")).prompt_text(CHAT)
    assert gemma == f"<s><|turn|>user\n{system}\n\n{question}<turn_end>\n<|turn|>model\n"
    assert Renderer(_tokenizer(byte_level, "base")).prompt_text(CHAT) == f"{system}\n\n{question}\n"
    assert Renderer(_tokenizer(byte_level, "llama"), chat=False).prompt_text(CHAT) == f"{system}\n\n{question}\n"


@pytest.mark.slow
def test_earlier_thinking_is_stripped_by_the_template_and_the_last_one_learnt(byte_level):
    renderer = Renderer(_tokenizer(byte_level, "qwen"))
    earlier = Message(role="assistant", content="<think>\nlong\n</think>\n\n7")
    prompt = renderer.prompt_text((*CHAT, earlier, Message(role="user", content="and 8?")))
    assert "long" not in prompt
    assert prompt.endswith("<|start|>user\nand 8?<|end|>\n<|start|>assistant\n")
    target = renderer.tokenizer.decode(renderer.target_ids("15", "7 + 8"), skip_special_tokens=False)
    assert target == "<think>\n7 + 8\n</think>\n\n15<|end|>"


THINKING = (
    "{% for m in messages %}{% set content = m['content'] %}"
    "{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}"
    "{% if m['role'] == 'user' %}<|start|>{{ content }}{% else %}<|turn|>REASONING{{ content }}</s>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|turn|><think>\n{% endif %}"
)
REASONING = "{% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n</think>\n\n{% endif %}"


@pytest.mark.parametrize("written", ["", REASONING])
def test_reasoning_that_the_prompt_opens_is_closed_once_and_not_opened_again(written, byte_level):
    """As the templates of R1's students and of Qwen's thinking models do, without and with a place for reasoning."""
    tokenizer = _tokenizer(byte_level, "base")
    plain = Renderer(tokenizer).tokenizer_hash
    tokenizer.chat_template = THINKING.replace("REASONING", written)
    renderer = Renderer(tokenizer)
    prompt = renderer.prompt_ids(CHAT[1:])
    for thinking, between in (("7 is 3 + 4", "7 is 3 + 4"), ("", "")):
        target = renderer.target_ids("So 7.", thinking)
        whole = tokenizer.decode([*prompt, *target], skip_special_tokens=False)
        assert whole.endswith(f"<|turn|><think>\n{between}\n</think>\n\nSo 7.</s>")
        assert whole.count("<think>") == whole.count("</think>") == 1
        assert renderer.decode(target) == ("So 7.", thinking)
    assert renderer.tokenizer_hash != plain


@pytest.mark.slow
def test_demonstrations_look_like_what_is_learnt(byte_level):
    renderer = Renderer(_tokenizer(byte_level, "base"))
    shot = (Message(role="user", content="1 + 1?"), Message(role="assistant", content="2"))
    assert renderer.prompt_text((*shot, Message(role="user", content="3 + 4?"))) == "1 + 1?\n2\n\n3 + 4?\n"


@pytest.mark.slow
def test_the_hash_tells_tokenizers_templates_and_settings_apart(byte_level, unigram):
    renderers = [
        Renderer(_tokenizer(byte_level, "llama")),
        Renderer(_tokenizer(byte_level, "qwen")),
        Renderer(_tokenizer(byte_level, "llama"), chat=False),
        Renderer(_tokenizer(unigram, "llama")),
    ]
    assert len({renderer.tokenizer_hash for renderer in renderers}) == 4
    plain = Renderer(_tokenizer(byte_level, "base"))
    assert plain.tokenizer_hash == renderers[2].tokenizer_hash
    tokenizer = _tokenizer(byte_level, "llama")
    before = Renderer(tokenizer).tokenizer_hash
    tokenizer(["a", "a b c"], padding=True, truncation=True, max_length=4)
    assert Renderer(tokenizer).tokenizer_hash == before


@pytest.mark.slow
def test_what_cannot_be_rendered_is_refused(byte_level):
    with pytest.raises(StudentError, match="no chat template"):
        Renderer(_tokenizer(byte_level, "base"), chat=True)
    gemma = Renderer(_tokenizer(byte_level, "gemma"))
    with pytest.raises(StudentError, match="no user turn follows"):
        gemma.prompt_ids(CHAT[:1])
    with pytest.raises(StudentError, match="at least one message"):
        gemma.prompt_ids(())
    broken = _tokenizer(byte_level, "llama")
    broken.chat_template = "{% for m in messages %}{{ m.content }"
    with pytest.raises(StudentError, match="cannot be rendered: .*student.chat: false"):
        Renderer(broken, chat=True)
    endless = _tokenizer(byte_level, "base")
    endless.eos_token = None
    with pytest.raises(StudentError, match="never learn to stop"):
        Renderer(endless)


@pytest.mark.slow
def test_a_prompt_that_brings_its_own_beginning_gets_no_second(byte_level):
    renderer = Renderer(_tokenizer(byte_level, "base"))
    assert renderer.raw_ids("<s>hello").count(1) == 1
    assert renderer.raw_ids("<s>hello") == renderer.raw_ids("hello")


@pytest.mark.slow
def test_an_end_that_the_tokenizer_adds_stays_in_encoders_only(byte_level):
    tokenizer = _tokenizer(byte_level, "base")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 2)]
    )
    assert 2 not in Renderer(tokenizer).raw_ids("hello")
    assert Renderer(tokenizer, seq2seq=True).raw_ids("hello")[-1] == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("raw", "text", "thinking"),
    [
        (" plain ", "plain", ""),
        ("<think>a</think>b", "b", "a"),
        ("a</think>\n\nb", "b", "a"),
        ("lead <think>cut off", "", "lead cut off"),
    ],
)
def test_what_a_student_generates_is_cut_as_a_reply_is(raw, text, thinking, byte_level):
    renderer = Renderer(_tokenizer(byte_level, "base"))
    assert renderer.decode(renderer.raw_ids(raw)[1:]) == (text, thinking)
