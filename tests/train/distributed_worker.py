"""Run by test_distributed.py on each rank: fit a tiny student, write the first step's gradients and its weights."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import torch
from torch.distributed.tensor import DTensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from feints.train.loop import fit
from feints.train.losses import weighted_nll
from feints.train.settings import StudentSettings, TrainSettings
from feints.train.student import Student


def main() -> None:
    folder, kind, stop = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(1)
    model, examples, settings = pickle.loads((folder / "data").read_bytes())
    student = Student.load(StudentSettings.model_validate(model))
    place = folder / f"{kind}-gradients.pt"
    gradients = [] if place.exists() else record_first_gradients()  # a resumed run begins at a later step

    def keep_gradients() -> None:
        if os.environ["RANK"] == "0" and not place.exists():
            torch.save(gradients, place)

    def on_step(report):  # type: ignore[no-untyped-def]
        keep_gradients()
        if report.step == stop:
            os._exit(3)

    result = fit(
        student,
        examples,
        weighted_nll(),
        TrainSettings.model_validate(settings),
        folder / kind,
        validation=examples[:3],
        on_step=on_step,
    )
    if os.environ["RANK"] == "0":
        state = {name: tensor.clone() for name, tensor in student.model.state_dict().items()}
        found = {"state": state, "validation": list(result.validation), "loss": result.loss}
        torch.save(found, folder / f"{kind}.pt")
        student.save(folder / f"{kind}-student")
    torch.distributed.destroy_process_group()


def record_first_gradients() -> list[torch.Tensor]:
    """A list that the optimiser's first step fills with the whole gradient of each tensor, as it meets them.

    Weights alone would say little: AdamW moves them alike whatever a gradient is multiplied by.
    """
    found: list[torch.Tensor] = []

    def look(optimizer, *_):  # type: ignore[no-untyped-def]
        handle.remove()
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                whole = gradient.full_tensor() if isinstance(gradient, DTensor) else gradient
                found.append(whole.detach().clone())

    handle = register_optimizer_step_pre_hook(look)
    return found


if __name__ == "__main__":
    main()
