from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from feints import __version__, methods, tasks
from feints.cli import app
from feints.verify.rows import judge_rows

Command = Callable[..., "subprocess.CompletedProcess[str]"]
TEACHES = {
    (): ("learn from the wrong answers too", "feints run recipes/quickstart.yaml", "no network, key or GPU"),
    ("plan",): ("before anything is spent", "--set train.epochs=3", "runs/NAME"),
    ("generate",): ("needs no torch", "feints run"),
    ("run",): ("kill it at any moment", "see recipes/"),
    ("show",): ("intervals", "A run folder"),
    ("solve",): ("as the task words it", "--seed", "--arm"),
    ("errors",): ("why wrong answers are wrong", "costs nothing", "--sample", "--arm"),
    ("oracle",): ("teacher's key points", "--set"),
    ("verify",): ("verdict", "gold", ".jsonl.gz", "--workers"),
    ("export",): ("token weights", "llamafactory", "--arm"),
    ("schema",): ("JSON schema", "editors"),
    ("list",): ("methods", "tasks"),
    ("lab",): ("offline world",),
    ("new-student",): ("untrained", "--out"),
    ("lab", "serve"): ("OpenAI-compatible", "429=0.05,500=0.02", "--latency", "0 takes a free one"),
    ("lab", "pretrain"): ("one-step arithmetic", "resumes after a crash"),
}


def unwrapped(text: str) -> str:
    """Help as it reads, without the frames and line ends a terminal puts into it."""
    return re.sub(r"[\s│╭╮╰╯─]+", " ", text)


