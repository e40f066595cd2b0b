"""Training speed beside TRL's SFTTrainer: tokens per second, peak memory and final loss, in one run.

    pip install trl        # in an environment of its own, or into a folder named with --trl
    python benchmarks/train_speed.py --case large --rounds 3 --trl /path/to/folder

Every measurement is a process of its own, sides alternate, and the ratio is paired: ours over TRL's best setting of the
same round. Both train the same model on the same examples, with the same examples an optimiser step, for the same
steps; speed counts real tokens (padding is nobody's merit) after a warm-up step; both final losses are measured by
the same function on the same held-out examples.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

CASES: dict[str, dict[str, Any]] = {
    "large": {"vocabulary": 32_000, "hidden": 256, "inner": 704, "layers": 4, "heads": 4, "lengths": (60, 300)},
    "nano": {"vocabulary": 512, "hidden": 128, "inner": 384, "layers": 4, "heads": 4, "lengths": (40, 160)},
}
TRL_SETTINGS = ("padded@2", "grouped@4", "grouped", "packed")
"""Its ways of making rows; after the @ the rows of one forward pass, accumulated to the same batch."""
BATCH, WARM, PROMPT_SHARE = 16, 1, 0.4


def make_examples(case: dict[str, Any], count: int, seed: int) -> list[tuple[list[int], list[int]]]:
    """Texts of a Markov chain over a Zipf vocabulary: something to learn, 40 % of it prompt."""
    import numpy as np

    random = np.random.default_rng(seed)
    vocabulary = case["vocabulary"]
    shares = 1.0 / np.arange(10, vocabulary)
    shares /= shares.sum()
    successor = np.random.default_rng(7).permutation(np.arange(10, vocabulary))
    examples = []
    for _ in range(count):
        low, high = case["lengths"]
        length = int(np.clip(random.lognormal(np.log((low * high) ** 0.5), 0.5), low, high))
        drawn = random.choice(np.arange(10, vocabulary), size=length, p=shares)
        for place in range(1, length):
            if random.random() < 0.5:
                drawn[place] = successor[drawn[place - 1] - 10]
        cut = int(length * PROMPT_SHARE)
        examples.append((drawn[:cut].tolist(), [*drawn[cut:-1].tolist(), 2]))
    return examples


def make_model(case: dict[str, Any]) -> Any:
    """A Llama-style student with random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=case["vocabulary"],
            hidden_size=case["hidden"],
            intermediate_size=case["inner"],
            num_hidden_layers=case["layers"],
            num_attention_heads=case["heads"],
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )


def held_out_loss(model: Any, case: dict[str, Any]) -> float:
    """Nats per target token of 64 unseen texts."""
    import torch

    model.eval()
    total = tokens = 0.0
    with torch.no_grad():
        for prompt, target in make_examples(case, 64, 99):
            ids = torch.tensor([prompt + target])
            logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].float()
            total += float(torch.nn.functional.cross_entropy(logits, ids[0, len(prompt) :], reduction="sum"))
            tokens += len(target)
    return total / tokens


def run_ours(case: dict[str, Any], setting: str, steps: int, threads: int) -> dict[str, float]:
    """Train with feints."""
    import torch

    from feints.records import Example
    from feints.train.loop import fit
    from feints.train.losses import weighted_nll
    from feints.train.settings import TrainSettings
    from feints.train.student import Student, StudentSettings

    torch.set_num_threads(threads)
    renderer: Any = SimpleNamespace(tokenizer_hash="benchmark", chat=False)
    student = Student(
        make_model(case), renderer, seq2seq=False, settings=StudentSettings(model="none"), identity="benchmark"
    )
    examples = [
        Example(
            id=str(number),
            problem_id=str(number),
            rationale_id="",
            prompt_ids=tuple(prompt),
            target_ids=tuple(target),
            weights=(0.0,) * len(prompt) + (1.0,) * len(target),
            tokenizer_hash="benchmark",
        )
        for number, (prompt, target) in enumerate(make_examples(case, BATCH * steps, 1))
    ]
    settings = TrainSettings(
        batch_examples=BATCH,
        learning_rate=1e-3,
        schedule="constant",
        clip_norm=1.0,
        rows=setting,  # type: ignore[arg-type]
        micro_tokens=MICRO or TrainSettings.model_fields["micro_tokens"].default,
    )
    marks: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        fit(
            student,
            examples,
            weighted_nll(),
            settings,
            Path(folder) / "run",
            on_step=lambda _: marks.append((time.perf_counter(), time.process_time())),
            show_progress=False,
        )
    return measured(student.model, case, examples_tokens(case, steps), marks, steps)


