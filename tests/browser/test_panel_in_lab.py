"""The panel in a real JupyterLab in headless Chromium."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
import requests
from lab_server import PATIENCE_MS, Lab, Notebook

import clipper_magic
from clipper_magic import ClipperConnection
from clipper_magic.managers.waiting import wait_for

try:
    from playwright.sync_api import expect
except ImportError:  # the fixtures skip, or fail where CLIPPER_TEST_REQUIRE asks for a browser
    expect = None
else:
    expect.set_options(timeout=PATIENCE_MS)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def row(notebook: Notebook, key: str) -> Any:
    """Return the row of a model version."""
    return notebook.panel.locator("tbody tr", has=notebook.page.locator(".name", has_text=key))


def replicas(notebook: Notebook, key: str) -> Any:
    return row(notebook, key).locator("output")


def test_rows_tell_what_serves(panel: Notebook) -> None:
    first = row(panel, "sum-model:2")

    expect(first).to_contain_text("hello-world")
    expect(first).to_contain_text("doubles · SLO 20 s")
    expect(first).to_contain_text("current")
    expect(first).to_contain_text("● serving")
    expect(replicas(panel, "sum-model:2")).to_have_text("1/1")
    expect(row(panel, "sum-model:1")).to_contain_text("● ready")
    expect(panel.panel.locator("tbody tr").last).to_contain_text("no model linked")


def test_everything_has_a_role_and_a_name(panel: Notebook) -> None:
    page = panel.page

    expect(page.get_by_role("region", name="What the cluster serves")).to_be_visible()
    expect(page.get_by_role("table", name="What the cluster serves")).to_be_visible()
    expect(page.get_by_role("button", name="one replica more of sum-model:2")).to_be_visible()
    expect(page.get_by_role("button", name="one replica fewer of sum-model:2")).to_be_visible()
    expect(page.get_by_role("button", name="make version 1 of sum-model current")).to_be_visible()
    expect(page.get_by_role("combobox", name="Latency of")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Replicas")).to_be_visible()
    expect(page.get_by_role("img", name="Latency of hello-world: p50")).to_be_visible()
    label = replicas(panel, "sum-model:2").get_attribute("aria-label")
    assert label == "replicas of sum-model:2: 1 ready, 1 requested"


def test_buttons_work_by_keyboard_and_keep_the_focus(panel: Notebook, cluster: ClipperConnection) -> None:
    more = panel.page.get_by_role("button", name="one replica more of sum-model:2")
    more.focus()
    panel.page.keyboard.press("Enter")
    expect(replicas(panel, "sum-model:2")).to_have_text("2/2")
    panel.page.keyboard.press("Space")
    expect(replicas(panel, "sum-model:2")).to_have_text("3/3")
    expect(panel.panel.locator("p[role=status]")).to_contain_text("sum-model:2: 3 replicas ready (was 2)")
    assert cluster.get_num_replicas("sum-model", 2) == 3

    panel.wait_for_looks(10)  # five seconds of refreshes
    expect(more).to_be_focused()


def test_two_quick_clicks_are_two_steps(panel: Notebook, cluster: ClipperConnection) -> None:
    more = panel.page.get_by_role("button", name="one replica more of sum-model:1")
    more.click()
    more.click()

    expect(replicas(panel, "sum-model:1")).to_have_text("3/3")
    assert cluster.get_num_replicas("sum-model", 1) == 3


def test_the_current_version_is_switched_and_the_focus_stays(panel: Notebook, cluster: ClipperConnection) -> None:
    panel.page.get_by_role("button", name="make version 1 of sum-model current").press("Enter")

    expect(panel.panel.locator("p[role=status]")).to_contain_text("sum-model: version 1 is current (was 2).")
    expect(panel.panel.locator("tbody tr").first).to_contain_text("sum-model:1")
    assert cluster.get_current_model_version("sum-model") == "1"
    expect(panel.page.get_by_role("button", name="one replica more of sum-model:1")).to_be_focused()


def test_scaling_works_while_a_cell_runs(own_panel: Notebook) -> None:
    own_panel.execute("import threading\nthreading.Event().wait(600)")
    try:
        own_panel.page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="busy"]', state="attached")
        own_panel.page.get_by_role("button", name="one replica more of sum-model:2").click()
        expect(replicas(own_panel, "sum-model:2")).to_have_text("2/2")
    finally:
        own_panel.command("kernelmenu:interrupt")
        own_panel.wait_for_kernel()


TIME = re.compile(r"\b\d[\d.,]* (µs|ms)")  # a quiet machine answers in less than a millisecond


def ask(cluster: ClipperConnection, times: int) -> None:
    """Send queries that no cache knows."""
    for _ in range(times):
        url = f"http://{cluster.get_query_addr()}/hello-world/predict"
        assert requests.post(url, json={"input": [random.random()]}, timeout=60).status_code == 200


def test_queries_are_drawn_against_the_slo(panel: Notebook, cluster: ClipperConnection) -> None:
    for _ in range(4):  # a line goes from one refresh to the next, so more than one must have seen queries
        ask(cluster, 15)
        panel.wait_for_looks(1)

    expect(panel.panel.locator("path.curve.p99")).to_have_attribute("d", re.compile(r"M[\d. ]+L"))
    expect(panel.panel.locator("text.slo")).to_have_text("SLO 20 s")
    expect(panel.panel.locator("text.p50")).to_have_text(TIME)
    expect(row(panel, "sum-model:2").locator("td.latency")).to_have_text(TIME)


CONTRAST = """
element => {
  const channel = c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const luminance = rgb => { const [r, g, b] = rgb.match(/[\\d.]+/g).map(Number).map(channel);
                             return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const background = node => { for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (!/, 0\\)$|transparent/.test(colour)) return colour; } return 'rgb(255, 255, 255)'; };
  const style = getComputedStyle(element);
  const colour = element instanceof SVGElement ? style.fill : style.color;
  const [a, b] = [luminance(colour), luminance(background(element))].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}
