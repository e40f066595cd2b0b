"""The ranker: how likely a rationale is right, read off any encoder or decoder body. Torch-side.

Li et al., "Turning Dust into Gold" (AAAI 2024), step 3: the mean state of the rationale's tokens, two residual
blocks, a sigmoid.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, AutoTokenizer

from feints.errors import StudentError
from feints.generate.prompt import STUDENT
from feints.generate.rendering import Renderer
from feints.generate.weights import device_or_default, local_folder, quiet_transformers, weights_identity
from feints.records import Example, Problem, Role
from feints.train.batch import Batch, Counts
from feints.train.checkpoint import save_tensors, storage_errors
from feints.train.losses import Loss, per_token
from feints.train.settings import StudentSettings
from feints.train.student import Student

HEAD_FILE = "ranker.safetensors"
CARD_FILE = "ranker.json"
MOST_TOKENS = 511
"""Question and rationale together; 512 tokens and more (TDG, section 2.4) are neither learnt from nor scored."""
_BATCH_TOKENS = 16_384


class RankerHead(nn.Module):
    """h <- ELU(W h + b) + h, twice, then a linear map and a sigmoid: [n, D] -> [n] in (0, 1)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(width, width) for _ in range(2)])
        self.out = nn.Linear(width, 1)

    def forward(self, pooled: Tensor) -> Tensor:
        """See the class."""
        for block in self.blocks:
            pooled = functional.elu(block(pooled)) + pooled
        return torch.sigmoid(self.out(pooled))[:, 0]


class RankerModel(nn.Module):
    """A body and the head on it."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body
        self.head = RankerHead(int(getattr(body.config, "d_model", 0) or body.config.hidden_size))

    @property
    def config(self) -> Any:
        """The body's, for the training loop."""
        return self.body.config

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return next(self.parameters()).device

    def forward(self, input_ids: Tensor, attention_mask: Tensor, rationale: Tensor) -> Tensor:
        """[n, T] ids, [n, T] mask of tokens, [n, T] mask of the rationale's tokens -> [n] scores, float32."""
        states = self.body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        chosen = rationale.to(states.dtype)[..., None]
        pooled = (states * chosen).sum(1) / chosen.sum(1)
        scores: Tensor = self.head(pooled.to(self.head.out.weight.dtype))
        return scores.float()


class RankerRenderer(Renderer):
    """Ids of question and rationale; nothing is written, so no token needs to end a text."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.chat, self.seq2seq = tokenizer, False, False

    def target_ids(self, text: str, thinking: str = "") -> tuple[int, ...]:
        """Ids of the rationale, its hidden reasoning left out."""
        return self._encode(text.strip(), special=False)


class RankerStudent(Student):
    """A ranker as the training loop takes it."""

    @classmethod
    def start(cls, body: str | Path, *, seed: int, scratch: bool = False, device: str = "cpu") -> RankerStudent:
        """A ranker on the weights of `body` (or, from scratch, on its shape), with a fresh head.

        Raises:
            StudentError: no body or tokenizer that can be used.
        """
        folder = local_folder(body)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = RankerModel(_load_body(folder, scratch=scratch)).to(device)
        renderer = RankerRenderer(_load_tokenizer(folder))
        return cls(
            model,
            renderer,
            seq2seq=False,
            settings=StudentSettings(model=str(folder)),
            identity=weights_identity(folder),
        )

    def save(self, folder: Path, *, merge: bool = True) -> None:
        """Write body, head and tokenizer to a new folder.

        Raises:
            StorageError: it cannot be written.
        """
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        with storage_errors("the ranker", folder), quiet_transformers():
            self.model.body.save_pretrained(partial)
            self.renderer.tokenizer.save_pretrained(partial)
            card = {"version": 1, "encoder": isinstance(self.model.body, _encoders())}
            (partial / CARD_FILE).write_text(json.dumps(card) + "\n", encoding="utf-8")
        save_tensors(
            {name: tensor.detach() for name, tensor in self.model.head.state_dict().items()}, partial / HEAD_FILE
        )
        with storage_errors("the ranker", folder):
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)


def body_hashes(body: str | Path) -> tuple[str, str]:
    """Hash of the weights and of the tokenizer that a ranker on `body` starts with, without loading the weights.

    Raises:
        StudentError: no body or tokenizer that can be used.
    """
    folder = local_folder(body)
    return weights_identity(folder), RankerRenderer(_load_tokenizer(folder)).tokenizer_hash


def _load_body(folder: Path, *, scratch: bool) -> Any:
    """A network of hidden states: the encoder of an encoder-decoder, else the whole model without its output head."""
    with quiet_transformers():
        try:
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            # An encoder saved alone no longer says that it came out of an encoder-decoder.
            kind = AutoModelForTextEncoding if config.is_encoder_decoder or _is_encoder(folder) else AutoModel
            if scratch:
                return kind.from_config(config).eval()
            return kind.from_pretrained(folder, use_safetensors=True, trust_remote_code=False, config=config).eval()
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise StudentError(f"{folder} holds no body a ranker can stand on: {reason}") from error


def _encoders() -> tuple[type, ...]:
    """Classes that are the encoder of an encoder-decoder."""
    return tuple(AutoModelForTextEncoding._model_mapping.values())


def _is_encoder(folder: Path) -> bool:
    card = folder / CARD_FILE
    return card.is_file() and bool(json.loads(card.read_text(encoding="utf-8")).get("encoder"))


def _load_tokenizer(folder: Path) -> Any:
    with quiet_transformers():
        try:
            return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise StudentError(f"the tokenizer in {folder} cannot be loaded: {error}") from error


# --------------------------------------------------------------------------------------------------------- training


def ranker_loss(power: float = 3.0) -> Loss:
    """L = sum over pairs of (1 - s_right)^p + s_wrong^p / pairs of the step.

    s are the scores of the two rationales of a pair, in (0, 1). It regresses to 1 and 0; it is no margin loss.
    Roles say which side an example is.
    """

    def loss(model: Any, batch: Batch, counts: Counts) -> dict[str, Tensor]:
        scores = model(*padded(batch.examples, batch.weights.device))
        right = batch.role_mask(Role.RIGHT)
        return {
            "right": per_token((1 - scores[right]).pow(power).sum(), counts.groups),
            "wrong": per_token(scores[~right].pow(power).sum(), counts.groups),
        }

    return loss


def padded(examples: Iterable[Example], device: torch.device | str) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask of tokens and mask of the rationale's tokens of examples as padded rows, each [n, T]."""
    rows = [(len(example.prompt_ids), (*example.prompt_ids, *example.target_ids)) for example in examples]
    width = max(len(ids) for _, ids in rows)
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    mask, rationale = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, (start, own) in enumerate(rows):
        ids[row, : len(own)] = torch.tensor(own)
        mask[row, : len(own)] = 1
        rationale[row, start : len(own)] = 1
    return ids.to(device), mask.to(device), rationale.to(device)


