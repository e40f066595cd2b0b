"""TRL's side of the training benchmark, run in TRL's own environment: SFTTrainer and DPOTrainer."""

from __future__ import annotations

import tempfile
import time
from typing import Any

from training.cases import BATCH, BETA, held_out_loss, make_examples, make_model, make_pairs, measured, preference


def word_tokenizer(vocabulary: int) -> Any:
    """A tokenizer of words w0, w1, ..., so that any ids can be written as text."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {f"w{number}": number for number in range(vocabulary)}
    backend = Tokenizer(models.WordLevel(words, unk_token="w3"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="w0", bos_token="w1", eos_token="w2", unk_token="w3"
    )


def common(micro: int, **more: Any) -> dict[str, Any]:
    """Settings of both trainers, those of ours: AdamW at a constant rate, clipped, nothing saved or reported."""
    return {
        "output_dir": tempfile.mkdtemp(),
        "per_device_train_batch_size": micro,
        "num_train_epochs": 1,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "optim": "adamw_torch_fused",
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "bf16": False,
        "use_cpu": True,
        "gradient_checkpointing": False,
        "logging_steps": 10,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        **more,
    }


def marks_callback(marks: list[tuple[float, float]]) -> Any:
    """Notes the clock and the computing time at the end of every step, a GPU's work included."""
    import torch
    from transformers import TrainerCallback

    class Marks(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            marks.append((time.perf_counter(), time.process_time()))

    return Marks()


def sft(
    case: dict[str, Any], setting: str, steps: int, model: Any = None, **overrides: Any
) -> tuple[Any, int, list[tuple[float, float]]]:
    """Its supervised trainer; the trained model, the real tokens, the clock. `+chunked` asks for its chunked loss."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    batch = case.get("batch", BATCH)
    examples = make_examples(case, batch * steps, 1)
    rows = [
        {"input_ids": prompt + target, "completion_mask": [0] * len(prompt) + [1] * len(target)}
        for prompt, target in examples
    ]
    setting, _, loss = setting.partition("+")
    setting, _, rows_at_once = setting.partition("@")
    micro = int(rows_at_once or batch)
    tokens = sum(len(row["input_ids"]) for row in rows)
    longest = case["lengths"][1]
    extra: dict[str, Any] = {"gradient_accumulation_steps": max(1, batch // micro), "max_length": longest}
    if setting == "grouped":
        extra["train_sampling_strategy"] = "group_by_length"
    if setting == "packed":
        micro = max(1, round(batch * tokens / len(rows) / (2 * longest)))
        extra = {"gradient_accumulation_steps": 1, "max_length": 2 * longest, "packing": True}
    if loss == "chunked":
        extra["loss_type"] = "chunked_nll"
    marks: list[tuple[float, float]] = []
    trainer = SFTTrainer(
        model=make_model(case) if model is None else model,
        args=SFTConfig(
            **common(micro, **extra, **overrides),
            completion_only_loss=True,
            dataset_kwargs={"skip_prepare_dataset": False},
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=word_tokenizer(case["vocabulary"]),
        callbacks=[marks_callback(marks)],
    )
    trainer.train()
    return trainer.model, tokens, marks


def dpo(case: dict[str, Any], setting: str, steps: int) -> tuple[Any, int, list[tuple[float, float]]]:
    """Its trainer of direct preference optimisation; the trained model, the real tokens, the clock."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    pairs = BATCH // 2
    drawn = make_pairs(case, pairs * steps, 1)

    def words(ids: list[int]) -> str:
        return " ".join(f"w{number}" for number in ids)

    # Its tokenization adds the end of sequence to both answers; ours holds it already.
    rows = [
        {"prompt": words(prompt), "chosen": " " + words(right[:-1]), "rejected": " " + words(wrong[:-1])}
        for prompt, right, wrong in drawn
    ]
    micro = int(setting.partition("@")[2] or pairs)
    marks: list[tuple[float, float]] = []
    trainer = DPOTrainer(
        model=make_model(case),
        ref_model=make_model(case),
        args=DPOConfig(
            **common(micro, gradient_accumulation_steps=pairs // micro), beta=BETA, max_length=case["lengths"][1] + 8
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=word_tokenizer(case["vocabulary"]),
        callbacks=[marks_callback(marks)],
    )
    trainer.train()
    return trainer.model, sum(2 * len(p) + len(r) + len(w) for p, r, w in drawn), marks


def run(task: str, case: dict[str, Any], setting: str, steps: int, threads: int) -> dict[str, float]:
    """Train with TRL."""
    import torch

    torch.set_num_threads(threads)
    model, tokens, marks = (dpo if task == "dpo" else sft)(case, setting, steps)
    if task == "dpo":
        return measured(tokens, marks, lambda: preference(model, case, BETA))
    return measured(tokens, marks, lambda: held_out_loss(model, case))
