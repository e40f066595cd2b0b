"""The form `eot`: a system of equations, one a line, whose unknown `ans` is the answer."""

from __future__ import annotations

import re

from feints.generate.prompt import Prompt
from feints.verify.execution import Execution, Failure, Limits, failed
from feints.verify.terms import TermError, Tree, names, read_relation

TARGET = "ans"
TEACHER = Prompt(
    id="teacher_eot",
    template="{question}\n{choices}\n\nWrite the problem as a system of equations.\n{cue}",
    cue="Write one equation per line and do not simplify any of them. Call the unknown that is asked for ans. "
    "Comments start with #. Write nothing else.",
)
"""What a teacher is asked (the layout of XoT: comment lines, one equation a line, the unknown `ans`)."""
STUDENT = Prompt(
    id="student_eot",
    template="{question}\n{choices}\n{cue}",
    cue="Let us write the equations of the problem, and not solve them.",
)
"""What a student is trained and examined on."""
_FENCE = re.compile(r"```[a-z]*\n(.*?)(?:```|\Z)", re.DOTALL)
_HEAD = re.compile(r"^[ \t*]*(?:solution|equations?|constraints?|system(?: of equations)?)[\s*]*:[\s*]*", re.I | re.M)
MAX_LINES = 120


def lines_of(text: str) -> list[str]:
    """The lines to read: of the last fenced block, or below the last head, or all; comments and blanks left out."""
    fenced = _FENCE.findall(text)
    if fenced:
        text = fenced[-1]
    else:
        heads = list(_HEAD.finditer(text))
        text = text[heads[-1].end() :] if heads else text
    found = (line.partition("#")[0].strip().rstrip(";,").strip("$ ") for line in text.splitlines())
    return [line.removesuffix(".") for line in found if line]


def read(text: str, limits: Limits) -> list[Tree] | Execution:
    """The equations a text states, or why it states none."""
    if len(text) > limits.text:
        return failed(Failure.SYNTAX, "the text is too long")
    lines = lines_of(text)
    if not any("=" in line for line in lines):
        return failed(Failure.NOTHING, "no equation is stated")
    if len(lines) > MAX_LINES:
        return failed(Failure.SYNTAX, f"more than {MAX_LINES} lines")
    found: list[Tree] = []
    for number, line in enumerate(lines, 1):
        try:
            found += read_relation(line)
        except TermError as error:
            return failed(Failure.SYNTAX, f"equation {number}: {error}")
    other = next((str(tree[0]) for tree in found if tree[0] != "="), "")
    if other:
        return failed(Failure.SYNTAX, f"{other!r} is no equation")
    return found


def message(found: list[Tree]) -> dict[str, object] | Execution:
    """What the solving process is told; a failure where nothing says what `ans` is."""
    if not any(TARGET in names(tree) for tree in found):
        return failed(Failure.NO_ANSWER, f"no equation holds {TARGET}")
    return {"solve": "equations", "relations": found, "target": TARGET}