# ---------------------------------------------------------------------------------------------------------- scoring


class Ranker:
    """A trained ranker in a folder, loaded when first asked."""

    def __init__(self, folder: str | Path, device: str | None = None) -> None:
        self.folder, self.device = Path(folder), device
        self._loaded: RankerStudent | None = None

    @property
    def identity(self) -> str:
        """Hash of body, head and tokenizer."""
        return weights_identity(self.folder)

    def score(self, items: Sequence[tuple[Problem, str]]) -> list[float | None]:
        """A score in (0, 1) for each problem and rationale; None for an empty one and for one that is too long.

        Raises:
            StudentError: the folder holds no ranker that can be used.
        """
        ranker = self._ranker
        examples = [_example(ranker.renderer, problem, text) for problem, text in items]
        limit = min(MOST_TOKENS, ranker.context or MOST_TOKENS)
        lengths = [len(e.prompt_ids) + len(e.target_ids) for e in examples]
        # Sorted by content, so that the order of the items cannot change a batch.
        order = sorted(
            (n for n, e in enumerate(examples) if e.target_ids and lengths[n] <= limit),
            key=lambda n: (lengths[n], examples[n].prompt_ids, examples[n].target_ids),
        )
        found: list[float | None] = [None] * len(examples)
        while order:
            size = max(1, _BATCH_TOKENS // max(lengths[n] for n in order[-1:]))
            part, order = order[-size:], order[:-size]
            with torch.no_grad():
                scores = ranker.model(*padded([examples[n] for n in part], ranker.model.device)).tolist()
            for number, score in zip(part, scores, strict=True):
                found[number] = score
        return found

    @property
    def _ranker(self) -> RankerStudent:
        if self._loaded is None:
            if not (self.folder / HEAD_FILE).is_file():
                raise StudentError(f"{self.folder} holds no ranker (no {HEAD_FILE}); train one with method asc")
            ranker = RankerStudent.start(self.folder, seed=0, device=device_or_default(self.device))
            try:
                ranker.model.head.load_state_dict(load_file(self.folder / HEAD_FILE))
            except (OSError, RuntimeError, SafetensorError) as error:
                raise StudentError(
                    f"{self.folder / HEAD_FILE} cannot be read ({error}); train the ranker again"
                ) from error
            ranker.model.eval()
            self._loaded = ranker
        return self._loaded

    def save(self, folder: Path) -> None:
        """Copy the ranker's folder."""
        if self.folder.resolve() != folder.resolve():
            shutil.copytree(self.folder, folder, dirs_exist_ok=True)


def _example(renderer: Renderer, problem: Problem, text: str) -> Example:
    prompt = renderer.prompt_ids(STUDENT.messages(problem))
    target = renderer.target_ids(text)
    return Example(
        id=problem.id,
        problem_id=problem.id,
        rationale_id="",
        prompt_ids=prompt,
        target_ids=target,
        weights=(0.0,) * len(prompt) + (1.0,) * len(target),
        tokenizer_hash=renderer.tokenizer_hash,
    )
