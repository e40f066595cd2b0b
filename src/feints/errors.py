"""Floor: every error a user can meet, as one tree. Each message says what was found, where, what to do next.

FeintsError
|-- SettingsError          a recipe, a flag or an environment variable cannot be used
|   |-- UnknownNameError   no such method, task, source ...; near matches are named
|-- DataError              a problem, a gold answer or a table cannot be used
|   |-- EmptyPileError     nothing is left to learn from
|   |-- VersionError       a run folder or table of another version
|-- SourceError            a text source cannot be reached or refuses for good
|   |-- BudgetError        the budget does not allow another request
|-- StudentError           weights or tokenizer cannot be used
|-- StorageError           the disk is full or a file is damaged
|-- MissingExtraError      an optional dependency is not installed; the command to install it
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FeintsError(Exception):
    """Base of all errors that are the user's to mend; the command line prints them without a traceback."""


class SettingsError(FeintsError):
    """A recipe, a flag or an environment variable cannot be used as it is."""


class UnknownNameError(SettingsError):
    """A name that nothing answers to."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
        super().__init__(f"no {what} is called {name!r}; {hint}")


class DataError(FeintsError):
    """A problem, a gold answer or a table cannot be used."""


class EmptyPileError(DataError):
    """Nothing is left to learn from."""


class VersionError(DataError):
    """A run folder or a table was written by another version."""


class SourceError(FeintsError):
    """A text source cannot be reached or refuses for good."""


class BudgetError(SourceError):
    """The budget does not allow another request."""


class StudentError(FeintsError):
    """A student's weights or tokenizer cannot be used."""


class StorageError(FeintsError):
    """The disk is full or a file is damaged."""


class MissingExtraError(FeintsError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}, which is not installed; run: pip install 'feints[{extra}]'")