"""
WORDS = (
    ".name",
    "small",
    "thead th",
    "td.state span:last-child",
    "output",
    "text.slo",
    "text.p50",
    "text.p95",
    "text.p99",
)


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_words_are_readable_in_light_and_dark(
    panel: Notebook, cluster: ClipperConnection, pictures: Path, theme: str
) -> None:
    panel.command("apputils:change-theme", theme=theme)
    panel.page.wait_for_function(
        "light => document.body.dataset.jpThemeLight === light", arg=str(theme.endswith("Light")).lower()
    )
    ask(cluster, 40)
    expect(panel.panel.locator("text.p50")).to_have_text(TIME)
    panel.panel.screenshot(path=pictures / f"{theme}.png")

    contrasts = {selector: panel.panel.locator(selector).first.evaluate(CONTRAST) for selector in WORDS}
    assert {selector: contrast for selector, contrast in contrasts.items() if contrast < 4.5} == {}
    panel.command("apputils:change-theme", theme="JupyterLab Light")


OVERLAPPING = """
cells => {
  const boxes = cells.map(cell => cell.getBoundingClientRect());
  const covers = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const wide = cells.filter(cell => cell.scrollWidth > cell.clientWidth + 1);
  const pairs = cells.filter((_, i) => boxes.some((box, j) => i !== j && covers(boxes[i], box)));
  return [...wide, ...pairs].map(cell => `${cell.className}: ${cell.textContent}`);
}
"""


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("width", [480, 760, 1000, 1200])
def test_no_cell_covers_another(panel: Notebook, width: int, language: str) -> None:
    panel.execute(f"%clipper lang {language};")
    expect(panel.panel).to_have_attribute("lang", language)
    panel.page.set_viewport_size({"width": width, "height": 900})
    panel.wait_for_looks(2)

    assert panel.panel.locator("tbody td:not(.blank)").evaluate_all(OVERLAPPING) == []


def test_a_chart_that_nobody_asks_says_so(panel: Notebook) -> None:
    panel.page.get_by_role("combobox", name="Latency of").select_option("lonely")
    expect(panel.panel.locator("figure")).to_contain_text("no queries in the last minute")
    panel.page.get_by_role("combobox", name="Latency of").select_option("hello-world")


def test_a_chart_that_nobody_asks_keeps_its_words_clear_of_the_slo(panel: Notebook) -> None:
    panel.page.get_by_role("combobox", name="Latency of").select_option("lonely")
    expect(panel.panel.locator("text.slo")).to_have_text("SLO 100 ms")
    words = panel.panel.locator("figure text.axis[text-anchor=middle]")
    expect(words).to_have_text("no queries in the last minute")
    box, line = words.bounding_box(), panel.panel.locator("path.slo").bounding_box()

    assert not box["y"] <= line["y"] <= box["y"] + box["height"]
    panel.page.get_by_role("combobox", name="Latency of").select_option("hello-world")


CHART = Path(clipper_magic.__file__).parent / "panel" / "chart.js"


def test_a_point_without_neighbours_is_a_dot(panel: Notebook) -> None:
    """The chart's own function, with points of which one is alone."""
    points = "[1, NaN, 2, 3, NaN, 0]"
    drawn = panel.page.evaluate(f"() => {{ {CHART.read_text()}; return dots({points}, (i) => i, (v) => 10 * v); }}")
    style = "() => getComputedStyle(document.querySelector('.clipper-panel path.dot.p95'))"

    assert drawn == "M0.0 10.0h0"
    assert panel.page.evaluate(f"({style})().strokeLinecap") == "round"
    assert panel.page.evaluate(f"({style})().strokeDasharray") == "none"


