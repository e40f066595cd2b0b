"""Turn rationales into weighted token examples; what is too long is left out, never cut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from feints.errors import DataError
from feints.generate.source import Message
from feints.records import Dropped, Example, Problem, Rationale, Role, content_hash

STEP = "tokenise"

Thinking = Literal["keep", "drop"]
"""Whether the author's hidden reasoning is part of the target."""


class Renderer(Protocol):
    """What is needed of a student's tokenizer and template; torch is not."""

    @property
    def tokenizer_hash(self) -> str:
        """Identity of the tokenizer and template that make the ids."""
        ...

    def prompt_ids(self, messages: Sequence[Message], /) -> Sequence[int]:
        """Ids of the context, exactly as at inference."""
        ...

    def target_ids(self, text: str, thinking: str = "") -> Sequence[int]:
        """Ids of what is learnt, end of sequence included."""
        ...


class Prompt(Protocol):
    """How a problem is put to the student."""

    def messages(self, problem: Problem, /, **filled: str) -> Sequence[Message]:
        """The chat that asks this problem, further slots filled."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """Examples and what was left out on the way: together as many as the rows given."""

    examples: tuple[Example, ...]
    """In the order of the rows given."""
    dropped: tuple[Dropped, ...]
    """Rows without text, or longer than allowed."""

    @classmethod
    def joined(cls, parts: Sequence[Built]) -> Built:
        """All parts as one, in their order."""
        return cls(
            examples=tuple(example for part in parts for example in part.examples),
            dropped=tuple(row for part in parts for row in part.dropped),
        )


def build_examples(
    renderer: Renderer,
    prompt: Prompt,
    problems_by_id: Mapping[str, Problem],
    rationales: Iterable[Rationale],
    *,
    role: Role,
    weight: float = 1.0,
    thinking: Thinking = "keep",
    prompt_weight: float = 0.0,
    max_tokens: int | None = None,
    filled: Mapping[str, Mapping[str, str]] | None = None,
) -> Built:
    """One example per rationale, every target token weighted alike.

    Args:
        renderer: makes the ids.
        prompt: how the problem is put.
        problems_by_id: the problem of each rationale.
        rationales: what is learnt.
        role: what these examples are to their group.
        weight: raw weight of each target token; negative pushes away.
        thinking: keep the hidden reasoning in the target, or drop it.
        prompt_weight: raw weight of each prompt token.
        max_tokens: longest prompt and target together, in tokens; None allows any length.
        filled: per rationale id, texts for the prompt's further slots.

    Raises:
        DataError: a rationale of an unknown problem.
    """
    examples: list[Example] = []
    dropped: list[Dropped] = []
    for row in rationales:
        problem = _problem_of(row, problems_by_id)
        kept_thinking = row.thinking if thinking == "keep" else ""
        if not row.text.strip():
            dropped.append(Dropped(item_id=row.id, step=STEP, reason="empty text"))
            continue
        context = tuple(renderer.prompt_ids(prompt.messages(problem, **(filled or {}).get(row.id, {}))))
        target = tuple(renderer.target_ids(row.text, thinking=kept_thinking))
        if _too_long(context, target, max_tokens):
            dropped.append(Dropped(item_id=row.id, step=STEP, reason=f"longer than {max_tokens} tokens"))
            continue
        examples.append(_example(renderer, row.problem_id, row.id, context, target, role, weight, prompt_weight))
    return Built(examples=tuple(examples), dropped=tuple(dropped))


def answer_only_examples(
    renderer: Renderer,
    prompt: Prompt,
    problems: Iterable[Problem],
    *,
    role: Role = Role.RIGHT,
    weight: float = 1.0,
    prompt_weight: float = 0.0,
    max_tokens: int | None = None,
) -> Built:
    """One example per problem whose target is the gold answer alone: the control of plain distillation.

    Pass a problem as often as it has rationales to match the number of examples; repeats get ids of their own.
    `role`, `weight`, `prompt_weight` and `max_tokens` are those of `build_examples`.
    """
    examples: list[Example] = []
    dropped: list[Dropped] = []
    times: dict[str, int] = {}
    for problem in problems:
        repeat = times[problem.id] = times.get(problem.id, -1) + 1
        context = tuple(renderer.prompt_ids(prompt.messages(problem)))
        target = tuple(renderer.target_ids(answer_text(problem), thinking=""))
        if _too_long(context, target, max_tokens):
            dropped.append(Dropped(item_id=problem.id, step=STEP, reason=f"longer than {max_tokens} tokens"))
            continue
        examples.append(_example(renderer, problem.id, "", context, target, role, weight, prompt_weight, repeat))
    return Built(examples=tuple(examples), dropped=tuple(dropped))


def answer_text(problem: Problem) -> str:
    """The gold answer as one sentence with the trigger phrase that checkers look for."""
    return f"The answer is {problem.answer}."


def _problem_of(row: Rationale, problems_by_id: Mapping[str, Problem]) -> Problem:
    try:
        return problems_by_id[row.problem_id]
    except KeyError:
        raise DataError(
            f"rationale {row.id!r} answers problem {row.problem_id!r}, which is not among the {len(problems_by_id)} "
            "problems given; pass the problems the rationales were made for"
        ) from None


def _too_long(context: Sequence[int], target: Sequence[int], max_tokens: int | None) -> bool:
    return max_tokens is not None and len(context) + len(target) > max_tokens


def _example(
    renderer: Renderer,
    problem_id: str,
    rationale_id: str,
    context: tuple[int, ...],
    target: tuple[int, ...],
    role: Role,
    weight: float,
    prompt_weight: float,
    repeat: int = 0,
) -> Example:
    return Example(
        id=content_hash("example", problem_id, rationale_id, role, renderer.tokenizer_hash, target, repeat),
        problem_id=problem_id,
        rationale_id=rationale_id,
        prompt_ids=context,
        target_ids=target,
        weights=(prompt_weight,) * len(context) + (weight,) * len(target),
        tokenizer_hash=renderer.tokenizer_hash,
        role=role,
    )
