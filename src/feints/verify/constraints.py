"""The form `sat`: declarative constraints, one a line in any order, and `solve(ans)` (SatLM)."""

from __future__ import annotations

import re

from feints.generate.prompt import Prompt
from feints.verify.equations import MAX_LINES, lines_of
from feints.verify.execution import Execution, Failure, Limits, failed
from feints.verify.terms import Reader, TermError, Tree, names, read_relation, renamed, tokens

TARGET = "ans"
TEACHER = Prompt(
    id="teacher_sat",
    template="{question}\n{choices}\n\nWrite the problem as declarative constraints for a solver.\n{cue}",
    cue="Write one constraint per line, with =, <, <=, > or >=; state what is known and do not work anything out. "
    "Call what is asked for ans and end with the line solve(ans). Comments start with #. Write nothing else.",
)
"""What a teacher is asked."""
STUDENT = Prompt(
    id="student_sat",
    template="{question}\n{choices}\n{cue}",
    cue="Let us write the constraints of the problem.",
)
"""What a student is trained and examined on."""
_DECLARED = re.compile(r"([A-Za-z_]\w*)\s*=\s*(Variable|Real|Int|Integer)\s*\(\s*(?:['\"]\w*['\"])?\s*\)")
_SOLVE = re.compile(r"(?:result\s*=\s*)?solve\s*\((.*)\)")


def read(text: str, limits: Limits) -> dict[str, object] | Execution:
    """What the solving process is told of a text, or why there is nothing to tell.

    A variable that a line overwrites with itself (x = x + 3) is another one from that line on, as in SatLM.
    """
    if len(text) > limits.text:
        return failed(Failure.SYNTAX, "the text is too long")
    lines = lines_of(text)
    if not any(sign in line for line in lines for sign in "=<>"):
        return failed(Failure.NOTHING, "no constraint is stated")
    if len(lines) > MAX_LINES:
        return failed(Failure.SYNTAX, f"more than {MAX_LINES} lines")
    found = _System()
    for number, line in enumerate(lines, 1):
        try:
            found.add(line)
        except TermError as error:
            return failed(Failure.SYNTAX, f"constraint {number}: {error}")
    return found.message(limits)


class _System:
    """Constraints read so far."""

    def __init__(self) -> None:
        self._relations: list[Tree] = []
        self._integers: set[str] = set()
        self._current: dict[str, str] = {}
        self._target: Tree = ["name", TARGET]

    def add(self, line: str) -> None:
        declared, asked = _DECLARED.fullmatch(line), _SOLVE.fullmatch(line)
        if declared:
            if declared[2].startswith("Int"):
                self._integers.add(declared[1])
        elif asked:
            self._target = _term(asked[1])
        else:
            self._state(read_relation(line))

    def _state(self, trees: list[Tree]) -> None:
        """Add the relations of a line, a self-overwritten name made a new one on its left side only."""
        left, right = (trees[0][1], trees[0][2]) if len(trees) == 1 and trees[0][0] == "=" else (None, None)
        if isinstance(left, list) and isinstance(right, list) and left[0] == "name" and left[1] in names(right):
            before = renamed(right, self._current)
            name = str(left[1])
            self._current[name] = f"{name}'{len(self._relations)}"
            if name in self._integers:
                self._integers.add(self._current[name])
            self._relations.append(["=", ["name", self._current[name]], before])
            return
        self._relations += [renamed(tree, self._current) for tree in trees]

    def message(self, limits: Limits) -> dict[str, object] | Execution:
        target = renamed(self._target, self._current)
        stated = set[str]().union(*(names(tree) for tree in self._relations))
        missing = names(target) - stated
        if missing:
            return failed(Failure.NO_ANSWER, f"no constraint holds {', '.join(sorted(missing))}")
        return {
            "solve": "constraints",
            "relations": self._relations,
            "integers": sorted(self._integers),
            "target": target,
            "seconds": limits.constraint_seconds,
        }


def _term(text: str) -> Tree:
    """One term, such as the x + y of solve(x + y)."""
    reader = Reader(tokens(text))
    found = reader.term()
    reader.end()
    return found
