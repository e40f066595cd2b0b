"""The mean of several students' weights as one student (model soups, Wortsman et al., 2022). Torch-side."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from feints.errors import SettingsError, StorageError
from feints.train.checkpoint import storage_errors
from feints.train.difference import tensor_places


def mean_tensors(files: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of the tensors of several files, summed in float32; each file holds the same names.

    Raises:
        StorageError: a file is missing or damaged.
    """
    try:
        with safe_open(files[-1], framework="pt") as tensors:
            names = list(tensors.keys())
        return {name: _mean(files, files, name) for name in names}
    except (OSError, SafetensorError) as error:
        raise StorageError(
            f"weights to be averaged cannot be read ({error}); remove the folder to train again"
        ) from error


def write_mean(students: Sequence[Path], folder: Path) -> None:
    """Write the student whose every weight is the mean, summed in float32, of those in the folders `students`.

    Tokenizer, configuration and names of files are those of the last one; what lies in `folder` is replaced. One tensor
    of each student is in memory at a time, and one file of the mean.

    Raises:
        SettingsError: the students hold other tensors, or tensors of other shapes.
        StorageError: the folder cannot be written.
    """
    places = [tensor_places(student) for student in students]
    for student, there in zip(students, places, strict=True):
        if set(there) != set(places[-1]):
            other = sorted(set(there) ^ set(places[-1]))[0]
            raise SettingsError(f"{student} and {students[-1]} have no mean: {other} is in one of them only")
    with storage_errors("the mean student", folder):
        shutil.rmtree(folder, ignore_errors=True)  # what a killed run left half done
        shutil.copytree(students[-1], folder)
        for file in sorted(set(places[-1].values())):
            names = [name for name, place in places[-1].items() if place == file]
            tensors = {name: _mean(students, [there[name] for there in places], name) for name in names}
            save_file(tensors, folder / file.name, metadata={"format": "pt"})


def _mean(students: Sequence[Path], files: Sequence[Path], name: str) -> Tensor:
    first = _read(files[0], name)
    total = first.float()
    for student, file in zip(students[1:], files[1:], strict=True):
        one = _read(file, name)
        if one.shape != total.shape:
            here, there = tuple(one.shape), tuple(total.shape)
            raise SettingsError(f"{student} and {students[0]} have no mean: {name} is {here} here and {there} there")
        total = total + one
    return (total / len(students)).to(first.dtype)


def _read(file: Path, name: str) -> Tensor:
    with safe_open(file, framework="pt") as tensors:
        found: Tensor = tensors.get_tensor(name)
    return found
