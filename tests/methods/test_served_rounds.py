"""Rounds whose student is served by an endpoint over real HTTP, its adapter reloaded each round."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from feints.bench.serving import Serving, opened
from feints.errors import SettingsError, SourceError
from feints.generate.prompt import STUDENT
from feints.generate.settings import StudentEndpointSettings
from feints.generate.source import Message, Sampling
from feints.methods import tailored
from feints.records import Origin, Rationale
from feints.tables import read_table

GREEDY = 1e-4
"""A temperature at which endpoint and weights here write the same, whatever their random streams."""
KEY = "sk-served-canary-5d1f"


@pytest.fixture
def endpoint(load_beside: Callable[[str], ModuleType], talker: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("FEINTS_TEST_KEY", KEY)
    module = load_beside("lora_endpoint")
    with module.serving(module.Endpoint(folder=talker, key=KEY)) as running:
        yield running


def settings_of(endpoint: Any, **more: Any) -> StudentEndpointSettings:
    return StudentEndpointSettings(
        base_url=endpoint.base_url, model="base", api_key_env="FEINTS_TEST_KEY", concurrency=4, **more
    )


def own_texts(bench: Any) -> dict[tuple[int, str, int], str]:
    """What the student wrote in its exams."""
    return {
        (row.round, row.problem_id, row.sample_index): row.text
        for path, _ in bench.run.outputs("1_rationales")
        for row in read_table(path, Rationale)
        if row.origin is Origin.SELF
    }


def test_a_served_student_takes_the_exams_of_its_weights_and_its_adapter_is_reloaded_each_round(
    tiny: ModuleType, talker: Path, tmp_path: Path, endpoint: Any
) -> None:
    config = tailored.Config(rounds=2, samples=1, temperature=GREEDY)
    greedy = Sampling(temperature=GREEDY, max_tokens=24)
    with tiny.tiny_bench(tmp_path, talker, lora=True) as bench:
        here = replace(bench, serving=Serving(settings=settings_of(endpoint), base=talker, run=bench.run.path))
        tailored.distil(here, config)
        texts = own_texts(bench)
        assert here.serving is not None and here.serving.orders, "the endpoint counts as used"
        trained = [next(bench.run.path.glob(f"round_{n}/4_student/tiny-round_{n}-*/student")) for n in (1, 2)]
        for number, folder in enumerate([talker, *trained], start=1):
            asked = [problem for problem in bench.problems if (number, problem.id, 0) in texts]
            shot = bench.shot(folder, bench.prompt(STUDENT), sampling=greedy)
            said = [own.text for (own,) in shot.write(asked, 1, 0)]
            assert asked and said == [texts[number, problem.id, 0] for problem in asked], f"round {number}"
    loaded, unloaded = endpoint.asked("load_lora_adapter"), endpoint.asked("unload_lora_adapter")
    names = [body["lora_name"] for body in loaded]
    assert len(set(names)) == 2, "one adapter for each student that was trained"
    assert [body["lora_name"] for body in unloaded] == names and set(endpoint.sources) == {"base"}
    by = [body["model"] for body in endpoint.asked("completions")]
    assert list(dict.fromkeys(by)) == ["base", *dict.fromkeys(names)], (
        "the untrained student first, then each in its round"
    )
    # The second round's student holds what both rounds learnt: its adapter has the sum of their ranks.
    paths = dict.fromkeys(body["lora_path"] for body in loaded)
    ranks = [json.loads((Path(path) / "adapter_config.json").read_text())["r"] for path in paths]
    assert ranks == [2, 4]
    assert all(body["add_special_tokens"] and body["stop_token_ids"] for body in endpoint.asked("completions"))
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY.encode() not in everything


def test_an_adapter_left_by_a_killed_run_is_taken_as_it_is(
    tiny: ModuleType, talker: Path, tmp_path: Path, endpoint: Any
) -> None:
    with tiny.tiny_bench(tmp_path, talker, lora=True) as bench:
        bench = replace(bench, serving=Serving(settings=settings_of(endpoint), base=talker, run=bench.run.path))
        solver = tailored.distil(bench, tailored.Config(rounds=1, samples=1))
        (one,) = endpoint.asked("load_lora_adapter")
        endpoint.sources[one["lora_name"]] = endpoint.source(Path(one["lora_path"]))
        trained = next(path for path in bench.run.path.glob("round_1/4_student/*round_1*/student"))
        with opened(bench, trained) as source:
            assert source.settings.model == one["lora_name"]
    assert len(endpoint.asked("load_lora_adapter")) == 2 and set(endpoint.sources) == {"base"}
    assert solver.student.is_dir()


def test_what_an_endpoint_refuses_is_said_in_a_sentence_without_the_key(
    tiny: ModuleType, talker: Path, tmp_path: Path, endpoint: Any
) -> None:
    from feints.generate.rendering import Renderer
    from feints.generate.served import ServedStudent
    from feints.generate.weights import load_tokenizer

    rendering = Renderer(load_tokenizer(talker), False)
    settings = settings_of(endpoint)
    with pytest.raises(SourceError, match="did not load .*No adapter found"):
        ServedStudent(settings, rendering, "a" * 32, tmp_path / "nowhere").open()
    endpoint.adapters = False
    with pytest.raises(SettingsError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING"):
        ServedStudent(settings, rendering, "a" * 32, tmp_path / "nowhere").open()
    endpoint.key = "another"
    with pytest.raises(SourceError) as refused:
        ServedStudent(settings, rendering, "a" * 32, tmp_path / "nowhere").open()
    assert "401" in str(refused.value) and KEY not in str(refused.value)
    with pytest.raises(SettingsError, match=r"student_endpoint\.base_url"):
        ServedStudent(settings.model_copy(update={"base_url": "ftp://here"}), rendering, "a", None)
    far = ServedStudent(settings.model_copy(update={"base_url": "http://127.0.0.1:1/v1"}), rendering, "a", tmp_path)
    with pytest.raises(SourceError, match="cannot be reached"):
        far.open()
    ask = (Message(role="user", content="One and one?"),)
    assert rendering.prompt_text(ask) == "One and one?\n"


def test_the_run_may_have_another_path_on_the_endpoint_s_machine(
    tiny: ModuleType, talker: Path, tmp_path: Path
) -> None:
    from feints.bench.serving import _as_seen

    settings = StudentEndpointSettings(base_url="http://far/v1", model="base", run_seen_as="/mnt/run")
    serving = Serving(settings=settings, base=talker, run=tmp_path)
    assert _as_seen(serving, tmp_path / "round_1/4_student/x/adapter") == Path("/mnt/run/round_1/4_student/x/adapter")


def test_a_student_trained_in_full_cannot_be_served_and_says_why(
    tiny: ModuleType, talker: Path, tmp_path: Path, endpoint: Any
) -> None:
    with tiny.tiny_bench(tmp_path, talker) as bench:
        bench = replace(bench, serving=Serving(settings=settings_of(endpoint), base=talker, run=bench.run.path))
        with pytest.raises(SettingsError, match="kind: lora"):
            tailored.distil(bench, tailored.Config(rounds=1, samples=1))


def test_a_recipe_names_the_endpoint(tmp_path: Path) -> None:
    from feints.preparation import _serving
    from feints.recipe import load_recipe
    from feints.runs import RunFolder

    lines = ["name: served", "task: {name: lab}", "teacher: {source: lab}", "student: {model: here}"]
    lines += ["method: {name: tailored}", "student_endpoint: {base_url: http://gpu:8000/v1, model: qwen}"]
    (tmp_path / "served.yaml").write_text("\n".join(lines), encoding="utf-8")
    serving = _serving(load_recipe(tmp_path / "served.yaml"), RunFolder(tmp_path / "run"))
    assert serving is not None and serving.settings.model == "qwen"
    assert (serving.base, serving.run) == (Path("here"), tmp_path / "run")
    lines[-1] = "student_endpoint: {base_url: http://gpu:8000/v1, model: qwen, concurency: 3}"
    (tmp_path / "served.yaml").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(SettingsError, match="student_endpoint.concurency"):
        load_recipe(tmp_path / "served.yaml")