def test_a_narrow_panel_needs_no_sideways_scrolling(panel: Notebook) -> None:
    panel.page.set_viewport_size({"width": 480, "height": 900})
    panel.wait_for_looks(2)

    assert panel.panel.evaluate("element => element.scrollWidth <= element.clientWidth")
    label = row(panel, "sum-model:2").locator("td.replicas").evaluate("e => getComputedStyle(e, '::before').content")
    assert label == '"Replicas"'


def test_it_greys_out_when_the_kernel_is_gone_and_lives_again(own_panel: Notebook) -> None:
    mistakes: list[str] = []
    own_panel.page.on("pageerror", lambda error: mistakes.append(str(error)))
    own_panel.restart()
    expect(own_panel.panel).to_have_class(re.compile("stale"))
    expect(own_panel.panel.get_by_role("alert")).to_contain_text("No news from the kernel for")
    assert own_panel.panel.locator(".live").evaluate("e => getComputedStyle(e).opacity") == "0.5"
    own_panel.page.get_by_role("button", name="one replica more of sum-model:2").click()
    own_panel.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    assert mistakes == []  # nobody hears the panel now, and nobody is to read of it

    own_panel.run_all()
    expect(own_panel.page.locator(".clipper-panel:not(.stale) tbody tr").first).to_be_visible()
    own_panel.wait_for_looks(3)


def test_a_reloaded_page_shows_a_live_panel(own_panel: Notebook, lab: Lab) -> None:
    own_panel.save()
    own_panel.open(own_panel.page.url.split("?")[0] + "?" + lab.url("x").partition("?")[2])
    expect(own_panel.panel.locator("tbody tr").first).to_be_visible()
    own_panel.wait_for_looks(3)
    expect(own_panel.panel).not_to_have_class(re.compile("stale"))


def test_french_words(panel: Notebook) -> None:
    panel.execute("%clipper lang fr;")
    expect(panel.panel.locator("thead")).to_contain_text("Répliques")
    expect(row(panel, "sum-model:2")).to_contain_text("en service")
    expect(panel.page.get_by_role("button", name="une réplique de plus pour sum-model:2")).to_be_visible()
    assert panel.panel.get_attribute("lang") == "fr"


FIVE_MINUTES = 600  # refreshes, at two a second


