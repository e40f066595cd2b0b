from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

from feints.records import Choice, Form, Judgement
from feints.report import page as page_module
from feints.report.contents import RunContents, Sample
from feints.report.page import LONG_TEXT, render_page, write_page

HOSTILE = (
    "</p></textarea></title></style><script>alert(1)</script><img src=x onerror=alert(2)>"
    "\u202eevil\u2066\x00\x1b[31m\ud800{{ 7*7 }}\" onmouseover='alert(3)' &lt;b&gt; <!-- ]]> 100 %"
)
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Reader(HTMLParser):
    """Tags, attributes and visible text; complains of tags that do not nest."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.said: list[str] = []
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def hostile(made_up: ModuleType) -> RunContents:
    """Every text of a run replaced by hostile text."""
    run = made_up.run()
    judged = made_up.judged(HOSTILE * 12, Judgement.WRONG, HOSTILE, HOSTILE, thinking=HOSTILE)
    judged = replace(judged, rationale=replace(judged.rationale, author=HOSTILE))
    program = replace(judged, rationale=replace(judged.rationale, form=Form.POT, text=HOSTILE))
    problem = replace(
        made_up.problem(), id=HOSTILE, question=HOSTILE, answer=HOSTILE, choices=(Choice(label=HOSTILE, text=HOSTILE),)
    )
    example = replace(made_up.weighted(True), title=HOSTILE)
    foul = replace(example, tokens=tuple(HOSTILE for _ in example.tokens))
    return replace(
        run,
        **{f.name: HOSTILE for f in fields(run) if isinstance(getattr(run, f.name), str)},
        notes=(HOSTILE,),
        warnings=(HOSTILE,),
        arms=tuple(replace(arm, name=HOSTILE + arm.name, explanation=HOSTILE) for arm in run.arms),
        scores=tuple(replace(score, solver=HOSTILE + score.solver, problem_set=HOSTILE) for score in run.scores),
        comparisons=tuple(replace(row, a=HOSTILE, how=HOSTILE) for row in run.comparisons),
        funnel=tuple(replace(s, name=HOSTILE, unit=HOSTILE, reasons=(HOSTILE,) * len(s.reasons)) for s in run.funnel),
        spend=replace(run.spend, teacher=HOSTILE, currency=HOSTILE),
        samples=(Sample(problem=problem, right=(judged, program), wrong=(judged,), other=(judged,)),),
        examples=(foul,),
        curves=tuple(replace(curve, arm=HOSTILE + curve.arm) for curve in run.curves),
        by_topic=tuple(replace(row, group=HOSTILE) for row in run.by_topic),
        further_funnels=tuple(replace(own, title=HOSTILE) for own in run.further_funnels),
        pairs=tuple(replace(pair, problem=problem, right=foul, wrong=foul, pattern=HOSTILE) for pair in run.pairs),
        overlaps=tuple(replace(row, a=HOSTILE) for row in run.overlaps),
        rankers=tuple(replace(row, arm=HOSTILE) for row in run.rankers),
        votes=tuple(replace(line, label=HOSTILE + line.label) for line in run.votes),
        key_shares=tuple(replace(share, arm=HOSTILE) for share in run.key_shares),
        rounds=tuple(replace(row, arm=HOSTILE, brought=replace(row.brought, outcome=HOSTILE)) for row in run.rounds),
    )


def test_the_page_is_whole_and_says_the_result(made_up: ModuleType) -> None:
    reader = read(render_page(made_up.run()))
    assert reader.faults == [] and reader.open == []
    text = " ".join("".join(reader.text).split())
    assert "plain_cot solves 52.3 % [" in text
    for heading in ("Accuracy", "Paired comparisons", "What the teacher cost", "From sampled to learnt", "Training"):
        assert heading in text
    assert [tag for tag, _ in reader.tags].count("h1") == 1
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {str(attrs["href"])[1:] for tag, attrs in reader.tags if tag == "a"}
    pointers = ("aria-labelledby", "aria-describedby")
    named = {id_ for _, attrs in reader.tags for name in pointers for id_ in str(attrs.get(name) or "").split()}
    assert targets | named <= set(ids)


def test_key_tokens_are_told_apart_by_more_than_colour(made_up: ModuleType) -> None:
    page = render_page(made_up.run())
    keys = page[page.index('<section id="keys"') : page.index('<section id="weights"')]
    assert re.findall(r'<mark class="key-(\w+)">([^<]*)</mark>', keys[keys.index("<article") :])[:3] == [
        ("right", " 28"), ("wrong", " - 9"), ("wrong", " 19"),
    ]  # fmt: skip
    assert "1 of 12 tokens are key tokens" in keys and "3 of 14 tokens are key tokens" in keys
    assert "mistake: logical" in keys and "edit: median share of key tokens 0.08 of right and 0.21 of wrong" in keys
    style = (Path(page_module.__file__).parent / "templates/page.css").read_text()
    assert re.search(r"mark\.key-right \{[^}]*underline", style)
    assert re.search(r"mark\.key-wrong \{[^}]*underline wavy", style)


def test_a_program_stands_as_it_was_written_beside_its_result(made_up: ModuleType) -> None:
    page = render_page(made_up.run())
    assert "<code>boxes = 3\nans = (boxes * 12 - 8) / 4\n</code></pre>" in page
    assert "Result <bdi><code>7</code></bdi>, gold answer <bdi><code>7</code></bdi>" in page


def test_votes_are_drawn_against_samples_and_tokens(made_up: ModuleType) -> None:
    page = render_page(made_up.run())
    votes = " ".join(
        "".join(read(page[page.index('<section id="votes"') : page.index('<section id="comp')]).text).split()
    )
    assert "Accuracy against samples of a problem" in votes and "Accuracy against new tokens of a problem" in votes
    assert "asc: majority until decided" in votes and "56.0 % [52.9, 59.0]" in votes and "0.97" in votes
    assert "asc, seed 03111.000.14" in votes and "Share right by score" in votes
    assert 'id="votes"' not in render_page(made_up.run(votes=(), rankers=()))
    overlap = " ".join("".join(read(page[page.index("Which problems two") :]).text).split())
    assert "plain_cot and nat3107020.440.35" in overlap


def test_every_round_has_its_exam_cost_and_outcome(made_up: ModuleType) -> None:
    page = render_page(made_up.run())
    text = " ".join("".join(read(page).text).split())
    rounds = text[text.index("Rounds Each round begins") : text.index("Right and wrong, side by side")]
    for words in ("402 of 950", "31 of 80", "377", "101,100", "0.21 USD", "no mistakes", "test: 48.0 % ["):
        assert words in rounds
    assert "tailored, round 2" in text[: text.index("Rounds Each round begins")]
    assert "Key tokens, right" in text and 'class="right-key-line"' in page
    plain = render_page(made_up.run(rounds=(), curves=(made_up.curve("answer_only", 0),)))
    assert 'id="rounds"' not in plain and "Key tokens, right" not in plain


def test_nothing_is_loaded_from_anywhere(made_up: ModuleType) -> None:
    page = render_page(made_up.run())
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert f'content="{policy}' in page
    assert page.index("Content-Security-Policy") < page.index("<style>")
    for tag, attrs in read(page).tags:
        assert tag not in ("script", "iframe", "object", "embed", "img", "form", "base")
        assert not [name for name in attrs if name.startswith("on")]
        assert str(attrs.get("href", "#")).startswith(("#", "data:,")) and "src" not in attrs
    assert "@import" not in page and "http://" not in page and "https://" not in page
    assert set(re.findall(r"url\((.*?)\)", page)) <= {"#hatch"}


def test_hostile_text_stays_text(made_up: ModuleType) -> None:
    calm, foul = read(render_page(made_up.run())), read(render_page(hostile(made_up)))
    assert foul.faults == [] and foul.open == []
    assert {tag for tag, _ in foul.tags} <= {tag for tag, _ in calm.tags} | {"li", "ul"}
    assert not [attrs for _, attrs in foul.tags if any(name.startswith("on") for name in attrs)]
    text = "".join(foul.text)
    assert "<script>alert(1)</script>" in text and "{{ 7*7 }}" in text
    assert "⟨U+202E⟩evil⟨U+2066⟩␀␛[31m⟨U+D800⟩" in text


def test_hostile_page_can_be_written(made_up: ModuleType, tmp_path: Path) -> None:
    written = write_page(hostile(made_up), tmp_path / "page.html").read_text(encoding="utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", written)


def test_a_percentage_never_stands_without_its_interval(made_up: ModuleType) -> None:
    text = " ".join("".join(read(render_page(made_up.run())).text).split())
    alone = re.sub(r"\d+\.\d % \[\d+\.\d, \d+\.\d\]|95 % interval", "", text)
    assert text.count("%") > 40 and "%" not in alone
    reader = read(render_page(made_up.run()))
    styled = [value for _, attrs in reader.tags for name, value in attrs.items() if name in ("title", "aria-label")]
    assert not [value for value in styled if "%" in str(value) and "[" not in str(value)]


def test_long_text_folds_and_loses_nothing(made_up: ModuleType) -> None:
    words = " ".join(f"word{index}" for index in range(600))
    judged = made_up.judged(words, Judgement.CORRECT, "7", "equal")
    page = render_page(made_up.run(samples=(Sample(problem=made_up.problem(), right=(judged,), wrong=()),)))
    text = "".join(read(page).text)
    assert all(re.search(rf"\bword{index}\b", text) for index in range(600))
    assert f"The remaining {len(words) - words.rfind(' ', 0, LONG_TEXT):,} characters" in text
    assert "None in this run." in text


def test_a_run_with_nothing_has_a_page(made_up: ModuleType) -> None:
    empty = RunContents(
        name="x", created="", commit="", profile="", machine="", seeds=(), recipe="", arms=(), scores=()
    )
    reader = read(render_page(empty))
    assert reader.faults == []
    assert "no result to report" in "".join(reader.text)


def test_the_same_run_gives_the_same_page(made_up: ModuleType) -> None:
    assert render_page(made_up.run()) == render_page(made_up.run())


def test_the_report_needs_no_torch() -> None:
    asked = "import sys, feints.report.page, feints.report.table; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"
