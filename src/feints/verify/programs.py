"""The form `pot`: a Python program that leaves the answer in `ans`."""

from __future__ import annotations

import re
from collections import Counter

from feints.generate.prompt import Prompt
from feints.verify.confined import confinement, run_confined
from feints.verify.execution import Execution, Failure, Limits, failed
from feints.verify.interpreter import RAN_IN, Interpreter

TEACHER = Prompt(
    id="teacher_pot",
    template="{question}\n{choices}\n\nWrite a short Python program that works out the answer.\n{cue}",
    cue="Leave the answer in the variable ans. Print nothing, read nothing and write nothing but the program.",
)
"""What a teacher is asked."""
STUDENT = Prompt(
    id="student_pot",
    template="{question}\n{choices}\n{cue}",
    cue="Let us write a Python program.",
)
"""What a student is trained and examined on."""
_FENCE = re.compile(r"```[ \t]*(?:python3?|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)
_HEAD = re.compile(r"^[ \t*]*(?:solution|program|code|python(?: program| code)?)[\s*]*:[\s*]*", re.I | re.M)
_CODE = re.compile(
    r"^[ \t]*(?:[A-Za-z_][\w.]*(?:\s*,\s*\w+)*\s*(?:[-+*/%|&]|//|\*\*)?=(?!=)|def\s|import\s|from\s)", re.M
)
_PROSE = re.compile(r"^[A-Z][^=#()\[\]]*[:.!]\s*$")

_IMPORT = re.compile(r"^import[ \t]+(?P<module>[\w.]+)(?:[ \t]+as[ \t]+(?P<name>\w+))?[ \t]*$", re.M)


def read(text: str, limits: Limits) -> str | Execution:
    """The program in a text: its fenced blocks, or what stands below the last head, or all of it."""
    if len(text) > limits.text:
        return failed(Failure.SYNTAX, "the text is too long")
    fenced = _FENCE.findall(text)
    if fenced:
        program = "\n".join(fenced)
    else:
        heads = list(_HEAD.finditer(text))
        lines = (text[heads[-1].end() :] if heads else text).strip("\n").split("\n")
        while lines and _PROSE.match(lines[0]):
            lines.pop(0)
        program = "\n".join(lines)
    if not _CODE.search(program):
        return failed(Failure.NOTHING, "no program is stated")
    return program


def without_unused(program: str) -> str:
    """A program without the plain imports whose name it never mentions again: habit makes models write them.

    They change no value, and Monty lacks the modules (numpy above all) that the sandbox takes half a second to load.
    """
    mentions = Counter(re.findall(r"\w+", program))

    def kept(match: re.Match[str]) -> str:
        name = match["name"] or match["module"].partition(".")[0]
        return match[0] if mentions[name] > re.findall(r"\w+", match[0]).count(name) else ""

    return _IMPORT.sub(kept, program)


def run(text: str, interpreter: Interpreter, limits: Limits) -> Execution:
    """Read a program and run it: in Monty, and where that knows too little of Python, confined by the system."""
    program = read(text, limits)
    if isinstance(program, Execution):
        return program
    found, doubtful = interpreter.run(without_unused(program))
    if not doubtful:
        return found
    missing = confinement().missing
    if missing:
        return failed(Failure.NOT_RUN, f"it needs more of Python than Monty has ({found.detail}); {missing}", RAN_IN)
    return run_confined(program, limits)
