"""Load a student, with or without adapters, make its examples, save it to a folder."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import SafetensorError

from feints.errors import SettingsError, StorageError, StudentError
from feints.generate.anatomy import context_of
from feints.generate.rendering import Renderer
from feints.generate.source import Message
from feints.generate.weights import load_weights, local_folder, quiet_transformers
from feints.records import Example, Role
from feints.train.settings import AdapterSettings, StudentSettings

STUDENT_VERSION = 1
_ADAPTER_FOLDER = "adapter"
_CARD = "student.json"


class Student:
    """A model that learns, with the one renderer that makes its ids."""

    def __init__(
        self, model: Any, renderer: Renderer, *, seq2seq: bool, settings: StudentSettings, identity: str
    ) -> None:
        self.model = model
        self.renderer = renderer
        self.seq2seq = seq2seq
        self.settings = settings
        self.identity = identity

    @classmethod
    def load(cls, settings: StudentSettings, *, seed: int = 0, device: str = "cpu") -> Student:
        """Load weights and tokenizer; a LoRA addition starts from `seed` and changes nothing at first.

        Also takes the folder that `save` wrote, merged or with an adapter beside its base; the saved adapter is then
        merged before a fresh one is added.

        Raises:
            StudentError: the weights or the tokenizer cannot be used, or no module has a name asked for.
        """
        folder = local_folder(settings.model)
        card = _read_card(folder)
        source = card["base"] if "base" in card else str(folder)
        weights = load_weights(source, dtype=settings.dtype, device=device)
        model = weights.model
        if "base" in card:
            if weights.identity != card["base_identity"]:
                raise StudentError(
                    f"the adapter in {folder} was trained on other weights than {source} holds now; "
                    "bring back those weights, or save the student merged"
                )
            with quiet_transformers():
                model = PeftModel.from_pretrained(model, folder / _ADAPTER_FOLDER).merge_and_unload()
        chat = card.get("chat", settings.chat) if settings.chat is None else settings.chat
        renderer = Renderer(weights.tokenizer, chat, weights.seq2seq)
        student = cls(model, renderer, seq2seq=weights.seq2seq, settings=settings, identity=weights.identity)
        if settings.adapter.kind == "lora":
            student.add_lora(settings.adapter, seed=seed)
        if settings.gradient_checkpointing:
            _recompute_activations(student.model)
            if settings.adapter.kind == "lora":
                student.model.enable_input_require_grads()
        return student

    def add_lora(self, adapter: AdapterSettings, *, seed: int, name: str = "default") -> None:
        """Freeze every weight and add trainable low-rank additions, which start as zero.

        Raises:
            StudentError: the model has no module of a name asked for, or shares its weights with another.
        """
        modules: str | list[str] = "all-linear" if adapter.modules == "linear" else list(adapter.modules)
        if isinstance(modules, list):
            require_modules(self.model, modules)
        config = LoraConfig(
            r=adapter.rank,
            lora_alpha=adapter.alpha,
            lora_dropout=adapter.dropout,
            target_modules=modules,
            task_type="SEQ_2_SEQ_LM" if self.seq2seq else "CAUSAL_LM",
            fan_in_fan_out=_has_transposed_linear(self.model),
        )
        with torch.random.fork_rng(), quiet_transformers():
            torch.manual_seed(seed)
            if isinstance(self.model, PeftModel):
                self.model.add_adapter(name, config)
            else:
                self.model = get_peft_model(self.model, config, adapter_name=name)

    # ------------------------------------------------------------------------------------------------------ examples

    @property
    def context(self) -> int | None:
        """Longest sequence the model can read, in tokens, of an encoder-decoder on either side; None: no limit."""
        if self.seq2seq:  # T5 has no positions, and a name for their number all the same
            return context_of(self.model)
        config = self.model.config.get_text_config()
        limit = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
        return None if limit is None else int(limit)

    def example(
        self,
        *,
        id: str,
        problem_id: str,
        messages: Sequence[Message],
        text: str,
        thinking: str = "",
        rationale_id: str = "",
        weight: float = 1.0,
        prompt_weight: float = 0.0,
        group: str = "",
        role: Role = Role.RIGHT,
    ) -> Example:
        """Render one example with a constant weight on its target and another on its prompt."""
        prompt = self.renderer.prompt_ids(messages)
        target = self.renderer.target_ids(text, thinking)
        return Example(
            id=id,
            problem_id=problem_id,
            rationale_id=rationale_id,
            prompt_ids=prompt,
            target_ids=target,
            weights=(prompt_weight,) * len(prompt) + (weight,) * len(target),
            tokenizer_hash=self.renderer.tokenizer_hash,
            group=group,
            role=role,
        )

    def check(self, examples: Iterable[Example]) -> None:
        """Refuse examples this student cannot learn from.

        Raises:
            StudentError: another tokenizer made the ids, or an example is longer than the student's context.
        """
        wanted, limit = self.renderer.tokenizer_hash, self.context
        for example in examples:
            if example.tokenizer_hash != wanted:
                raise StudentError(
                    f"example {example.id!r} was made with another tokenizer or chat setting "
                    f"({example.tokenizer_hash[:8]}, the student's is {wanted[:8]}); make the examples again with it"
                )
            prompt, target = len(example.prompt_ids), len(example.target_ids)
            if limit is not None and (max(prompt, target) if self.seq2seq else prompt + target) > limit:
                raise StudentError(
                    f"example {example.id!r} is longer than the student's context: prompt {prompt} + target {target} "
                    f"tokens, {limit} fit{' on either side' if self.seq2seq else ''}; set curate.max_tokens to "
                    f"{limit}, which leaves such examples out, or shorten the prompt"
                )

    # ------------------------------------------------------------------------------------------------------ on disk

    def save(self, folder: Path, *, merge: bool = True) -> None:
        """Write safetensors and tokenizer to a new folder, complete or not at all.

        Merged (default) the folder needs nothing else. With `merge=False` only the adapter is written, and the folder
        names the base weights it needs. The model in memory is left as it is.

        Raises:
            SettingsError: `merge=False` without an adapter.
            StorageError: the folder cannot be written.
        """
        if not merge and not isinstance(self.model, PeftModel):
            raise SettingsError("there is no adapter to save apart: the student is trained in full; save it merged")
        partial = folder.with_name(f".{folder.name}.partial")
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            card: dict[str, Any] = {"version": STUDENT_VERSION, "chat": self.renderer.chat}
            with quiet_transformers():
                if merge:
                    merged_copy(self.model).save_pretrained(partial)
                else:
                    self.model.save_pretrained(partial / _ADAPTER_FOLDER)
                    card |= {"base": self.settings.model, "base_identity": self.identity}
                self._save_tokenizer(partial)
            (partial / _CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
            if folder.exists():
                shutil.rmtree(folder)
            partial.rename(folder)
        except (OSError, RuntimeError, SafetensorError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise StorageError(
                f"the student cannot be written to {folder}: {error}; free some space or go elsewhere"
            ) from error

    def _save_tokenizer(self, folder: Path) -> None:
        """A student trained on plain prompts is saved without the chat template, so whoever loads it renders alike."""
        tokenizer = copy.copy(self.renderer.tokenizer)
        if not self.renderer.chat:
            tokenizer.chat_template = None
        try:
            tokenizer.save_pretrained(folder)
        except Exception as error:
            # tokenizers says "No space left on device (os error 28)" with no class of its own
            if type(error) is Exception and "os error" in str(error):
                raise OSError(str(error)) from error
            raise


def require_modules(model: Any, modules: Sequence[str]) -> None:
    """Refuse names of modules to which no addition can be made; `model` may be one without numbers.

    Raises:
        StudentError: the model has no module of a name asked for, or shares its weights with another.
    """
    named = {path: path.rpartition(".")[2] for path, _ in model.named_modules()}
    unknown = [module for module in modules if module.rpartition(".")[2] not in named.values()]
    if unknown:
        kinds = {path: type(module).__name__ for path, module in model.named_modules()}
        linear = {named[path] for path, kind in kinds.items() if kind in ("Linear", "Conv1D")}
        raise StudentError(
            f"the student has no module called {', '.join(unknown)}; its linear layers are {', '.join(sorted(linear))}"
        )
    owners: dict[int, list[str]] = {}
    for path, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), []).append(path.removesuffix(".weight").rpartition(".")[2])
    wanted = {module.rpartition(".")[2] for module in modules}
    for names in owners.values():
        if len(set(names)) > 1 and wanted & set(names):
            raise StudentError(
                f"student.adapter.modules names {', '.join(sorted(wanted & set(names)))}, but this student's "
                f"{' and '.join(sorted(set(names)))} are one matrix (tie_word_embeddings), so that an addition to one "
                "could not be merged without changing the other; leave it out, or train with adapter kind: full"
            )


def merged_copy(model: Any) -> Any:
    """The model without adapters: itself when it has none, else a copy whose additions are added in.

    The copy shares nothing with `model`, which can go on learning.
    """
    if not isinstance(model, PeftModel):
        return model
    return copy.deepcopy(model).merge_and_unload()


def _recompute_activations(model: Any) -> None:
    enable = getattr(model, "activation_checkpointing_enable", None)
    if enable is None:  # the name before transformers 5.23
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    else:
        enable(activation_checkpointing_kwargs={"use_reentrant": False})


def _has_transposed_linear(model: Any) -> bool:
    return any(type(module).__name__ == "Conv1D" for module in model.modules())


def _read_card(folder: Path) -> dict[str, Any]:
    path = folder / _CARD
    if not path.is_file():
        return {}
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudentError(f"{path} is damaged ({error}); save the student again") from error
    if card.get("version") != STUDENT_VERSION:
        raise StudentError(
            f"{path} is of version {card.get('version')}, this is {STUDENT_VERSION}; save the student again"
        )
    return card
