from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from feints.config import Settings, parse_document, read_document, validate
from feints.errors import SettingsError


class Inner(Settings):
    epochs: int = 1
    learning_rate: float = 1e-3


class One(Settings):
    source: Literal["one"]
    latency: float = 0.0


class Two(Settings):
    source: Literal["two"]
    path: str


class Outer(Settings):
    name: str
    train: Inner = Inner()
    teacher: One | Two = Field(default=One(source="one"), discriminator="source")
    seeds: tuple[int, ...] = (0,)


class Several(Settings):
    path: str | tuple[str, ...] | dict[str, str]
    nested: dict[str, str | tuple[str, ...]]


def load(text: str, *overrides: str) -> Outer:
    return validate(parse_document(text, "recipe.yaml", overrides), Outer)


def test_values_and_overrides_reach_the_settings() -> None:
    settings = load("name: a\ntrain:\n  epochs: 2\n", "train.learning_rate=0.5", "seeds=[1, 2]")
    assert settings.train == Inner(epochs=2, learning_rate=0.5)
    assert settings.seeds == (1, 2)


def test_all_mistakes_are_listed_at_once_with_lines_and_near_matches() -> None:
    text = "nmae: a\ntrain:\n  epochs: two\n  learning_rat: 0.1\nteacher:\n  source: two\n  pth: x\n"
    with pytest.raises(SettingsError) as caught:
        load(text)
    message = str(caught.value)
    assert "6 mistakes" in message
    for expected in (
        "line 1: nmae: unknown key; did you mean name?",
        "name: is missing",
        "line 3: train.epochs: input should be a valid integer",
        "line 4: train.learning_rat: unknown key; did you mean learning_rate?",
        "line 7: teacher.pth: unknown key; did you mean path?",
        "teacher.path: is missing",
    ):
        assert expected in message, message


def test_a_value_that_may_have_several_forms_is_one_mistake() -> None:
    document = parse_document("path: 5\nnested: {a: 5, b: x}\n", "r.yaml")
    with pytest.raises(SettingsError) as caught:
        validate(document, Several)
    assert str(caught.value).splitlines() == [
        "r.yaml has 2 mistakes:",
        "  line 1: path: input should be a valid string or a list or a valid dictionary (found 5)",
        "  line 2: nested.a: input should be a valid string or a list (found 5)",
    ]


def test_a_wrong_override_is_named_as_such() -> None:
    with pytest.raises(SettingsError, match=r"--set train.epochs: input should be a valid integer"):
        load("name: a", "train.epochs=many")
    with pytest.raises(SettingsError, match=r"write --set key.inner=value"):
        load("name: a", "train.epochs")
    with pytest.raises(SettingsError, match="the value is not valid YAML: day"):
        load("name: a", "name=2026-02-30")


def test_overrides_reach_into_lists_and_say_what_they_cannot() -> None:
    text = "baselines:\n- {name: edit, second: krsl}\n- {name: nat}\n"
    document = parse_document(text, "r.yaml", ["baselines.0.second=dpo", "baselines.1={name: mix}"])
    assert document.values["baselines"] == [{"name": "edit", "second": "dpo"}, {"name": "mix"}]
    for override, words in (
        ("baselines.2.second=dpo", "an item of a list of 2; name one by its number, from 0"),
        ("baselines.first.second=dpo", "an item of a list of 2"),
        ("baselines.2.0=1", "an item of a list of 2"),
    ):
        with pytest.raises(SettingsError, match=words):
            parse_document(text, "r.yaml", [override])
    with pytest.raises(SettingsError, match="x would stand inside of 7"):
        parse_document("seeds: [7]", "r.yaml", ["seeds.0.x=1"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: a\nname: b\n", "line 2: name is given twice"),
        ("name: [a\n", "not valid YAML"),
        ("- a\n", "holds a list"),
        ("name: 2026-02-30\n", "not valid YAML: day"),
        ("name: &x {inner: *x}\n", "a value holds itself"),
    ],
)
def test_a_file_that_is_no_recipe(text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load(text)


def test_a_missing_file_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no recipe at"):
        read_document(tmp_path / "none.yaml")
