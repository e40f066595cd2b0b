"""Our side of the training benchmark: supervised fine-tuning, and direct preference optimisation."""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from training.cases import BATCH, BETA, held_out_loss, make_examples, make_model, make_pairs, measured, preference


def example(number: int, prompt: Sequence[int], target: Sequence[int], **more: Any) -> Any:
    """An example that learns its whole target."""
    from feints.records import Example

    return Example(
        id=f"{number} {more.get('role', '')}",
        problem_id=str(number),
        rationale_id="",
        prompt_ids=tuple(prompt),
        target_ids=tuple(target),
        weights=(0.0,) * len(prompt) + (1.0,) * len(target),
        tokenizer_hash="benchmark",
        **more,
    )


def pair_examples(pairs: Sequence[tuple[list[int], list[int], list[int]]]) -> list[Any]:
    """Both texts of each pair, in one group."""
    from feints.records import Role

    return [
        example(number, prompt, text, group=str(number), role=role)
        for number, (prompt, right, wrong) in enumerate(pairs)
        for role, text in ((Role.RIGHT, right), (Role.WRONG, wrong))
    ]


def run(task: str, case: dict[str, Any], rows: str, steps: int, threads: int, micro_tokens: int) -> dict[str, float]:
    """Train with feints."""
    import torch

    from feints.train.loop import fit
    from feints.train.losses import weighted_nll
    from feints.train.losses_edit import dpo
    from feints.train.settings import TrainSettings
    from feints.train.student import Student, StudentSettings

    torch.set_num_threads(threads)
    renderer: Any = SimpleNamespace(tokenizer_hash="benchmark", chat=False)
    settings = StudentSettings(model="none")
    student = Student(make_model(case), renderer, seq2seq=False, settings=settings, identity="benchmark")
    if task == "dpo":
        reference = copy.deepcopy(student.model)
        examples = pair_examples(make_pairs(case, BATCH // 2 * steps, 1))
        loss = dpo(lambda: reference, BETA)
    else:
        examples = [example(n, *texts) for n, texts in enumerate(make_examples(case, BATCH * steps, 1))]
        loss = weighted_nll()
    train = TrainSettings(
        batch_examples=BATCH,
        learning_rate=1e-3,
        schedule="constant",
        clip_norm=1.0,
        rows=rows,  # type: ignore[arg-type]
        micro_tokens=micro_tokens or TrainSettings.model_fields["micro_tokens"].default,
    )
    marks: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        fit(
            student,
            examples,
            loss,
            train,
            Path(folder) / "run",
            on_step=lambda _: marks.append((time.perf_counter(), time.process_time())),
            show_progress=False,
        )
    tokens = sum(len(one.prompt_ids) + len(one.target_ids) for one in examples)
    if task == "dpo":
        return measured(tokens, marks, lambda: preference(student.model, case, BETA))
    return measured(tokens, marks, lambda: held_out_loss(student.model, case))
