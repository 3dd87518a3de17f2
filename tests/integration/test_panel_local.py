"""The panel in a real kernel without a browser: threads, comms, freezing, and life without widgets."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from kernels import Kernel, kernel

from clipper_magic import LocalContainerManager

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"

# Cells wait for conditions, with a deadline, on an event that never comes.
WAIT = """
import threading, time
def wait_for(condition, timeout_s=30.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        threading.Event().wait(0.02)
"""


@pytest.fixture(scope="module")
def cluster(new_cluster_name: Callable[[], str]) -> Iterator[str]:
    name = new_cluster_name()
    yield name
    LocalContainerManager(name).stop_all()


@pytest.fixture(scope="module")
def notebook(cluster: str, tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[Kernel]:
    """A kernel whose cluster serves two versions of sum-model for hello-world."""
    directory = tmp_path_factory.mktemp("panel")
    with kernel(directory, CLIPPER_BACKEND="local", CLIPPER_CLUSTER=cluster) as made:
        made.ok("%load_ext clipper_magic")
        made.ok(f"%clipper start --query-port {free_port()} --management-port {free_port()};")
        made.ok("%clipper register hello-world --input-type doubles --default-output -1.0 --slo 20s;")
        for version, function in (("1", "sum"), ("2", "max")):
            deploy = f"%%clipper_deploy sum-model:{version} --app hello-world"
            made.ok(f"{deploy}\ndef f(xs): return [{function}(x) for x in xs]")
        made.ok(WAIT)
        yield made


@pytest.fixture
def live(notebook: Kernel) -> Iterator[Kernel]:
    """The same with a quick panel called ``panel``, frozen at the end."""
    notebook.ok("panel = %clipper panel --rate 10\npanel")
    yield notebook
    notebook.ok("panel.freeze()\n%clipper version sum-model 2;\n%clipper replicas sum-model:2 1;")


def test_the_output_has_a_view_html_and_text(live: Kernel) -> None:
    [output] = live.ok("%clipper panel").outputs

    assert {WIDGET_VIEW, "text/html", "text/plain"} <= set(output["data"])
    assert "sum-model:2 (current)" in output["data"]["text/plain"]


def test_the_panel_looks_by_itself_and_frozen_is_html(live: Kernel) -> None:
    live.ok("before = panel._tick\nwait_for(lambda: panel._tick > before + 3)")
    again = live.ok("other = %clipper panel\nother is panel")
    assert again.value == "True"

    messages: list[dict[str, object]] = []
    live.run("panel.freeze()", messages.append)
    [update] = [m["content"] for m in messages if m["msg_type"] == "update_display_data"]
    assert set(update["data"]) == {"text/html", "text/plain"}  # type: ignore[index]
    assert live.ok("panel").outputs[0]["data"].keys() == {"text/html", "text/plain"}


def test_buttons_scale_and_switch_without_a_word_in_any_cell(live: Kernel) -> None:
    """What the browser sends, in another thread, while a cell runs: nothing of it may land in a cell."""
    ran = live.ok(
        "def press(**message):\n"
        "    threading.Thread(target=panel._heard, args=(None, message, [])).start()\n"
        "press(do='replicas', key='sum-model:2', n=2)\n"
        "press(do='replicas', key='sum-model:2', n=3)\n"
        "def row(): return next(r for r in panel.widget.rows if r['key'] == 'sum-model:2')\n"
        "wait_for(lambda: (row()['observed'], row()['requested'], row()['state']) == (3, 3, 'serving'))\n"
        "press(do='version', key='sum-model:1')\n"
        "wait_for(lambda: not row()['current'])"
    )
    assert ran.outputs == []
    assert live.ok("wait_for(lambda: 'version 1 is current' in panel.widget.meta['note'])").outputs == []
    assert live.ok("%clipper version sum-model").value == "'1'"
    assert live.ok("%clipper replicas sum-model:2").value == "3"


def test_freeze_keeps_what_the_panel_saw(live: Kernel) -> None:
    live.ok("import random")
    ask = "_ = %clipper predict hello-world {[random.random()]}"
    live.ok(f"def asked():\n    {ask}\n    return panel.looker.history.asked_lately('hello-world')\nwait_for(asked)")
    ran = live.ok("%clipper panel --freeze")

    assert "frozen at" in ran.text and '<img alt="Latency of hello-world' in ran.html
    assert live.ok("panel.frozen is not None").value == "True"


def test_a_button_that_fails_says_why_in_the_panel(live: Kernel) -> None:
    ran = live.ok(
        "panel._heard(None, {'do': 'replicas', 'key': 'no-such-model:1', 'n': 2}, [])\n"
        "wait_for(lambda: panel.widget.meta['failed'])\n"
        "panel.widget.meta['note']"
    )
    assert "Cannot add container for non-registered model no-such-model:1" in ran.value
    assert [output["output_type"] for output in ran.outputs] == ["execute_result"]


@pytest.mark.parametrize("failure", ["SourceError('gone')", "ZeroDivisionError()"])
def test_its_threads_never_say_a_word_in_a_cell(live: Kernel, failure: str) -> None:
    """Neither while all is well nor when looking fails: what a thread writes lands in whichever cell runs."""
    live.ok("from clipper_magic.panel.source import SourceError\nmetrics = panel.looker._source.metrics")
    ran = live.ok(
        f"def fail():\n    raise {failure}\n"
        "def look(times):\n    start = panel._tick\n    wait_for(lambda: panel._tick >= start + times)\n"
        "look(20)\npanel.looker._source.metrics = fail\nbegun = time.monotonic()\n"
        "wait_for(lambda: time.monotonic() > begun + 2)\npanel.looker._source.metrics = metrics\nlook(20)"
    )

    assert ran.outputs == []


def test_nonsense_from_the_browser_is_ignored(live: Kernel) -> None:
    ran = live.ok(
        "for message in ({}, {'do': 'replicas'}, {'do': 'replicas', 'key': 'a:1', 'n': -1}, {'do': 'x'}, {'do': 3}):\n"
        "    panel._heard(None, message, [])\n"
        "panel.looker.asked"
    )
    assert ran.value == "{}"


def test_it_stops_looking_when_nobody_sees_it_and_begins_again(live: Kernel) -> None:
    live.ok("from clipper_magic.panel import live\nlive.UNSEEN_S = 0.0")
    live.ok("panel._cell_runs = False\nwait_for(lambda: not panel._ticker.alive)")
    live.ok("live.UNSEEN_S = 30.0\npanel._heard(None, {'do': 'here'}, [])\nassert panel._ticker.alive")


def test_five_minutes_of_refreshes_leave_nothing_behind(live: Kernel) -> None:
    """As many as five minutes bring at two a second, one behind the other: no thread, comm, file, object or byte."""
    live.ok(
        "import collections, comm, gc, json, os\n"
        "def open_files():\n"
        "    kinds = collections.Counter()\n"
        "    for number in os.listdir('/dev/fd'):\n"
        "        try:\n            kinds[os.readlink(f'/dev/fd/{number}').split(':')[0]] += 1\n"
        "        except OSError:\n            pass\n"
        "    return dict(kinds)\n"
        "def things():\n"
        "    gc.collect()\n"
        "    names = sorted(thread.name for thread in threading.enumerate())\n"
        "    sent = len(json.dumps([panel.widget.rows, panel.widget.labels])) + len(panel.widget.series)\n"
        "    return names, len(comm.get_comm_manager().comms), sent, len(gc.get_objects()), open_files()\n"
        "def look(times):\n    for _ in range(times):\n        panel._look_and_show()"
    )
    live.ok("panel._ticker.stop()\nlook(20)\nbefore = things()")
    before, after = eval(live.ok("look(600)\n(before, things())").value)
    live.ok("panel._heard(None, {'do': 'here'}, [])\nassert panel._ticker.alive")

    assert before[:3] == after[:3]
    assert after[3] - before[3] < 600 // 10  # a leak is at least one object a refresh
    # Fewer is fine: the kernel closes the sockets of threads that ended whenever it gets to it.
    assert {kind: n for kind, n in after[4].items() if n > before[4].get(kind, 0)} == {}


@pytest.mark.parametrize("missing", ["anywidget", "ipywidgets"])
def test_without_widgets_there_is_a_table(notebook: Kernel, missing: str) -> None:
    notebook.restart()
    notebook.ok(f"import sys\nsys.modules[{missing!r}] = None\n%load_ext clipper_magic")
    ran = notebook.ok("%clipper panel")

    assert "For a live panel: `%pip install" in ran.text
    assert WIDGET_VIEW not in str(ran.outputs) and "<table><caption" in ran.html
    doctor = notebook.ok("%clipper doctor").text
    assert "%pip install" in doctor
    assert "'output'" in notebook.ok("%clipper predict hello-world [1, 2]").value


def test_the_form_can_be_chosen(notebook: Kernel) -> None:
    notebook.ok("%config Clipper.panel = 'text'")
    [output] = notebook.ok("%clipper panel").outputs
    assert set(output["data"]) == {"text/plain"}

    notebook.ok("%config Clipper.panel = 'html'")
    [output] = notebook.ok("%clipper panel").outputs
    assert set(output["data"]) == {"text/plain", "text/html"}


def test_stop_freezes_the_panel(notebook: Kernel) -> None:
    notebook.restart()
    notebook.ok(f"%load_ext clipper_magic\n{WAIT}\npanel = %clipper panel\npanel")
    messages: list[dict[str, object]] = []
    notebook.run("%clipper stop --all;", messages.append)

    updated = [m["content"]["data"] for m in messages if m["msg_type"] == "update_display_data"]  # type: ignore[index]
    assert any("frozen at" in data["text/html"] for data in updated)
    assert (
        notebook.ok("[t.name for t in threading.enumerate() if t.name.startswith('clipper-panel-look')]").value == "[]"
    )
