"""NEG to ASC on a student of real size with random weights: does it run, how fast, in what memory.

    python benchmarks/tdg_large.py  # Qwen2-0.5B's shape on the CPU: minutes a step
    python benchmarks/tdg_large.py --device cuda --precision bf16 --steps 20 --vocabulary 151936
    python benchmarks/tdg_large.py --hidden 64 --layers 2 --vocabulary 500  # a smoke run

A recipe on lab problems is run from end to end (method nat; baselines plain LoRA, NCE, ASC). Tokens per second are
those of each training, prompts included, as its own metrics have them; nothing learnt here is worth anything.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from io import StringIO
from pathlib import Path
from typing import Any

RECIPE = """\
# A student of real size, random weights.
name: tdg-large
task: {{name: lab, train: {problems}, test: 4}}
teacher: {{source: lab}}
sampling: {{n: 4, max_tokens: 200}}
decontaminate: null
student:
  model: {student}
  adapter: {{kind: lora, dropout: 0.05, modules: [q_proj, v_proj]}}
method: {{name: nat}}
baselines:
  - {{name: plain_cot}}
  - {{name: nce}}
  - {{name: asc, own: 1, epochs: 1, samples: 4}}
train: {{max_steps: {steps}, batch_examples: 4, log_steps: 1, precision: {precision}}}
exam: {{limit: 2, max_tokens: 16}}
device: {device}
"""


def write_student(folder: Path, options: argparse.Namespace) -> int:
    """Random weights of Qwen2's shape, the lab's words in its tokenizer; returns the number of parameters."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from feints.lab.nano import nano_tokenizer

    tokenizer = nano_tokenizer()
    heads = max(2, options.hidden // 64)
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=max(options.vocabulary, len(tokenizer)),
            hidden_size=options.hidden,
            intermediate_size=options.hidden * 4864 // 896,
            num_hidden_layers=options.layers,
            num_attention_heads=heads,
            num_key_value_heads=2,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            max_position_embeddings=4096,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


def trainings(run: Path) -> dict[str, dict[str, Any]]:
    """The last line of metrics of each training of a run."""
    found = {}
    for path in sorted(run.glob("4_student/*/training/metrics.jsonl")):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        found[path.parents[1].name.rpartition("-")[0]] = [line for line in lines if line["kind"] == "train"][-1]
    return found


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hidden", type=int, default=896)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--problems", type=int, default=12)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--scratch", default=None, help="where about seven copies of the weights find room")
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    from rich.console import Console

    from feints.pipeline import run_recipe
    from feints.recipe import load_recipe

    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        here = Path(scratch)
        count = write_student(here / "student", options)
        (here / "recipe.yaml").write_text(RECIPE.format(student=here / "student", **vars(options)), encoding="utf-8")
        started = time.perf_counter()
        run_recipe(load_recipe(here / "recipe.yaml"), here / "run", Console(file=StringIO()))
        seconds = time.perf_counter() - started
        print(f"{count / 1e6:,.0f}M parameters, {options.device} {options.precision}: {seconds:,.0f} s from end to end")
        for name, last in trainings(here / "run").items():
            # A toy's only step is over in no measurable time.
            speed = last["tokens"] / last["seconds"] if last["seconds"] else float("nan")
            print(f"  {name:28} {speed:9,.0f} tokens/s  loss {last['loss']:.3f}")
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    print(f"peak resident {int(line.split()[1]) / 2**20:,.1f} GiB")
    if options.device == "cuda":
        print(f"peak on the device {torch.cuda.max_memory_allocated() / 2**30:,.1f} GiB")


if __name__ == "__main__":
    main()
