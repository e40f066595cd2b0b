"""What the loop refuses, and that the error says what to do next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from feints.errors import DataError, EmptyPileError, SettingsError, StorageError, StudentError
from feints.train.loop import fit
from feints.train.losses import weighted_nll
from feints.train.settings import TrainSettings

SETTINGS = TrainSettings(
    epochs=3, batch_examples=4, learning_rate=3e-3, warmup_steps=2, log_steps=2, clip_norm=1.0, checkpoint_steps=2
)


def test_no_examples(make_student, tmp_path):
    with pytest.raises(EmptyPileError, match="no example reached training"):
        fit(make_student(), [], weighted_nll(), SETTINGS, tmp_path, show_progress=False)


def test_another_tokenizer(make_student, make_examples, tmp_path):
    student = make_student()
    example = replace(make_examples(student, 1)[0], tokenizer_hash="other")
    with pytest.raises(StudentError, match="'example 0' was made with another tokenizer"):
        fit(student, [example], weighted_nll(), SETTINGS, tmp_path, show_progress=False)


def test_longer_than_the_context(make_student, make_examples, tmp_path):
    student = make_student()
    example = make_examples(student, 1)[0]
    long = replace(example, prompt_ids=(5,) * 130, weights=(0.0,) * 130 + (1.0,) * len(example.target_ids))
    with pytest.raises(StudentError, match="'example 0' is longer than the student's context: prompt 130"):
        fit(student, [long], weighted_nll(), SETTINGS, tmp_path, show_progress=False)


def test_longer_than_a_side_of_an_encoder_decoder_with_positions(make_student, make_examples, tmp_path):
    student = make_student("bart")
    (example,) = make_examples(student, 1)
    target = len(example.target_ids)
    fits, long = (
        replace(example, prompt_ids=(5,) * prompt, weights=(0.0,) * prompt + (1.0,) * target) for prompt in (128, 129)
    )
    student.check([fits])
    with pytest.raises(StudentError, match=r"prompt 129 .* 128 fit on either side"):
        fit(student, [long], weighted_nll(), SETTINGS, tmp_path, show_progress=False)


def test_a_step_with_nothing_to_learn(make_student, make_examples, tmp_path):
    student = make_student()
    examples = [replace(e, weights=(0.0,) * len(e.weights)) for e in make_examples(student, 4)]
    with pytest.raises(DataError, match="step 1 has nothing to learn: all weights of its 4 examples are 0"):
        fit(student, examples, weighted_nll(), SETTINGS, tmp_path, show_progress=False)


def test_a_folder_of_another_run(make_student, make_examples, tmp_path):
    examples = make_examples(make_student(), 8)
    fit(make_student(), examples, weighted_nll(), SETTINGS, tmp_path, show_progress=False)
    other = SETTINGS.model_copy(update={"learning_rate": 1e-5})
    with pytest.raises(SettingsError, match="other settings, examples or weights"):
        fit(make_student(), examples, weighted_nll(), other, tmp_path, show_progress=False)
    relaxed = SETTINGS.model_copy(update={"log_steps": 5})
    assert fit(make_student(), examples, weighted_nll(), relaxed, tmp_path, show_progress=False).steps == 6


def test_other_weights_validation_or_adapter_is_another_run(make_student, make_examples, tmp_path):
    examples = make_examples(make_student(), 8)
    doubled = [replace(e, weights=tuple(2 * weight for weight in e.weights)) for e in examples]

    def run(learnt, validation, *, lora=False):
        student = make_student(lora=lora)
        fit(student, learnt, weighted_nll(), SETTINGS, tmp_path, validation=validation, show_progress=False)

    run(examples[:6], examples[6:])
    for learnt, validation, lora in (
        (doubled[:6], examples[6:], False),
        (examples[:6], doubled[6:], False),
        (examples[:6], (), False),
        (examples[:6], examples[6:], True),
    ):
        with pytest.raises(SettingsError, match="other settings, examples or weights"):
            run(learnt, validation, lora=lora)


def test_a_damaged_checkpoint(make_student, make_examples, tmp_path):
    examples = make_examples(make_student(), 8)
    fit(make_student(), examples, weighted_nll(), SETTINGS, tmp_path, show_progress=False)
    newest = max(tmp_path.glob("checkpoint-*"))
    (newest / "state.pt").write_bytes(b"half")
    with pytest.raises(StorageError, match="is damaged"):
        fit(make_student(), examples, weighted_nll(), SETTINGS, tmp_path, show_progress=False)
    (newest / "progress.json").write_text('{"version": 99}')
    with pytest.raises(StorageError, match="version 99"):
        fit(make_student(), examples, weighted_nll(), SETTINGS, tmp_path, show_progress=False)


def test_a_folder_that_cannot_be_written(make_student, make_examples, tmp_path):
    student = make_student()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="make room or name another folder"):
        fit(student, make_examples(student), weighted_nll(), SETTINGS, tmp_path / "file" / "run", show_progress=False)


def test_packing_an_encoder_decoder_is_refused(make_student, make_examples, tmp_path):
    student = make_student("t5")
    settings = SETTINGS.model_copy(update={"rows": "packed"})
    with pytest.raises(SettingsError, match="rows: padded"):
        fit(student, make_examples(student), weighted_nll(), settings, tmp_path, show_progress=False)


def test_a_frozen_student_is_refused(make_student, make_examples, tmp_path):
    student = make_student()
    student.model.requires_grad_(False)
    with pytest.raises(StudentError, match="no trainable weights"):
        fit(student, make_examples(student), weighted_nll(), SETTINGS, tmp_path, show_progress=False)
