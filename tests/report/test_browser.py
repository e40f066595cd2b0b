from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from feints.report.page import write_page

pytestmark = pytest.mark.browser

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)

CONTRAST = """() => {
  const paint = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = colour => { paint.clearRect(0, 0, 1, 1); paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1);
    return [...paint.getImageData(0, 0, 1, 1).data]; };
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => v / 255).map(v =>
    v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
    if (c[3] === 255) return c; } throw new Error('no background'); };
  const found = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || ['title', 'desc', 'TITLE'].includes(e.tagName) || e.closest('.unseen')) continue;
    const style = getComputedStyle(e);
    const ink = rgb(e.namespaceURI.endsWith('svg') ? style.fill : style.color);
    const [a, b] = [light(ink), light(behind(e))];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.tagName + ' ' + e.textContent.slice(0, 40)]);
  }
  return found.sort((x, y) => x[0] - y[0]);
}"""
"""Contrast ratio (WCAG 2.2) of every element with text of its own against what is behind it, lowest first."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine; on Debian: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=CHROMIUM, headless=True, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def page_file(made_up: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(made_up.run(), tmp_path_factory.mktemp("page") / "index.html")


class Visit:
    """One opened page and all it complained of or asked for."""

    def __init__(self, browser: Any, path: Path, **context: Any) -> None:
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append("dialog " + dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


def test_it_opens_from_disk_without_a_word_or_a_request(browser: Any, page_file: Path) -> None:
    with Visit(browser, page_file) as visit:
        assert visit.said == []
        assert visit.asked == [page_file.as_uri()]
        assert visit.page.get_by_role("heading", level=1).inner_text() == "quickstart"
        headings = visit.page.get_by_role("heading", level=2).all_inner_texts()
        assert headings[0] == "Result" and headings[-1] == "About this run" and len(headings) == 12
        for role in ("banner", "main", "contentinfo", "navigation"):
            assert visit.page.get_by_role(role).count() == 1
        assert visit.page.get_by_role("img", name="Accuracies on test").is_visible()
        assert visit.page.get_by_text("plain_cot solves 52.3 % [").is_visible()


def test_the_policy_stops_what_could_get_in(browser: Any, page_file: Path, tmp_path: Path) -> None:
    broken = page_file.read_text(encoding="utf-8").replace(
        "</main>", "<script>document.title = 'run'</script><img src='http://127.0.0.1:9/x.png'></main>"
    )
    (tmp_path / "broken.html").write_text(broken, encoding="utf-8")
    with Visit(browser, tmp_path / "broken.html") as visit:
        assert visit.page.title() == "quickstart · feints"
        assert len([text for text in visit.said if "Content Security Policy" in text]) == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_contrast(browser: Any, page_file: Path, scheme: str) -> None:
    with Visit(browser, page_file, color_scheme=scheme) as visit:
        visit.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        found = visit.page.evaluate(CONTRAST)
        assert len(found) > 200
        assert found[0][0] >= 4.5, found[:5]
        paper = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (scheme == "dark") == (paper == "rgb(19, 21, 24)")


@pytest.mark.parametrize("width", [320, 380, 800, 1280])
def test_no_sideways_scroll_and_no_overlap(browser: Any, made_up: ModuleType, tmp_path: Path, width: int) -> None:
    run = made_up.run()
    ends = ("_with_a_name_that_is_long", "_with_a_name_that_is_longer_one_that_is_not_shown_whole")
    long = [replace(score, solver=score.solver + end) for score in run.scores for end in ends]
    path = write_page(replace(run, scores=(*run.scores, *long)), tmp_path / "page.html")
    with Visit(browser, path, viewport={"width": width, "height": 900}) as visit:
        visit.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        overlaps = visit.page.evaluate(
            """() => [...document.querySelectorAll('.intervals svg svg')].filter(row => {
              const [name, value] = [...row.querySelectorAll('text')].map(t => t.getBoundingClientRect());
              return name && value && (name.right > document.documentElement.clientWidth ||
                (name.right > value.left && name.bottom > value.top + 1)); }).length"""
        )
        assert overlaps == 0
        names = visit.page.locator(".intervals svg svg > text:first-child").all_text_contents()
        assert any(name.endswith("plain_cot" + ends[0]) for name in names)
        assert any(name.endswith("…") for name in names)


def test_folds_open_by_keyboard_alone(browser: Any, page_file: Path) -> None:
    with Visit(browser, page_file) as visit:
        visit.page.keyboard.press("Tab")
        assert visit.page.evaluate("document.activeElement.textContent") == "Skip to the result"
        for _ in range(60):
            visit.page.keyboard.press("Tab")
            if visit.page.evaluate("document.activeElement.textContent") == "Every exam of every seed":
                break
        opened = "document.activeElement.parentElement.open"
        assert visit.page.evaluate(opened) is False
        visit.page.keyboard.press("Enter")
        assert visit.page.evaluate(opened) is True
        assert visit.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        visit.page.keyboard.press("Tab")
        assert visit.page.evaluate("document.activeElement.getAttribute('role')") == "region"


def test_nothing_moves_while_it_loads(browser: Any, page_file: Path) -> None:
    with Visit(browser, page_file) as visit:
        shift = visit.page.evaluate(
            """() => new Promise(done => { let sum = 0;
              new PerformanceObserver(list => list.getEntries().forEach(e => sum += e.value))
                .observe({type: 'layout-shift', buffered: true});
              setTimeout(() => done(sum), 300); })"""
        )
        assert shift == 0


def test_hostile_text_does_nothing(browser: Any, made_up: ModuleType, tmp_path: Path) -> None:
    foul = "</textarea></style></title><script>document.title='run'</script><img src=x onerror=alert(1)>\u202eabc\x00"
    judged = made_up.judged(foul, made_up.Judgement.WRONG, foul, foul, thinking=foul)
    sample = made_up.Sample(problem=made_up.problem(foul, foul), right=(judged,), wrong=(judged,))
    path = write_page(made_up.run(name=foul, samples=(sample,), notes=(foul,)), tmp_path / "foul.html")
    with Visit(browser, path, viewport={"width": 380, "height": 900}) as visit:
        assert visit.said == [] and visit.asked == [path.as_uri()]
        assert visit.page.title().endswith("· feints")
        assert visit.page.evaluate("document.querySelectorAll('script, img, textarea').length") == 0
        said = visit.page.locator(".said").first.inner_text()
        assert "<script>" in said and said.endswith("⟨U+202E⟩abc␀")
        visit.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 380


def test_it_prints(browser: Any, page_file: Path, tmp_path: Path) -> None:
    with Visit(browser, page_file) as visit:
        visit.page.pdf(path=str(tmp_path / "page.pdf"), format="A4", print_background=False)
        assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
        visit.page.emulate_media(media="print")
        assert visit.page.evaluate("getComputedStyle(document.querySelector('nav.contents')).display") == "none"