def run_trl(case: dict[str, Any], setting: str, steps: int, threads: int) -> dict[str, float]:
    """Train with TRL."""
    import torch
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(threads)
    words = {f"w{number}": number for number in range(case["vocabulary"])}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="w3")),
        pad_token="w0",
        bos_token="w1",
        eos_token="w2",
        unk_token="w3",
    )
    rows = [
        {"input_ids": prompt + target, "completion_mask": [0] * len(prompt) + [1] * len(target)}
        for prompt, target in make_examples(case, BATCH * steps, 1)
    ]
    setting, _, rows_at_once = setting.partition("@")
    micro = int(rows_at_once or BATCH)
    extra: dict[str, Any] = {}
    if setting == "grouped":
        extra = {"train_sampling_strategy": "group_by_length"}
    if setting == "packed":
        average = sum(len(row["input_ids"]) for row in rows) / len(rows)
        width = case["lengths"][1] * 2
        micro = max(1, round(BATCH * average / width))
        extra = {"packing": True}
    settings = SFTConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=max(1, BATCH // micro) if setting != "packed" else 1,
        max_length=case["lengths"][1] * (2 if setting == "packed" else 1),
        num_train_epochs=1,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        optim="adamw_torch_fused",
        weight_decay=0.0,
        max_grad_norm=1.0,
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        logging_steps=10,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        completion_only_loss=True,
        dataset_kwargs={"skip_prepare_dataset": False},
        **extra,
    )
    marks: list[tuple[float, float]] = []

    class Marks(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            marks.append((time.perf_counter(), time.process_time()))

    trainer = SFTTrainer(
        model=make_model(case),
        args=settings,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[Marks()],
    )
    trainer.train()
    return measured(trainer.model, case, examples_tokens(case, steps), marks, steps)


def examples_tokens(case: dict[str, Any], steps: int) -> int:
    """Real tokens of one run."""
    return sum(len(prompt) + len(target) for prompt, target in make_examples(case, BATCH * steps, 1))


def measured(
    model: Any, case: dict[str, Any], tokens: int, marks: list[tuple[float, float]], steps: int
) -> dict[str, float]:
    """What one process reports."""
    wall, work = (marks[-1][0] - marks[WARM - 1][0], marks[-1][1] - marks[WARM - 1][1])
    counted = tokens * (len(marks) - WARM) / len(marks)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "tokens_per_second": counted / wall,
        "tokens_per_cpu_second": counted / work,
        "peak_mib": peak,
        "loss": held_out_loss(model, case),
        "steps": len(marks),
    }


def child(side: str, setting: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Run one side in a process of its own."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(arguments.threads),
        "PYTHONPATH": arguments.trl if side == "trl" else "",
        "TOKENIZERS_PARALLELISM": "false",
    }
    command = [sys.executable, "-W", "ignore", __file__, "--side", side, "--setting", setting]
    for name in ("case", "steps", "threads", "micro_tokens"):
        command += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{side} {setting} failed:\n{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    """Alternate the sides and print paired ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=CASES, default="large")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--trl", default="", help="folder that holds trl, when it is not in this environment")
    parser.add_argument("--trl-settings", default=",".join(TRL_SETTINGS))
    parser.add_argument("--rows", default="packed")
    parser.add_argument("--micro-tokens", type=int, default=0)
    parser.add_argument("--side", choices=("ours", "trl"))
    parser.add_argument("--setting", default="packed")
    arguments = parser.parse_args()
    if arguments.side:
        global MICRO
        MICRO = arguments.micro_tokens
        run = run_ours if arguments.side == "ours" else run_trl
        print(json.dumps(run(CASES[arguments.case], arguments.setting, arguments.steps, arguments.threads)))
        return
    ratios: dict[str, list[float]] = {"tokens_per_second": [], "tokens_per_cpu_second": []}
    for round_number in range(arguments.rounds):
        results = {"ours": child("ours", arguments.rows, arguments)}
        for setting in arguments.trl_settings.split(","):
            results[f"trl {setting}"] = child("trl", setting, arguments)
        for name, found in results.items():
            print(round_number, f"{name:12}", {key: round(value, 3) for key, value in found.items()}, flush=True)
        for key, values in ratios.items():
            values.append(results["ours"][key] / max(v[key] for k, v in results.items() if k != "ours"))
    for key, values in ratios.items():
        print(f"ratio of {key}: median {statistics.median(values):.2f}, all {[round(v, 2) for v in values]}")


MICRO = 0

if __name__ == "__main__":
    main()
