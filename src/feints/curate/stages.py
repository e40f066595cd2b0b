"""Stages of one solution learnt apart: what each is asked, what it answers, and the examples of all (KPDD, Sci-CoT)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from feints.curate.examples import Built, Renderer, build_examples
from feints.curate.keypoints import CORE_HEAD, INFORMATION_HEAD, KeyPoints, one_text
from feints.generate.prompt import Prompt
from feints.records import Problem, Rationale, Role, content_hash

Fields = Mapping[str, str]
"""Texts by name: core, information, solution."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One thing to learn."""

    name: str
    """Also the slot of later prompts that its text fills."""
    head: str
    """What stands before its text there."""
    prompt: Prompt
    """What is asked."""
    target: Callable[[Fields], str]
    """The text learnt, from the fields."""
    weight: float = 1.0
    """Raw weight of each target token; 0 makes no examples."""


def field(*names: str) -> Callable[[Fields], str]:
    """The text of one field, or of several, each under its head."""
    return lambda fields: fields[names[0]] if len(names) == 1 else one_text(fields, names)


def filling(prompt: Prompt, fields: Fields) -> dict[str, str]:
    """What the slots of a stage's prompt hold: key points under their heads, and nothing where they are empty."""
    core, information = fields.get("core", ""), fields.get("information", "")
    both = one_text(fields, ("core", "information")) if core or information else ""
    texts = {
        "core": f"{CORE_HEAD} {core}" if core else "",
        "information": f"{INFORMATION_HEAD}\n{information}" if information else "",
        "key_points": fields.get("key_points", both),
    }
    return {slot: texts[slot] for slot in prompt.slots}


def stage_examples(
    renderer: Renderer,
    stages: Sequence[Stage],
    problems: Mapping[str, Problem],
    rows: Iterable[Rationale],
    read: Mapping[str, Fields],
    learnt: Mapping[str, KeyPoints],
    max_tokens: int | None,
) -> Built:
    """Examples of one or several stages: (q -> c), (q, c -> i), (q, c, i -> s); every target token weighs alike.

    Args:
        renderer: makes the ids.
        stages: which; one named twice makes its examples twice.
        problems: by id.
        rows: the replies.
        read: per reply, the fields that prompts show.
        learnt: per reply, the fields that are targets.
        max_tokens: longest prompt and target together; None allows any length.
    """
    kept = list(rows)
    built = [
        build_examples(
            renderer,
            stage.prompt,
            problems,
            [replace(row, text=stage.target(learnt[row.id].fields), thinking="") for row in kept],
            role=Role.RIGHT,
            weight=stage.weight,
            max_tokens=max_tokens,
            filled={row.id: filling(stage.prompt, read[row.id]) for row in kept},
        )
        for stage in stages
        if stage.weight
    ]
    named = [
        replace(example, id=content_hash(example.id, place))
        for place, part in enumerate(built)
        for example in part.examples
    ]
    return Built(examples=tuple(named), dropped=tuple(row for part in built for row in part.dropped))
