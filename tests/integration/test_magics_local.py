"""The magics in real kernels and a real terminal, on the real local backend."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from kernels import Kernel, kernel

from clipper_magic import ClipperConnection, LocalContainerManager

SUM = "def feature_sum(xs):\n    return [str(sum(x)) for x in xs]"
SLO = "--slo 20s"  # a slow machine must not turn a prediction into a default


@pytest.fixture(scope="module")
def cluster(new_cluster_name: Callable[[], str]) -> Iterator[str]:
    """A cluster's name; stopped at the end, whatever happened."""
    name = new_cluster_name()
    yield name
    LocalContainerManager(name).stop_all()


@pytest.fixture(scope="module")
def notebook(cluster: str, tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[Kernel]:
    """A kernel that serves sum-model for the application hello-world."""
    directory = tmp_path_factory.mktemp("notebook")
    with kernel(directory, CLIPPER_BACKEND="local", CLIPPER_CLUSTER=cluster) as made:
        made.ok("%load_ext clipper_magic")
        made.ok(f"%clipper start --query-port {free_port()} --management-port {free_port()}")
        made.ok(f"%clipper register hello-world --input-type doubles --default-output -1.0 {SLO}")
        made.ok(f"%%clipper_deploy sum-model:1 --app hello-world\n{SUM}")
        yield made


@pytest.fixture
def connection(cluster: str, notebook: Kernel) -> ClipperConnection:
    """Another interpreter's view of the same cluster."""
    made = ClipperConnection(LocalContainerManager(cluster))
    made.connect()
    return made


def test_an_action_is_one_sentence_and_no_echo(notebook: Kernel) -> None:
    ran = notebook.ok(f"%clipper register other --input-type strings --default-output no {SLO}")

    assert [output["output_type"] for output in ran.outputs] == ["display_data"]
    assert ran.text == 'Application other registered: strings, default output "no", SLO 20 s.'
    assert "<div>Application other registered" in ran.html


def test_a_value_is_shown_when_it_is_asked_for(notebook: Kernel) -> None:
    assert notebook.ok("info = %clipper app hello-world\ninfo['name']").value == "'hello-world'"
    assert notebook.ok("info").value.startswith("{'input_type': 'doubles'")


def test_a_slow_step_is_one_area_with_its_log_folded(notebook: Kernel) -> None:
    messages: list[dict[str, Any]] = []
    ran = notebook.run(f"%%clipper_deploy slow-step --input-type doubles\n{SUM}", messages.append)

    assert [output["output_type"] for output in ran.outputs] == ["display_data"]
    assert re.fullmatch(r"Model slow-step:1 deployed: 1 replica ready · .*", ran.text)
    assert "<details><summary>log</summary>" in ran.html and "Found 0 replicas for slow-step:1. Adding 1" in ran.html
    first = next(m["content"] for m in messages if m["msg_type"] == "display_data")
    assert "<progress" in first["data"]["text/html"]
    notebook.ok("%clipper stop slow-step;")


def test_predictions(notebook: Kernel) -> None:
    answer = notebook.ok("r = %clipper predict hello-world [1.1, 2.2, 3.3]\nr['output'], r['default']").value
    assert answer == "(6.6, False)"
    batch = notebook.ok("r = %clipper predict hello-world [[1], [2, 3]]\n[a['output'] for a in r]").value
    assert batch == "[1.0, 5.0]"


def test_an_error_is_one_red_line_and_a_true_error(notebook: Kernel) -> None:
    ran = notebook.run("%clipper link hello-world sum_model")

    assert ran.status == "error"
    [output] = ran.outputs
    assert (output["ename"], output["output_type"]) == ("NotRegisteredError", "error")
    assert output["traceback"] == [
        "NotRegisteredError: No model with name 'sum_model' exists. Fix: Did you mean 'sum-model'?"
    ]


def test_a_model_that_raises_tells_why_and_where(notebook: Kernel) -> None:
    notebook.ok(f"%clipper register fragile --input-type doubles --default-output -1.0 {SLO}")
    notebook.ok(
        "%%clipper_deploy fragile --app fragile\n"
        "def price(xs):\n"
        "    table = {1.0: 'one'}\n"
        "    return [table[x[0]] for x in xs]"
    )
    assert "'output': 'one', 'default': False" in notebook.ok("%clipper predict fragile [1]").value
    shown = notebook.ok("%clipper predict fragile [7]").value
    assert "⚠ Default output: fragile:1 raised KeyError: " in shown
    assert "`%clipper logs fragile --errors`" in shown

    errors = notebook.ok("%clipper logs fragile --errors").value
    assert "fragile:1 · 1 time · last with the input" in errors
    assert "return [table[x[0]] for x in xs]" in errors and "KeyError" in errors
    assert re.search(r"  Cell In\[\d+\], line 3, in price", errors)
    notebook.ok("%clipper unregister fragile;\n%clipper stop fragile;")


def test_a_function_that_cannot_start_leaves_what_served(notebook: Kernel, connection: ClipperConnection) -> None:
    before = connection.get_all_model_replicas()
    ran = notebook.run("%%clipper_deploy sum-model\ndef f(xs):\n    import no_such_module\n    return xs")

    assert ran.status == "error"
    assert "No module named 'no_such_module'" in ran.outputs[-1]["traceback"][0]
    assert "<details open>" in ran.html
    assert connection.get_all_model_replicas() == before
    assert connection.get_current_model_version("sum-model") == "1"


def test_an_interrupt_cancels_the_deployment(notebook: Kernel, connection: ClipperConnection) -> None:
    before = connection.get_all_models(), [s.replica for s in connection.cm.list_replicas()]
    interrupted: list[bool] = []

    def interrupt(message: dict[str, Any]) -> None:
        """Interrupt when the replica starts: its function waits for ever on the example."""
        if not interrupted and "Adding 1" in str(message["content"].get("data", {}).get("text/plain")):
            interrupted.append(True)
            notebook.interrupt()

    ran = notebook.run(
        "%%clipper_deploy endless --input-type doubles --example [1]\n"
        "def f(xs):\n    import threading\n    threading.Event().wait()",
        interrupt,
    )
    assert (interrupted, ran.status) == ([True], "error")
    assert ran.outputs[-1]["traceback"] == [
        "Interrupted: the deployment of endless:1 was cancelled; nothing was deployed."
    ]
    assert (connection.get_all_models(), [s.replica for s in connection.cm.list_replicas()]) == before
    notebook.ok("%clipper predict hello-world [1]")


def test_the_cluster_survives_a_restart_of_the_kernel(notebook: Kernel, connection: ClipperConnection) -> None:
    before = [s.replica for s in connection.cm.list_replicas()]
    notebook.restart()
    notebook.ok("%load_ext clipper_magic")
    ran = notebook.ok("%clipper predict hello-world [1.5, 2]")

    assert "Connected to the running cluster" in ran.text and "'output': 3.5" in ran.value
    assert [s.replica for s in connection.cm.list_replicas()] == before
    assert "is already running: connected." in notebook.ok("%clipper start").text


def test_run_all_twice_changes_nothing(notebook: Kernel, connection: ClipperConnection) -> None:
    """After a restart, too: the content of the cell is recognised in another kernel."""
    before = connection.get_all_models(verbose=True), connection.get_all_model_replicas()
    notebook.ok("%clipper start")
    assert (
        "unchanged"
        in notebook.ok(f"%clipper register hello-world --input-type doubles --default-output -1.0 {SLO}").text
    )
    assert "same content: unchanged" in notebook.ok(f"%%clipper_deploy sum-model:1 --app hello-world\n{SUM}").text
    assert "unchanged" in notebook.ok("%clipper link hello-world sum-model").text

    assert (connection.get_all_models(verbose=True), connection.get_all_model_replicas()) == before


def test_versions_and_replicas(notebook: Kernel) -> None:
    notebook.ok("%%clipper_deploy sum-model\ndef f(xs): return [str(max(x)) for x in xs]")
    assert "'output': 2.0" in notebook.ok("%clipper predict hello-world [1, 2]").value
    assert "back to version 1 (was 2)" in notebook.ok("%clipper rollback sum-model").text
    assert "'output': 3.0" in notebook.ok("%clipper predict hello-world [1, 2]").value
    assert "'output': 2.0" in notebook.ok("%clipper predict hello-world [1, 2] --version 2").value

    ran = notebook.ok("%clipper replicas sum-model 3")
    assert ran.value == "" and "sum-model:1: 3 replicas ready (was 1)" in ran.text
    assert notebook.ok("%clipper replicas sum-model").value == "3"
    assert notebook.ok("%clipper replicas").value == (
        "['sum-model:1:0', 'sum-model:1:1', 'sum-model:1:2', 'sum-model:2:0']"
    )
    notebook.ok("%clipper stop --inactive sum-model;")
    assert notebook.ok("%clipper models").value == "['sum-model:1']"


def test_french_sentences_and_the_same_data(notebook: Kernel) -> None:
    notebook.ok("%clipper lang fr;")
    assert (
        "Modèle sum-model:2 déployé\u00a0: 1 réplique prête"
        in notebook.ok("%%clipper_deploy sum-model\ndef f(xs): return [str(min(x)) for x in xs]").text
    )
    assert "'output': 1.0" in notebook.ok("%clipper predict hello-world [1, 2]").value
    assert notebook.run("%clipper link hello-world sum_model").outputs[-1]["traceback"] == [
        "NotRegisteredError: Aucun modèle ne s’appelle «\u00a0sum_model\u00a0». Solution\u00a0: "
        "Vouliez-vous dire «\u00a0sum-model\u00a0»\u202f?"
    ]
    notebook.ok("%clipper lang en;\n%clipper rollback sum-model;\n%clipper stop sum-model:2;")


def test_no_cell_writes_to_a_stream(notebook: Kernel) -> None:
    for cell in ("%clipper status", "%clipper doctor", "%clipper logs -n 1", "%clipper metrics;", "%clipper help"):
        assert [o for o in notebook.ok(cell).outputs if o["output_type"] == "stream"] == []


def test_verbose_shows_log_lines(notebook: Kernel) -> None:
    ran = notebook.ok("%config Clipper.verbose = True\n%clipper replicas sum-model 2;\n%config Clipper.verbose = False")

    assert re.search(r"INFO +\[replicas\.py:\d+\] \[.*\] Found \d replicas for sum-model:1\.", ran.text)


def test_completion_in_the_kernel(notebook: Kernel) -> None:
    def matches(code: str) -> list[str]:
        reply = notebook.client.complete(code, reply=True, timeout=30)
        return list(reply["content"]["matches"])

    assert matches("x = %clipper sta") == ["start", "status"]
    assert matches("%clipper predict hell") == ["hello-world"]
    assert matches("%clipper replicas sum-model:") == ["sum-model:1"]


def test_completion_knows_a_running_cluster_before_any_command(notebook: Kernel, cluster: str, tmp_path: Path) -> None:
    with kernel(tmp_path, CLIPPER_BACKEND="local", CLIPPER_CLUSTER=cluster) as other:
        other.ok("%load_ext clipper_magic")
        reply = other.client.complete("%clipper predict hell", reply=True, timeout=30)

        assert reply["content"]["matches"] == ["hello-world"]
        assert other.ok("%clipper apps").text.startswith("Connected to the running cluster")


def test_stop_all_leaves_nothing_and_says_so(notebook: Kernel, cluster: str) -> None:
    assert re.search(r"Stopped: \d replicas, 3 services\. Nothing is left\.", notebook.ok("%clipper stop --all").text)
    assert notebook.ok("%clipper stop --all").text == "Nothing to stop."
    assert notebook.run("%clipper apps").outputs[-1]["ename"] == "NoClusterError"


def test_load_ext_reads_nothing_and_opens_no_socket(tmp_path: Path) -> None:
    program = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
events = []
sys.addaudithook(lambda name, args: events.append((name, args)) if on else None)
on = True
shell.run_line_magic("load_ext", "clipper_magic")
on = False
touched = [str(a[0]) for n, a in events if n == "open" and not str(a[0]).endswith((".py", ".pyc", ".so", ".toml"))]
print([n for n, _ in events if n.startswith("socket.")], [t for t in touched if "clipper" in t])
print("requests" in sys.modules, "docker" in sys.modules, "ipywidgets" in sys.modules)
"""
    environ = {**os.environ, "IPYTHONDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environ)

    assert done.stdout == "[] []\nFalse False False\n"
    assert done.stderr == ""


def test_tab_completes_in_a_terminal(tmp_path: Path, new_cluster_name: Callable[[], str]) -> None:
    """With the real line editor, on the far side of a pseudo-terminal."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("CLIPPER_", "LC_", "LANG"))}
    name = new_cluster_name()
    environ |= {"CLIPPER_BACKEND": "local", "CLIPPER_CLUSTER": name, "IPYTHONDIR": str(tmp_path), "LC_ALL": "C.UTF-8"}
    environ |= {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    command = ["-m", "IPython", "--no-banner", "--no-confirm-exit", "--colors=nocolor"]
    terminal = pexpect.spawn(
        sys.executable, command, env=environ, cwd=tmp_path, encoding="utf-8", dimensions=(40, 100), timeout=60
    )
    try:
        setup = "%clipper register hello-world --input-type doubles --default-output 0 --slo 1s"
        for number, line in enumerate(("%load_ext clipper_magic", "%clipper start;", setup), 1):
            terminal.expect_exact(f"In [{number}]:")
            terminal.send(f"{line}\r")
        terminal.expect_exact("registered: doubles")
        terminal.expect_exact("In [4]:")
        # Its sentence says all: the prompt of the value is erased again, and the value is not there.
        assert "\r\x1b[K" in terminal.before and "latency_slo_micros" not in terminal.before
        terminal.send("x = %clipper predict hello-w\t")
        terminal.expect_exact("orld")
        terminal.send(" [1]\r")
        terminal.expect_exact("[5]:")
        terminal.send("y = %clipper rollb\t")
        terminal.expect_exact("ack")
    finally:
        terminal.close(force=True)
        LocalContainerManager(name).stop_all()


TRANSCRIPT = """\
In [1]:
In [2]: Clipper is running: queries on http://ADDRESS · cluster NAME · backend local · TIME
Out[2]: {'cluster': 'NAME', 'backend': 'local', 'query_addr': 'ADDRESS', 'admin_addr': 'ADDRESS', \
'metric_addr': 'ADDRESS'}

In [3]: Application hello-world registered: doubles, default output "-1.0", SLO TIME.

In [4]:
In [5]: Model sum-model:1 deployed: 1 replica ready, linked to hello-world · TIME

In [6]: Out[6]: {'query_id': 0, 'output': 6.6, 'default': False}

In [7]: ClipperUsageError: There is no command 'stoq'. Fix: %clipper stop

In [8]: Stopped: 1 replica, 3 services. Nothing is left.

In [9]:"""

TYPED = f"""\
%load_ext clipper_magic
%clipper start
%clipper register hello-world --input-type doubles --default-output "-1.0" {SLO};
def feature_sum(xs): return [str(sum(x)) for x in xs]
%clipper deploy sum-model --func feature_sum --app hello-world;
%clipper predict hello-world [1.1, 2.2, 3.3]
%clipper stoq
%clipper stop --all;
"""


def test_the_terminal_transcript(tmp_path: Path, new_cluster_name: Callable[[], str]) -> None:
    name = new_cluster_name()
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("CLIPPER_", "LC_", "LANG"))}
    environ |= {"CLIPPER_BACKEND": "local", "CLIPPER_CLUSTER": name, "IPYTHONDIR": str(tmp_path), "LC_ALL": "C.UTF-8"}
    command = [
        sys.executable,
        "-m",
        "IPython",
        "--simple-prompt",
        "--no-banner",
        "--colors=nocolor",
        "--no-confirm-exit",
    ]
    done = subprocess.run(command, input=TYPED, capture_output=True, text=True, env=environ, cwd=tmp_path, timeout=120)
    shown = re.sub(r"127\.0\.0\.1:\d+", "ADDRESS", done.stdout).replace(name, "NAME")
    shown = re.sub(r"\d+(\.\d+)? (ms|s)\b", "TIME", shown)
    shown = re.sub(r"Port \d+ is taken: using port \d+\.\n", "", shown)

    assert "\n".join(line.rstrip() for line in shown.splitlines()).strip() == TRANSCRIPT
    assert done.stderr == ""
