"""Prompts: from a problem to the chat messages sent; one text for teacher, examples and student alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from feints.errors import SettingsError
from feints.generate.source import Message
from feints.records import AnswerKind, Choice, Problem, content_hash

_SLOT = re.compile(r"\{([a-z_]+)\}")
_OWN_SLOTS = ("question", "choices", "cue")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    r"""The text put around a problem. Equal `hash`, equal messages, for every problem.

    `{question}`, `{choices}` and `{cue}` in the template stand for the problem's own text; every other
    `{name}` is a slot the caller fills by keyword (a hint, a wrong rationale). Braces that hold
    anything else, such as `\boxed{}`, are plain text. The gold answer is never put in unasked.
    A line of the template that holds slots and nothing else is left out where these are all empty.
    """

    id: str
    """Name of the template, kept with every rationale made from it."""
    template: str
    """The user's turn; must hold `{question}`."""
    system: str = ""
    """The system turn; none when empty."""
    cue: str = ""
    """What `{cue}` becomes."""
    latex_cue: str | None = None
    """What `{cue}` becomes where the answer is LaTeX; None: as `cue`."""
    shots: tuple[tuple[str, str], ...] = ()
    """Worked examples shown first: (question with its options, reply), each put through the template."""

    def __post_init__(self) -> None:
        if "{question}" not in self.template:
            raise SettingsError(
                f"prompt {self.id!r}: its template does not hold {{question}}, so the model would never see "
                "the problem; put {question} where the question belongs"
            )

    @property
    def hash(self) -> str:
        """Content hash of every field."""
        return content_hash("prompt", asdict(self))

    @property
    def slots(self) -> tuple[str, ...]:
        """Names the caller must fill, in order of appearance."""
        names = dict.fromkeys(_SLOT.findall(self.template))
        return tuple(name for name in names if name not in _OWN_SLOTS)

    def messages(self, problem: Problem, /, **filled: str) -> tuple[Message, ...]:
        """The turns that ask for an answer to `problem`.

        Args:
            problem: asked verbatim, its choices as "(A) ..." lines.
            filled: text for each further slot of the template.

        Raises:
            SettingsError: a slot is not filled, or a name is filled that the template does not hold.
        """
        if set(filled) != set(self.slots):
            raise SettingsError(
                f"prompt {self.id!r} has the slots {list(self.slots)} besides {list(_OWN_SLOTS)}, "
                f"but {sorted(filled)} were filled; fill each slot once, or take it out of the template"
            )
        latex = problem.answer_kind is AnswerKind.LATEX and self.latex_cue is not None
        cue = str(self.latex_cue) if latex else self.cue
        turns = [Message(role="system", content=self.system)] if self.system else []
        blank = dict.fromkeys(self.slots, "")
        for question, reply in self.shots:
            shown = {**blank, "question": question, "choices": "", "cue": cue}
            turns += [
                Message(role="user", content=_fill(self.template, shown)),
                Message(role="assistant", content=reply),
            ]
        values = {**filled, "question": problem.question, "choices": render_choices(problem.choices), "cue": cue}
        turns.append(Message(role="user", content=_fill(self.template, values)))
        return tuple(turns)


def render_choices(choices: tuple[Choice, ...]) -> str:
    """One "(A) ..." line per option, in the order shown; "" where there are none."""
    return "\n".join(f"({choice.label}) {choice.text}" for choice in choices)


def _fill(template: str, values: dict[str, str]) -> str:
    """Put the values in, in one pass: a slot's name inside a question is not a slot."""
    lines = []
    for line in template.split("\n"):
        names = _SLOT.findall(line)
        if names and not _SLOT.sub("", line).strip() and not any(values[name] for name in names):
            continue
        lines.append(_SLOT.sub(lambda match: values[match.group(1)], line))
    return "\n".join(lines)


def own_prompt(default: Prompt, own: Mapping[str, Prompt]) -> Prompt:
    """The user's prompt that stands in for `default`, or `default`.

    Raises:
        SettingsError: the user's has other slots.
    """
    found = own.get(default.id, default)
    if set(found.slots) != set(default.slots):
        filled = ", ".join(f"{{{slot}}}" for slot in sorted(default.slots)) or "none"
        raise SettingsError(
            f"prompts.{default.id}: of the template's slots beside those of the problem, {sorted(found.slots)}, "
            f"{filled} are filled here; use each of these once and take the others out"
        )
    return found


def read_prompt(path: str | Path) -> Prompt:
    """A user's own prompt: a YAML file with the fields of `Prompt` (id: the file's name unless given).

    Raises:
        SettingsError: the file cannot be read, or a field is unknown, missing or of the wrong type.
    """
    path = Path(path)
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise SettingsError(f"prompt file {path} is not a text in UTF-8 ({error}); save it in this encoding") from error
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise SettingsError(f"prompt file {path} cannot be read: {error}; name a YAML file with a template") from error
    known = [field.name for field in fields(Prompt)]
    if not isinstance(found, dict) or "template" not in found or set(found) - set(known):
        shown = sorted(map(str, found)) if isinstance(found, dict) else type(found).__name__
        raise SettingsError(f"prompt file {path} holds {shown}; it must hold template, and may hold {known}")
    return Prompt(**_typed(path, {"id": path.stem, **found}))


def _typed(path: Path, found: dict[str, Any]) -> dict[str, Any]:
    """The fields with their types checked; shots as tuples."""
    shots = found.pop("shots", None) or []
    wrong = [
        name for name, value in found.items() if not isinstance(value, str) and (name, value) != ("latex_cue", None)
    ]
    if wrong:
        raise SettingsError(f"prompt file {path}: {', '.join(wrong)} must be text; put it in quotes")
    is_pairs = isinstance(shots, list) and all(
        isinstance(shot, list) and len(shot) == 2 and all(isinstance(part, str) for part in shot) for shot in shots
    )
    if not is_pairs:
        raise SettingsError(f"prompt file {path}: shots must be a list of [question, reply] pairs of text")
    return {**found, "shots": tuple((question, reply) for question, reply in shots)}


STUDENT = Prompt(
    id="student_zero_shot",
    template="{question}\n{choices}\n{cue}",
    cue="Let's think step by step.",
)
"""What a student is trained and examined on: the question and a cue, no instructions to follow."""

TEACHER = Prompt(
    id="teacher_cot",
    template="{question}\n{choices}\n\nReason step by step, one short sentence per step.\n{cue}",
    cue='Finish with a line of the form "The answer is ..." and write nothing after it.',
    latex_cue="Finish with the final answer inside \\boxed{} and write nothing after it.",
)
"""What a teacher is asked: reason in short steps and mark the answer so that it can be read out."""
