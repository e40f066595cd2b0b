"""A command of the line in this process, for tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from feints.cli import main

Done = Callable[..., tuple[int, str]]


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Done:
    """Does a command; returns its status, and what it printed or complained about."""

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["feints", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
        except SystemExit as stopped:
            status = int(stopped.code or 0)
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        if status:
            before, _, error = f"\n{said.err}".partition("\nerror: ")
            assert status == 1 and error and "\nerror: " not in error, said.err
            return status, error
        return status, said.out

    return run


def sets(*settings: str) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]
