"""The model replica as a process: how it starts, refuses to start, survives and ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil
import pytest
from model_directories import SUM, write_model

DEADLINE_S = 20.0

Start = Callable[..., subprocess.Popen[str]]


class UnixConnection(HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("replica", timeout=DEADLINE_S)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE_S)
        self.sock.connect(self._path)


def request(path: Path, method: str, url: str, document: Any = None) -> Any:
    connection = UnixConnection(path)
    try:
        connection.request(method, url, None if document is None else json.dumps(document))
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def predict(path: Path, *inputs: Any) -> Any:
    return request(path, "POST", "/predict", {"inputs": inputs})


def wait_until_ready(path: Path, process: subprocess.Popen[str] | None = None) -> Any:
    give_up = time.monotonic() + DEADLINE_S
    while True:
        try:
            return request(path, "GET", "/health")
        except OSError:
            assert process is None or process.poll() is None, process.communicate()[1]
            assert time.monotonic() < give_up, "the replica does not answer"


@pytest.fixture
def listen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("r") / "r.sock"


def command(listen: Path, directory: Path) -> list[str]:
    options = {
        "listen": f"unix:{listen}",
        "model-dir": directory,
        "name": "sum-model",
        "version": "1",
        "input-type": "doubles",
    }
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return [sys.executable, "-m", "serving_image.model_replica", *flags]


@pytest.fixture
def start(listen: Path) -> Iterator[Start]:
    """Return a function that starts a replica of a model directory; all end with the test."""
    started: list[subprocess.Popen[str]] = []

    def start_replica(directory: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command(listen, directory), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start_replica
    for process in started:
        process.kill()
        process.communicate()


def test_a_replica_answers_and_ends_on_sigterm(tmp_path: Path, listen: Path, start: Start) -> None:
    source = "def predict(xs):\n    print('a batch of', len(xs))\n    return [sum(x) for x in xs]\n"
    process = start(write_model(tmp_path / "model", source, example=[1.0]))
    health = wait_until_ready(listen, process)
    assert (health["role"], health["name"], health["version"]) == ("model_replica", "sum-model", "1")
    assert predict(listen, [1.1, 2.2, 3.3]) == {"outputs": [6.6], "errors": {}}
    process.terminate()
    output, log = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, log
    assert output.splitlines() == ["a batch of 2", "a batch of 1"]
    assert not listen.exists()


def test_no_exception_of_the_model_ends_the_replica(tmp_path: Path, listen: Path, start: Start) -> None:
    source = (
        "import asyncio\n"
        "def predict(xs):\n"
        "    kinds = [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError, RecursionError, MemoryError]\n"
        "    for x in xs:\n"
        "        if x[0] >= 0:\n"
        "            raise kinds[int(x[0])]('no')\n"
        "    return [0 for x in xs]\n"
    )
    process = start(write_model(tmp_path / "model", source, example=[-1.0]))
    wait_until_ready(listen, process)
    for kind in range(6):
        answer = predict(listen, [float(kind)], [-1.0])
        assert (answer["outputs"], answer["errors"]["0"][1]) == ([None, 0], "no")
    errors = request(listen, "GET", "/errors")["errors"]
    assert [group["type"] for group in errors][:3] == ["ValueError", "SystemExit", "KeyboardInterrupt"]
    assert process.poll() is None
    process.terminate()
    log = process.communicate(timeout=DEADLINE_S)[1]
    assert "raise kinds[int(x[0])]('no')" in log


def test_a_warning_that_every_batch_gives_is_in_the_log_once(tmp_path: Path, listen: Path, start: Start) -> None:
    source = (
        "import warnings\n"
        "def predict(xs):\n"
        "    with warnings.catch_warnings():\n"
        "        warnings.simplefilter('default')\n"  # as scikit-learn does: Python forgets what it has shown
        "        if xs[0][0] > 0:\n"
        "            warnings.warn('X does not have valid feature names')\n"
        "    return [len(warnings.filters) for x in xs]\n"
    )
    process = start(write_model(tmp_path / "model", source, example=[-1.0]))
    wait_until_ready(listen, process)
    for number in range(1, 4):
        assert predict(listen, [float(number)])["outputs"] == [1]
    process.terminate()
    log = process.communicate(timeout=DEADLINE_S)[1]
    assert log.count("UserWarning: X does not have valid feature names") == 1


def test_no_batch_waits_for_a_collection_that_walks_what_was_loaded(tmp_path: Path, listen: Path, start: Start) -> None:
    source = (
        "import gc\n"
        "loaded = [[] for _ in range(100_000)]\n"
        "def predict(xs):\n"
        "    return [len(gc.get_objects()) < len(loaded) for x in xs]\n"
    )
    process = start(write_model(tmp_path / "model", source, example=[1.0]))
    wait_until_ready(listen, process)
    assert predict(listen, [1.0])["outputs"] == ["True"]


def test_sigterm_lets_the_batch_in_flight_finish(tmp_path: Path, listen: Path, start: Start) -> None:
    """The model waits on a named pipe, so the test knows that it is at work and when it goes on."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    source = f"def predict(xs):\n    if xs[0][0]:\n        open({str(gate)!r}).read()\n    return [7 for x in xs]\n"
    process = start(write_model(tmp_path / "model", source))
    wait_until_ready(listen, process)
    answers: list[Any] = []
    client = threading.Thread(target=lambda: answers.append(predict(listen, [1.0])))
    client.start()
    with gate.open("w"):  # opens when the model does
        process.terminate()
    client.join(DEADLINE_S)
    process.wait(DEADLINE_S)
    assert (answers, process.returncode) == ([{"outputs": [7], "errors": {}}], 0)


def test_a_killed_replica_can_be_started_again_at_its_address(tmp_path: Path, listen: Path, start: Start) -> None:
    directory = write_model(tmp_path / "model", SUM)
    first = start(directory)
    wait_until_ready(listen, first)
    first.kill()
    first.wait(DEADLINE_S)
    assert listen.exists()  # nobody removed it
    second = start(directory)
    wait_until_ready(listen, second)
    assert predict(listen, [1.0, 2.0])["outputs"] == [3.0]


def test_a_replica_outlives_the_process_that_started_it(tmp_path: Path, listen: Path) -> None:
    directory = write_model(tmp_path / "model", SUM)
    launcher = (
        "import subprocess, sys\n"
        "child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True)\n"
    )
    launched = subprocess.run(
        [sys.executable, "-c", launcher, *command(listen, directory)],
        capture_output=True, text=True, timeout=DEADLINE_S, check=True,
    )  # fmt: skip
    replica = psutil.Process(int(launched.stdout))
    try:
        wait_until_ready(listen)
        assert predict(listen, [1.0, 2.0])["outputs"] == [3.0]
    finally:
        replica.send_signal(signal.SIGTERM)
        psutil.wait_procs([replica], timeout=DEADLINE_S)
    assert not replica.is_running()


LOADS_A_THREAD_THEN_FAILS = (
    "import threading\n"
    "def load():\n"
    "    threading.Thread(target=threading.Event().wait).start()\n"
    "    raise OSError('no weights')\n"
    "class Model:\n"
    "    def __reduce__(self):\n"
    "        return (load, ())\n"
    "predict = Model()\n"
)
REFUSALS: list[tuple[str, str, dict[str, Any], str]] = [
    (
        "import missing",
        "def predict(xs):\n    import no_such_module\n",
        {},
        "ModelLoadError: Encountered an ImportError when running container. You can use the pkgs_to_install argument "
        "when calling build_model() to supply any needed Python packages. "
        "(ModuleNotFoundError: No module named 'no_such_module')",
    ),
    (
        "another Python",
        SUM,
        {"python": "3.1"},
        "ModelLoadError: the model was saved with Python 3.1, but this replica runs Python",
    ),
    (
        "wrong length",
        "def predict(xs):\n    return []\n",
        {},
        "ModelLoadError: trying the model raised WrongOutputError: Expected model to return 2 outputs, found 0 outputs",
    ),
    (
        "thread left behind",
        LOADS_A_THREAD_THEN_FAILS,
        {},
        "ModelLoadError: loading the model raised OSError: no weights",
    ),
]


@pytest.mark.parametrize(
    ("source", "description", "last_line"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS]
)
def test_an_unfit_model_ends_the_replica_with_one_clear_last_line(
    tmp_path: Path, start: Start, source: str, description: dict[str, Any], last_line: str
) -> None:
    process = start(write_model(tmp_path / "model", source, **description))
    log = process.communicate(timeout=DEADLINE_S)[1]
    assert process.returncode == 3
    assert log.splitlines()[-1].startswith(last_line)