def test_five_minutes_of_refreshes_add_nothing_to_the_page(open_notebook: Callable[..., Notebook]) -> None:
    """As many refreshes as five minutes bring, quicker: no element of the panel, no node and no listener anywhere."""
    notebook = open_notebook("%load_ext clipper_magic", "%clipper panel --rate 10")
    notebook.run_all()
    browser = notebook.page.context.new_cdp_session(notebook.page)

    def things() -> tuple[int, int, int]:
        browser.send("HeapProfiler.collectGarbage")
        counted = browser.send("Memory.getDOMCounters")
        elements = notebook.panel.evaluate("element => element.querySelectorAll('*').length")
        return elements, counted["nodes"], counted["jsEventListeners"]

    notebook.wait_for_looks(20)
    before = things()
    for _ in range(FIVE_MINUTES // 100):
        notebook.wait_for_looks(100)
    after = things()

    assert after[0] == before[0]
    # JupyterLab's own come and go meanwhile, by the hundred; a leak of ours would add one or more a refresh.
    assert after[1] < before[1] + FIVE_MINUTES // 2 and after[2] < before[2] + FIVE_MINUTES // 2
    notebook.execute("%clipper panel --freeze")


def test_refreshes_do_not_mark_the_notebook_as_changed(own_panel: Notebook) -> None:
    own_panel.save()
    dirty = "window.jupyterapp.shell.currentWidget.context.model.dirty"
    own_panel.page.wait_for_function(f"!{dirty}")
    own_panel.wait_for_looks(5)

    assert own_panel.page.evaluate(dirty) is False


def saved_output(path: Path) -> dict[str, Any]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    found: dict[str, Any] = cells[-1]["outputs"][-1]["data"]
    return found


def test_frozen_it_is_html_in_the_file_and_in_a_notebook_that_is_not_trusted(
    own_panel: Notebook, cluster: ClipperConnection, lab: Lab, open_notebook: Callable[..., Notebook]
) -> None:
    ask(cluster, 20)
    own_panel.wait_for_looks(4)
    own_panel.panel.get_by_role("button", name="freeze").click()
    still = own_panel.page.locator(".jp-OutputArea table caption", has_text="frozen at")
    expect(still).to_be_visible()
    expect(own_panel.page.locator(".clipper-panel")).to_have_count(0)
    own_panel.save()
    assert wait_for(lambda: "frozen at" in str(saved_output(own_panel.path)), 60.0)
    data = saved_output(own_panel.path)
    assert WIDGET_VIEW not in data and "text/plain" in data

    copy = nbformat.read(own_panel.path, 4)
    copy.cells[0].source += "\n# copied from somewhere else: its outputs are not trusted"
    nbformat.write(copy, lab.folder / "copied.ipynb")
    opened = open_notebook(name="copied.ipynb")
    expect(opened.page.locator(".jp-OutputArea table caption")).to_contain_text("frozen at")
    picture = opened.page.locator('.jp-OutputArea img[alt^="Latency of hello-world"]')
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 0


def test_a_second_view_shows_the_same(open_notebook: Callable[..., Notebook], cluster: ClipperConnection) -> None:
    notebook = open_notebook("%load_ext clipper_magic", "%clipper panel", "%clipper panel")
    notebook.run_all()
    views = notebook.page.locator(".clipper-panel")
    expect(views).to_have_count(2)
    views.first.get_by_role("button", name="one replica more of sum-model:2").click()
    expect(views.last.locator("tbody tr").first.locator("output")).to_have_text("2/2")
    cluster.set_num_replicas("sum-model", 1, 2)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("x = %clipper st", ["start", "status", "stop"]), ("%clipper predict he", ["hello-world"])],
)
def test_tab_completes_in_a_cell(open_notebook: Callable[..., Notebook], typed: str, offered: list[str]) -> None:
    notebook = open_notebook("%load_ext clipper_magic\n%clipper status;", "")
    notebook.command("notebook:run-cell-and-select-next")
    notebook.wait_for_kernel()
    editor = notebook.page.locator(".jp-Cell .cm-content").last
    editor.click()
    editor.press_sequentially(typed)
    notebook.page.keyboard.press("Tab")
    items = notebook.page.locator(".jp-Completer:not(.lm-mod-hidden) .jp-Completer-item")
    expect(items.first).to_be_visible()
    words = [item.partition("\n")[0].strip() for item in items.locator(".jp-Completer-match").all_inner_texts()]
    assert words == offered
    notebook.page.keyboard.press("Enter")
    expect(editor).to_have_text(f"{typed[: typed.rindex(' ')]} {offered[0]}")
