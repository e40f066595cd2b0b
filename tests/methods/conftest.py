"""The random students and examples of the training tests, for the losses that live in method files."""

from __future__ import annotations

from tests.methods.edit_bench import edited
from tests.methods.rounds_bench import pupil, run, teacher
from tests.train.conftest import (
    assert_same,
    make_examples,
    make_student,
    naive_gradients,
    one_thread,
    step_gradients,
    student_folder,
)

__all__ = [
    "assert_same",
    "edited",
    "make_examples",
    "make_student",
    "naive_gradients",
    "one_thread",
    "pupil",
    "run",
    "step_gradients",
    "student_folder",
    "teacher",
]