@pytest.mark.parametrize("words", TEACHES, ids=" ".join)
def test_help_teaches(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")
    with pytest.raises(SystemExit) as stopped:
        app([*words, "--help"])
    assert stopped.value.code == 0
    shown = unwrapped(capsys.readouterr().out)
    for phrase in TEACHES[words]:
        assert phrase in shown, f"`feints {' '.join(words)} --help` does not say {phrase!r}"


def test_every_command_is_in_the_list_above() -> None:
    commands = {(command.name or command.callback.__name__,) for command in app.registered_commands}
    groups = {(group.name,) for group in app.registered_groups}
    inner = {
        (group.name, command.name)
        for group in app.registered_groups
        for command in group.typer_instance.registered_commands
    }
    assert {(), *commands, *groups, *inner} == set(TEACHES)


def test_help_needs_no_torch_and_little_time() -> None:
    program = (
        "import sys\n"
        "sys.argv = ['feints', '--help']\n"
        "from feints.cli import main\n"
        "try:\n    main()\n"
        "finally:\n"
        "    heavy = {'torch', 'transformers', 'peft', 'accelerate', 'datasets', 'scipy.stats', 'sympy'}\n"
        "    print('loaded:', sorted(heavy & set(sys.modules)))\n"
    )
    before = os.times()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    after = os.times()
    assert "loaded: []" in done.stdout
    took = after.children_user + after.children_system - before.children_user - before.children_system
    assert took < 3, f"feints --help took {took:.1f} s of processor time"


def test_version_and_unknown_commands(command: Command) -> None:
    assert command("--version").stdout.strip() == f"feints {__version__}"
    done = command("ruN")
    assert done.returncode == 2 and "No such command" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_plan_shows_requests_tokens_and_money_and_spends_nothing(
    command: Command, small_recipe: Path, tmp_path: Path
) -> None:
    paid = (
        "teacher={source: openai, model: m, base_url: 'http://127.0.0.1:9/v1', api_key_env: NO_SUCH_KEY, "
        "prices: {m: {input: 10.0, output: 30.0, currency: EUR}}}"
    )
    done = command("plan", small_recipe, "--set", paid, "--out", tmp_path / "inner/run")
    assert done.returncode == 0, done.stderr
    assert "requests: 48 to send, 0 of 48 stored" in done.stdout
    assert "completion tokens: at most 9,600" in done.stdout
    assert re.search(r"prompt tokens: about [\d,]+", done.stdout)
    money = re.search(r"money: at most ([\d.]+) EUR", done.stdout)
    assert money and float(money[1]) > 9600 * 30 / 1e6 - 0.01
    assert not (tmp_path / "inner/run").exists()


def test_schema_and_list_know_every_task_and_method(command: Command) -> None:
    schema = json.loads(command("schema").stdout)
    assert schema["type"] == "object" and schema["additionalProperties"] is False
    told = json.dumps(schema)
    listed = command("list").stdout
    for name in ("lab", *tasks.names(), *methods.names()):
        assert f'"{name}"' in told and name in listed


@pytest.mark.slow
def test_show_solve_and_verify_on_a_small_run(command: Command, small_recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = command("run", small_recipe, "--out", out, "--set", "exam.limit=4")
    assert done.returncode == 0, done.stderr
    assert f"report: {out}/6_report/index.html" in done.stdout and (out / "6_report/index.html").is_file()
    table = done.stdout.partition("report:")[0].strip()
    for words in ("plain_cot", "answer_only", "untrained", "95 % interval", "of 4 test problems"):
        assert words in table
    assert command("show", out).stdout.strip() == table
    solved = command("solve", out, "Ann has 3 apples and 4 pears. How many does she have?")
    assert solved.returncode == 0 and solved.stderr == ""
    refused = command("solve", out, "?", "--arm", "plain_cott")
    assert refused.returncode == 1 and "did you mean plain_cot?" in refused.stderr


@pytest.mark.slow
def test_verify_keeps_fields_and_counts(command: Command, tmp_path: Path) -> None:
    rows = [
        {"gold": "12", "text": "The answer is 12.", "mine": 1},
        {"gold": "12", "text": "The answer is 13.", "mine": 2},
        {"gold": "12", "text": "I do not know.", "mine": 3},
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = command("verify", tmp_path / "rows.jsonl", "--out", tmp_path / "judged.jsonl", "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert "3 rows" in done.stdout and "1 correct" in done.stdout and "1 no_answer" in done.stdout
    judged = [json.loads(line) for line in (tmp_path / "judged.jsonl").read_text().splitlines()]
    assert [row["verdict"] for row in judged] == ["correct", "wrong", "no_answer"]
    assert [row["mine"] for row in judged] == [1, 2, 3]
    assert judge_rows(tmp_path / "rows.jsonl", tmp_path / "again.jsonl", workers=1).rows == 3
    refused = command("verify", tmp_path / "nowhere.jsonl", "--out", tmp_path / "x.jsonl")
    assert refused.returncode == 1 and "nowhere.jsonl" in refused.stderr and "Traceback" not in refused.stderr


@pytest.mark.slow
def test_lab_serve_answers_a_request_and_stops_on_ctrl_c(start_command: Callable[..., subprocess.Popen[str]]) -> None:
    server = start_command("lab", "serve", "--port", 0)
    assert server.stdout is not None
    try:
        said = server.stdout.readline()
        url = re.search(r"http://\S+/v1", said)
        assert url and "lab-teacher" in said and "Ctrl+C" in said
        question = "Mia has 5 apples. Tom gives Mia 4 apples. How many apples does Mia have?"
        body = {"model": "m", "messages": [{"role": "user", "content": question}], "max_tokens": 100}
        asked = urllib.request.Request(
            url.group() + "/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked) as reply:
            found = json.load(reply)
        assert found["choices"][0]["message"]["content"] and found["usage"]["completion_tokens"] > 0
    finally:
        os.kill(server.pid, signal.SIGINT)
        began = time.monotonic()
        _, errors = server.communicate(timeout=30)
    assert time.monotonic() - began < 20 and "Traceback" not in errors


def test_a_port_that_is_none_is_one_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    for port in ("99999", "-5"):
        with pytest.raises(SystemExit) as stopped:
            app(["lab", "serve", "--port", port])
        assert stopped.value.code == 2 and "Invalid value for '--port'" in unwrapped(capsys.readouterr().err)


def test_wrong_options_of_the_server_are_one_error(command: Command) -> None:
    for words, said in (
        (("--fail", "429"), "write kind=rate"),
        (("--regime", "slip"), "did you mean slips?"),
        (("--api-key-env", "NO_SUCH_VARIABLE"), "NO_SUCH_VARIABLE"),
    ):
        done = command("lab", "serve", "--port", 0, *words)
        assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr
