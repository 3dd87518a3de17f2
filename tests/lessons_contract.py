"""The lessons and the scripts run from the first line to the last on any backend, as a reader runs them.

nbval compares the outputs of the lessons. This is the rest of the truth: nbval lets a cell pass that IPython refuses
with a ``UsageError`` (a magic that is not there), nbclient does not. Nothing is compared
here, so it holds on Docker too.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from leftovers import containers_with, directories_with, processes_with

from notebooks import build

SCRIPTS = build.HERE / "scripts"
ANSWER = re.compile(r"^'(?P<json>\{.*\})', \d+\.\d+ ms$", re.MULTILINE)

# The calls of Clipper's own example, examples/basic_query, in their order and with their arguments; its imports name
# our package, and where no engine is, the other manager.
BASIC_QUERY = """
import json, signal, sys, threading
from datetime import datetime
import numpy as np
import requests
from clipper_magic import ClipperConnection, {manager}
from clipper_magic.deployers import python as python_deployer

def feature_sum(xs):
    return [str(sum(x)) for x in xs]

def stop_clipper(signal_number, frame):
    print("Stopping Clipper...")
    clipper_conn = ClipperConnection(DockerContainerManager())
    clipper_conn.stop_all()
    sys.exit(0)

def predict(addr, x):
    begun = datetime.now()
    url, headers = f"http://{{addr}}/simple-example/predict", {{"Content-type": "application/json"}}
    r = requests.post(url, headers=headers, data=json.dumps({{"input": list(x)}}))
    print("'%s', %f ms" % (r.text, (datetime.now() - begun).total_seconds() * 1000.0), flush=True)

signal.signal(signal.SIGINT, stop_clipper)
clipper_conn = ClipperConnection(DockerContainerManager())
clipper_conn.start_clipper()
python_deployer.create_endpoint(clipper_conn, "simple-example", "doubles", feature_sum)
try:
    while True:
        predict(clipper_conn.get_query_addr(), np.random.random(200))
        threading.Event().wait(0.2)
except Exception:
    clipper_conn.stop_all()
    raise
"""
MANAGERS = {"local": "LocalContainerManager as DockerContainerManager", "docker": "DockerContainerManager"}

Environment = dict[str, str]


def start_script(name: str, environment: Environment, *code: str) -> subprocess.Popen[str]:
    """Start a script in its folder, in a session of its own: a Ctrl-C meant for it goes to nobody else.

    With the name "-c", what runs is `code`.
    """
    return subprocess.Popen(
        [sys.executable, "-W", "error", name, *code],
        cwd=SCRIPTS,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run_script(name: str, environment: Environment) -> str:
    """Run a script to its end, which must be a good one; return all that it printed."""
    with start_script(name, environment) as script:
        output, _ = script.communicate(timeout=240)
    assert script.returncode == 0, output
    return output


def answers_in(output: str) -> list[dict[str, object]]:
    """Return the answers that a script printed."""
    return [json.loads(found["json"]) for found in ANSWER.finditer(output)]


def ask_until_ctrl_c(script: subprocess.Popen[str]) -> None:
    """Let a script that asks without end print two answers, end it, and see that it has stopped its cluster."""
    with script:
        seen = ""
        while len(answers_in(seen)) < 2:
            line = script.stdout.readline()
            assert line, f"it ended before Ctrl-C: {seen}"
            seen += line
        script.send_signal(signal.SIGINT)
        rest, _ = script.communicate(timeout=120)

    assert script.returncode == 0, rest
    assert "Stopping Clipper..." in rest
    assert "Traceback" not in rest
    assert all(not answer["default"] for answer in answers_in(seen))


def left_of(cluster: str) -> list[str]:
    """Return the processes, directories and containers of a cluster."""
    return [*processes_with(cluster), *directories_with(cluster), *containers_with(cluster)]


class LessonsContract:
    """Tests for one backend; a subclass says which.

    Attributes
    ----------
    backend : {"local", "docker"}
    """

    backend: str

    @pytest.fixture
    def environment(self, new_cluster_name: Callable[[], str]) -> Iterator[Environment]:
        """Return an environment with the backend, and a cluster of which nothing may be left."""
        cluster = new_cluster_name()
        environment = build.private_environment(cluster, self.backend)
        yield environment
        left = left_of(cluster)
        if left:
            run_script("closeClipper.py", environment)
        assert not left, f"left over: {left}"

    # The French ones have the same code cells, which test_parity.py holds them to.
    @pytest.mark.parametrize("path", sorted((build.HERE / "en").glob("*.ipynb")), ids=lambda path: path.stem)
    def test_lesson(self, path: Path, environment: Environment):
        build.run(path, environment)

    def test_basic_query_simplified_prints_one_answer(self, environment: Environment):
        output = run_script("basicQuerySimplified.py", environment)

        (answer,) = answers_in(output)
        assert answer["default"] is False
        assert 0 < answer["output"] < 10

    def test_basic_query_answers_until_ctrl_c_and_stops_its_cluster(self, environment: Environment):
        ask_until_ctrl_c(start_script("basicQuery.py", environment))

    def test_clippers_own_basic_query_runs_with_the_package_renamed(self, environment: Environment):
        """It names no cluster, so this is "default-cluster": one that somebody runs here is left alone."""
        with tempfile.TemporaryDirectory(prefix="basic") as directory:
            own = environment | {"XDG_RUNTIME_DIR": directory}
            if self.backend == "docker" and containers_with("default-cluster"):
                pytest.skip("somebody runs a cluster default-cluster on this engine")

            code = BASIC_QUERY.format(manager=MANAGERS[self.backend])
            ask_until_ctrl_c(start_script("-c", own, code))

            assert [*processes_with(directory), *Path(directory).iterdir()] == []
        if self.backend == "docker":
            from clipper_magic import DockerContainerManager

            assert containers_with("default-cluster") == []
            DockerContainerManager().remove_image("default-cluster-simple-example:1")

    def test_close_clipper_stops_what_was_left_running_and_is_harmless_twice(self, environment: Environment):
        cluster = environment["CLIPPER_CLUSTER"]
        start = "from clipper_magic import *; ClipperConnection(choose_container_manager()).start_clipper()"
        subprocess.run([sys.executable, "-c", start], env=environment, check=True)
        assert left_of(cluster)

        run_script("closeClipper.py", environment)
        assert not left_of(cluster)

        run_script("closeClipper.py", environment)

    def test_quickstart_prints_clippers_answer(self, environment: Environment):
        assert '{"query_id":0,"output":6.6,"default":false}\n' in run_script("quickstart.py", environment)
