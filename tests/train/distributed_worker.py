"""Run by test_distributed.py on each rank: fit a tiny student and write its weights."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import torch

from feints.train.loop import fit
from feints.train.losses import weighted_nll
from feints.train.settings import StudentSettings, TrainSettings
from feints.train.student import Student


def main() -> None:
    folder, kind, stop = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(1)
    model, examples, settings = pickle.loads((folder / "data").read_bytes())
    student = Student.load(StudentSettings.model_validate(model))

    def on_step(report):  # type: ignore[no-untyped-def]
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
        torch.save({"state": state, "validation": list(result.validation), "loss": result.loss}, folder / f"{kind}.pt")
        student.save(folder / f"{kind}-student")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
