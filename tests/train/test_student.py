"""Students: load, adapt, save, load again; wrong module names and foreign bases are refused."""

from __future__ import annotations

import pytest
import torch

from feints.errors import SettingsError, StudentError
from feints.generate.source import Message
from feints.generate.weights import load_weights
from feints.records import Role
from feints.train.settings import AdapterSettings, StudentSettings
from feints.train.student import Student

IDS = torch.tensor([[5, 6, 7, 8, 9]])


def _logits(student):
    student.model.eval()
    with torch.no_grad():
        if student.seq2seq:
            return student.model(input_ids=IDS, decoder_input_ids=IDS).logits
        return student.model(input_ids=IDS).logits


def _stir(student):
    torch.manual_seed(4)
    for name, parameter in student.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2", "t5"])
@pytest.mark.parametrize("merge", [True, False])
def test_saved_and_loaded_says_the_same(family, merge, make_student, tmp_path, capfd):
    student = make_student(family, lora=True)
    _stir(student)
    before = _logits(student)
    student.save(tmp_path / "student", merge=merge)
    torch.testing.assert_close(_logits(student), before)
    loaded = Student.load(StudentSettings(model=str(tmp_path / "student")))
    torch.testing.assert_close(_logits(loaded), before, rtol=1e-4, atol=1e-5)
    assert loaded.renderer.tokenizer_hash == student.renderer.tokenizer_hash
    if merge:
        assert load_weights(tmp_path / "student").seq2seq is student.seq2seq
    assert capfd.readouterr() == ("", "")


def test_lora_starts_as_the_student_and_trains_additions_only(make_student):
    plain, adapted = make_student(), make_student(lora=True)
    assert torch.equal(_logits(plain), _logits(adapted))
    assert {name.split(".")[-3] for name, p in adapted.model.named_parameters() if p.requires_grad} == {
        "lora_A",
        "lora_B",
    }
    again, other = make_student(lora=True), make_student(lora=True)
    other.model = make_student().model
    other.add_lora(AdapterSettings(kind="lora", rank=4), seed=9)
    first = dict(adapted.model.named_parameters())
    assert all(torch.equal(tensor, first[name]) for name, tensor in again.model.named_parameters())
    assert any(not torch.equal(tensor, first[name]) for name, tensor in other.model.named_parameters())


def test_loading_draws_nothing_from_the_callers_random_numbers(make_student):
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    make_student(lora=True)
    assert torch.equal(torch.rand(2), expected)


def test_an_unknown_module_is_refused_with_those_there_are(make_student):
    with pytest.raises(StudentError, match=r"no module called qproj; its linear layers are .*q_proj"):
        make_student().add_lora(AdapterSettings(kind="lora", modules=("qproj",)), seed=0)


def test_an_adapter_needs_the_base_it_was_trained_on(make_student, student_folder, tmp_path):
    student = make_student(lora=True)
    student.save(tmp_path / "student", merge=False)
    base = student_folder("llama") / "model.safetensors"
    data = base.read_bytes()
    try:
        base.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(StudentError, match="trained on other weights"):
            Student.load(StudentSettings(model=str(tmp_path / "student")))
    finally:
        base.write_bytes(data)


def test_there_must_be_an_adapter_to_save_apart(make_student, tmp_path):
    with pytest.raises(SettingsError, match="no adapter"):
        make_student().save(tmp_path / "student", merge=False)


def test_a_student_taught_plainly_is_loaded_plainly(make_student, tmp_path):
    student = make_student()
    template = "{% for m in messages %}{{ m['content'] }}</s>{% endfor %}"
    student.renderer.tokenizer.chat_template = template
    student.save(tmp_path / "student")
    assert student.renderer.tokenizer.chat_template == template
    loaded = Student.load(StudentSettings(model=str(tmp_path / "student")))
    assert loaded.renderer.chat is False
    assert loaded.renderer.tokenizer_hash == student.renderer.tokenizer_hash


def test_an_example_carries_ids_weights_and_role(make_student):
    student = make_student()
    messages = [Message(role="user", content="3 + 4?")]
    example = student.example(
        id="a", problem_id="p", messages=messages, text="7", weight=-0.5, prompt_weight=0.1, group="p", role=Role.WRONG
    )
    assert example.prompt_ids == student.renderer.prompt_ids(messages)
    assert example.target_ids == student.renderer.target_ids("7")
    assert example.weights == (0.1,) * len(example.prompt_ids) + (-0.5,) * len(example.target_ids)
    assert (example.group, example.role) == ("p", Role.WRONG)
    student.check([example])
