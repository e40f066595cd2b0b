"""The one training loop: it knows modules, batches and a loss, and no method."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState
from accelerate.utils import gather_object
from torch import Tensor

from feints.errors import DataError, SettingsError, StudentError
from feints.generate.anatomy import decoder_start, padding_of
from feints.records import Example, content_hash
from feints.train.attention import restore_attention, texts_stay_apart, use_packed_attention
from feints.train.batch import Batcher, Step, Units
from feints.train.checkpoint import (
    Progress,
    generators_left_alone,
    is_sharded,
    load_optimizer_state,
    load_random_state,
    load_tensors,
    load_trainable_state,
    optimizer_state,
    random_state,
    read_progress,
    read_tensors,
    save_tensors,
    storage_errors,
    trainable_state,
    write_checkpoint,
)
from feints.train.head import inner_model
from feints.train.losses import Loss
from feints.train.mean import mean_tensors
from feints.train.metrics import FitResult, MetricsFile, StepReport, Sums, TrainProgress, readable
from feints.train.optimizer import hold_as_before, hold_in_full, make_optimizer
from feints.train.rows import Layout, Rows
from feints.train.settings import TrainSettings, deciding
from feints.train.sharding import gathered, skeleton
from feints.train.student import Student
from feints.train.trackers import make_accelerator

METRICS_FILE = "metrics.jsonl"
BEST_FILE, EPOCH_FILE = "best.safetensors", "epoch-{}.safetensors"


def fit(
    student: Student,
    examples: Sequence[Example],
    loss: Loss,
    settings: TrainSettings,
    folder: Path,
    *,
    validation: Sequence[Example] = (),
    on_step: Callable[[StepReport], None] | None = None,
    show_progress: bool = True,
    device: str | None = None,
) -> FitResult:
    """Train `student` in place; `folder` gets metrics, checkpoints and the kept weights.

    `device` is a GPU, or "cpu", which keeps it off a GPU that is there; None lets Accelerate choose, a GPU before the
    processor. What learns is held in float32 meanwhile and left in the precision it came in.

    Called again with the same arguments after a crash, it goes on where the newest checkpoint in `folder` stands, and
    ends bit for bit where an uninterrupted run ends. Called again after the end, it only loads the kept weights.

    Raises:
        EmptyPileError: there are no examples.
        DataError: an example cannot be learnt, or a step has only weights of 0.
        StudentError: the examples were made with another tokenizer or do not fit; the loss is no finite number.
        SettingsError: `folder` belongs to another run, or the student cannot be packed as asked.
        StorageError: the disk refuses, or a checkpoint is damaged.
    """
    student.check([*examples, *validation])
    with ExitStack() as stack:
        stack.enter_context(generators_left_alone())
        stack.callback(AcceleratorState._reset_state, False)
        run = _Run(student, examples, validation, loss, settings, folder, device)
        stack.callback(run.close)
        return run.fit(on_step, show_progress)


class _Run:
    """One run: what lives as long as a call of `fit`."""

    def __init__(
        self,
        student: Student,
        examples: Sequence[Example],
        validation: Sequence[Example],
        loss: Loss,
        settings: TrainSettings,
        folder: Path,
        device: str | None,
    ) -> None:
        self.student, self.loss, self.settings, self.folder = student, loss, settings, folder
        self.accelerator = make_accelerator(settings, folder, device)
        layout = self._layout()
        self.batcher = Batcher(examples, layout)
        self.validation = Batcher(validation, layout) if validation else None
        self._dtypes = hold_in_full(student.model)
        self._skeleton = skeleton(student.model) if self.accelerator.distributed_type == "FSDP" else None
        optimizer = make_optimizer(student.model, settings, sharded=self._skeleton is not None)
        self.model, self.optimizer = self.accelerator.prepare(student.model, optimizer)
        self._held = self.model if is_sharded(self.model) else student.model
        self.epochs = self._count_steps()
        self.steps = sum(self.epochs)
        kept = deciding(settings).model_dump(
            exclude={"log_steps", "checkpoint_seconds", "checkpoint_steps", "trackers"}
        )
        self.progress = Progress(
            fingerprint=content_hash(
                kept,
                student.identity,
                student.settings.adapter.model_dump(),
                self.batcher.fingerprint(),
                self.validation.fingerprint() if self.validation else "",
            )
        )
        self._saved_at = time.monotonic()
        self._models = 1  # that read a text in training, as the last batch showed

    # -------------------------------------------------------------------------------------------------- setting up

    def _layout(self) -> Layout:
        config = self.student.model.config
        start = decoder_start(inner_model(self.student.model)) if self.student.seq2seq else 0
        rows: Rows = "padded"
        if not self.student.seq2seq and self.settings.rows != "padded":
            rows = "packed" if self._can_pack() else "padded"
        elif self.settings.rows == "packed":
            raise SettingsError("an encoder-decoder cannot be packed; set rows: padded")
        pad = padding_of(config)
        pad = pad or 0 if self.student.seq2seq else 0 if pad else 1
        return Layout(
            rows=rows, micro_tokens=self.settings.micro_tokens, seq2seq=self.student.seq2seq, pad_id=pad, start_id=start
        )

    def _can_pack(self) -> bool:
        try:
            use_packed_attention(inner_model(self.student.model))
        except SettingsError:
            if self.settings.rows == "packed":
                raise
            return False
        if texts_stay_apart(inner_model(self.student.model)):
            return True
        restore_attention(inner_model(self.student.model))
        if self.settings.rows == "packed":
            raise SettingsError("this student lets packed texts see each other; set rows: padded")
        return False

    def _count_steps(self) -> list[int]:
        """Steps of each epoch."""
        counts: list[int] = []
        limit = self.settings.max_steps
        while len(counts) < self.settings.epochs if limit is None else sum(counts) < limit:
            counts.append(len(self._epoch(len(counts))))
        if limit is not None:
            counts[-1] -= sum(counts) - limit
        return counts

    def _epoch(self, epoch: int) -> list[Units]:
        return self.batcher.epoch(epoch, seed=self.settings.seed, **self.settings.batch_size)

    def close(self) -> None:
        """Give the student back as it came, but for its weights."""
        for tracker in self.accelerator.trackers:
            tracker.finish()
        if self._skeleton is None:
            self.student.model = self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
            restore_attention(inner_model(self.student.model))
        self.student.model.zero_grad(set_to_none=True)
        hold_as_before(self.student.model, self._dtypes)
        self.student.model.eval()

    # -------------------------------------------------------------------------------------------------- the loop

    def fit(self, on_step: Callable[[StepReport], None] | None, show: bool) -> FitResult:
        """Train from where the newest checkpoint stands to the end, then take the weights that are kept."""
        torch.manual_seed(_dropout_seed(self.settings.seed, self.accelerator.process_index))
        self._resume()
        progress = self.progress
        ended = progress.epoch == len(self.epochs)  # the checkpoint is that of the end
        show = show and self.accelerator.is_main_process
        self.metrics = MetricsFile(self.folder / METRICS_FILE, progress.metrics_bytes) if self._main else None
        began, before = time.monotonic(), progress.seconds
        with TrainProgress(self.steps, progress.step, show=show) as bar:
            while progress.epoch < len(self.epochs):
                plan = self._epoch(progress.epoch)
                last = self.epochs[progress.epoch]
                while progress.step_in_epoch < last:
                    report = self._step(self.batcher.step(plan[progress.step_in_epoch]), bar)
                    progress.seconds = before + time.monotonic() - began
                    if on_step is not None:
                        on_step(report)
                    self._checkpoint(force=False)
                self._end_epoch()
                progress.seconds = before + time.monotonic() - began
            if not ended:
                self._checkpoint(force=True)
        self._take_best()
        return FitResult(
            steps=progress.step,
            epochs=len(self.epochs),
            best_epoch=None if self.settings.averaged(len(self.epochs)) else progress.best_epoch,
            loss=progress.last_loss,
            validation=tuple(progress.validation),
            tokens=progress.tokens,
            seconds=progress.seconds,
            metrics=self.folder / METRICS_FILE,
        )

    def _step(self, step: Step, bar: TrainProgress) -> StepReport:
        """One optimiser step: every micro-batch forward and backward, then the optimiser."""
        progress, settings = self.progress, self.settings
        if not step.counts.weighted_tokens:
            first = self.batcher.examples[step.micro[0][0]].id
            raise DataError(
                f"step {progress.step + 1} has nothing to learn: all weights of its {step.counts.examples} examples "
                f"are 0 (the first is {first!r}); leave such examples out or make the batch larger"
            )
        self.model.train()
        totals, names = self._forward_backward(self.batcher, step)
        value = sum(totals[: len(names)])
        if not math.isfinite(value):
            terms = ", ".join(f"{name} {total:g}" for name, total in zip(names, totals, strict=False))
            raise StudentError(
                f"the loss of step {progress.step + 1} is not a finite number ({terms}); the weights of the last "
                f"checkpoint in {self.folder} are untouched: lower the learning rate or look at that step's weights"
            )
        norm = self._clip()
        rate = settings.rate(progress.step, self.steps, progress.epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        progress.step += 1
        progress.step_in_epoch += 1
        tokens = self.batcher.tokens_of(step)
        progress.tokens += tokens
        progress.target_tokens += step.counts.target_tokens
        progress.passes += step.counts.examples * self._models
        self._log(names, totals, norm, rate)
        bar.advance(tokens, value)
        return StepReport(
            step=progress.step, steps=self.steps, epoch=progress.epoch + 1, loss=value, gradient_norm=norm
        )

    def _forward_backward(
        self, batcher: Batcher, step: Step, *, learn: bool = True
    ) -> tuple[list[float], tuple[str, ...]]:
        """Terms and gauge sums of one step over all ranks; every rank calls the model equally often."""
        rank, ranks = self.accelerator.process_index, self.accelerator.num_processes
        mine = list(step.micro[rank::ranks])
        idle = math.ceil(len(step.micro) / ranks) - len(mine)
        sums = Sums(self.accelerator.device)
        for turn, numbers in enumerate(mine + [step.micro[0]] * idle):
            batch = batcher.batch(numbers, self.accelerator.device)
            scale = 1.0 if turn < len(mine) else 0.0
            with ExitStack() as stack:
                if turn + 1 < len(mine) + idle and learn:
                    stack.enter_context(self.accelerator.no_sync(self.model))
                terms = self.loss(self.model, batch, step.counts)
                if learn:
                    # Wrappers average gradients over ranks; the loss has divided already, so they must add up.
                    self.accelerator.backward(sum(terms.values(), torch.zeros(())) * (scale * ranks))
            sums.add(terms, batch, batch.observed.get(id(self.model)), scale)
            self._models = max(1, len(batch.observed))
        joined: Tensor = self.accelerator.reduce(sums.tensor(), "sum") if ranks > 1 else sums.tensor()
        return joined.tolist(), sums.names

    def _clip(self) -> float | None:
        if self.settings.clip_norm is None:
            return None
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        norm = float(self.accelerator.clip_grad_norm_(parameters, self.settings.clip_norm))
        if not math.isfinite(norm):
            raise StudentError(
                f"the gradient of step {self.progress.step + 1} is not finite; the weights of the last checkpoint in "
                f"{self.folder} are untouched: lower the learning rate, or set precision: fp32"
            )
        return norm

    # -------------------------------------------------------------------------------------------------- keeping

    @property
    def _main(self) -> bool:
        return bool(self.accelerator.is_main_process)

    def _log(self, names: tuple[str, ...], totals: list[float], norm: float | None, rate: float) -> None:
        progress = self.progress
        window = progress.window or [0.0] * (len(totals) + 1)
        progress.window = [a + b for a, b in zip(window, [1.0, *totals], strict=True)]
        if progress.step % self.settings.log_steps and progress.step < self.steps:
            return
        record = readable(names, progress.window[1:], int(progress.window[0]))
        progress.last_loss, progress.window = record["loss"], []
        optional = {} if norm is None else {"gradient_norm": norm}
        self._write(
            {
                "kind": "train",
                "step": progress.step,
                "epoch": progress.epoch + 1,
                **record,
                "learning_rate": rate,
                **optional,
                "tokens": progress.tokens,
                "target_tokens": progress.target_tokens,
                "passes": progress.passes,
                "seconds": round(progress.seconds, 3),
            }
        )

    def _write(self, record: dict[str, Any]) -> None:
        if self.metrics is not None:
            self.metrics.write(record)
        if self.settings.trackers:
            self.accelerator.log({k: v for k, v in record.items() if k != "kind"}, step=self.progress.step)

    def _end_epoch(self) -> None:
        progress = self.progress
        if self.validation is not None:
            self._validate(self.validation)
        progress.epoch += 1
        progress.step_in_epoch = 0
        if progress.epoch in self.settings.averaged(len(self.epochs)):
            self._keep(EPOCH_FILE.format(progress.epoch))

    def _keep(self, file: str) -> None:
        """Write the weights as they stand; every rank takes part."""
        state = trainable_state(self._held)
        if self._main:
            save_tensors(state, self.folder / file)

    def _validate(self, batcher: Batcher) -> None:
        """Examine the student on held-out examples, and keep its weights when they are the best so far."""
        progress = self.progress
        self.model.eval()
        with torch.no_grad():
            totals, names = self._forward_backward(batcher, batcher.whole(), learn=False)
        record = readable(names, totals)
        progress.validation.append({"epoch": progress.epoch + 1, "step": progress.step, **record})
        self._write({"kind": "validation", "step": progress.step, "epoch": progress.epoch + 1, **record})
        score = {"loss": -record["loss"], "right": record.get("logprob_right", -record["loss"]), "last": math.inf}
        if progress.best_score is None or score[self.settings.best] >= progress.best_score:
            progress.best_score, progress.best_epoch = score[self.settings.best], progress.epoch + 1
            self._keep(BEST_FILE)

    def _checkpoint(self, *, force: bool) -> None:
        settings, progress = self.settings, self.progress
        due = time.monotonic() - self._saved_at >= settings.checkpoint_seconds
        due = due or bool(settings.checkpoint_steps and progress.step % settings.checkpoint_steps == 0)
        if self.accelerator.num_processes > 1:
            flag = torch.tensor(float(due), device=self.accelerator.device)
            due = bool(self.accelerator.reduce(flag, "sum"))
        if not (due or force):
            return
        weights, optimizer = trainable_state(self._held), optimizer_state(self._held, self.optimizer.optimizer)
        randoms = gather_object([random_state()])
        if self.metrics is not None:
            progress.metrics_bytes = self.metrics.size()
            write_checkpoint(self.folder, progress, weights, optimizer, randoms)
        self.accelerator.wait_for_everyone()
        self._saved_at = time.monotonic()

    def _resume(self) -> None:
        if self._main:
            with storage_errors("a run", self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
        found = read_progress(self.folder, self.progress.fingerprint)
        if found is None:
            return
        path, self.progress = found
        weights, optimizer, randoms = read_tensors(path)
        load_trainable_state(self._held, weights)
        load_optimizer_state(self._held, self.optimizer.optimizer, optimizer)
        if self.accelerator.process_index < len(randoms):
            load_random_state(randoms[self.accelerator.process_index])

    def _take_best(self) -> None:
        """Leave the kept weights in the student."""
        if averaged := self.settings.averaged(len(self.epochs)):
            load_trainable_state(self._held, mean_tensors([self.folder / EPOCH_FILE.format(n) for n in averaged]))
        elif self.progress.best_epoch is not None:
            load_trainable_state(self._held, load_tensors(self.folder / BEST_FILE))
        if self._skeleton is not None:
            self.student.model = gathered(self._held, self._skeleton)


def _dropout_seed(seed: int, rank: int) -> int:
    return int(content_hash("dropout", seed, rank)[:15], 16)
