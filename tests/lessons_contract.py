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
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from leftovers import containers_with, directories_with, processes_with

from notebooks import build

SCRIPTS = build.HERE / "scripts"
ANSWER = re.compile(r"^'(?P<json>\{.*\})', \d+\.\d+ ms$", re.MULTILINE)

Environment = dict[str, str]


def start_script(name: str, environment: Environment) -> subprocess.Popen[str]:
    """Start a script in its folder, in a session of its own: a Ctrl-C meant for it goes to nobody else."""
    return subprocess.Popen(
        [sys.executable, name],
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
        with start_script("basicQuery.py", environment) as script:
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
