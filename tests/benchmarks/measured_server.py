"""A server under measurement: a directory with a peer.json, started and stopped each time; or a URL that answers."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from tests.benchmarks import process_tree
from tests.benchmarks.workloads import Query, Sample, make_body, make_query, make_samples, parse_answer

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
MODELS = HERE / "served"
VENVS = Path(os.environ.get("VENVS", Path(tempfile.gettempdir()) / "peers"))
OUR_NAME = "ours"
OUR_DIRECTORY = HERE / "target"
TAG = "BENCH_RUN"
LOG_TAIL_CHARACTERS = 3000


class ServerError(RuntimeError):
    """A server did not start, or gave a wrong answer."""


@dataclass(frozen=True)
class PeerSpec:
    """What a peer.json says; see README.md.

    Attributes
    ----------
    cmd : list of str
        The command; {bin}, {port}, {port2} and {workload} are filled in, here as in ``path`` and ``env``.
    body : str
        The protocol: "plain", "batch-of-one" or "v2".
    bad : str
        What marks a default answer.
    limit : bool
        A limit line: it answers a constant.
    """

    cmd: list[str]
    path: str
    body: str = "plain"
    env: dict[str, str] = field(default_factory=dict)
    ready_s: float = 40.0
    bad: str = ""
    limit: bool = False
    settings: str = ""

    @classmethod
    def read(cls, directory: Path) -> PeerSpec:
        """Read the peer.json in ``directory``."""
        try:
            return cls(**json.loads((directory / "peer.json").read_text()))
        except FileNotFoundError:
            raise ServerError(f"There is no peer.json in {directory}.") from None


class MeasuredServer:
    """A server to measure.

    Parameters
    ----------
    name : str
        Its name in the tables, and that of its environment.
    where : Path or str
        Its directory, or a URL ({workload} is filled in) of one that runs: then there are no figures of processes.
    """

    def __init__(self, name: str, where: Path | str) -> None:
        self.name = name
        running = isinstance(where, str) and where.startswith("http")
        self._running_url = str(where) if running else ""
        self._directory = HERE if running else Path(where).resolve()
        self.spec = PeerSpec([], "", settings="already running") if running else PeerSpec.read(self._directory)
        self._root: subprocess.Popen[str] | None = None
        self._tag = ""
        self._log: IO[str] | None = None
        self.url = ""

    def start(self, workload: str) -> float | None:
        """Start it; return the seconds until its first right answer, None for one that runs already.

        Raises
        ------
        ServerError
            With the end of its log, if it does not answer in time.
        """
        if self._running_url:
            self.url = self._running_url.replace("{workload}", workload)
            return None
        fields, environment = self._prepare(workload)
        self.url = f"http://127.0.0.1:{fields['{port}']}{_fill(self.spec.path, fields)}"
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - stop() closes it
        begin_s = time.perf_counter()
        self._root = subprocess.Popen(
            [_fill(word, fields) for word in self.spec.cmd],
            cwd=self._directory,
            env=environment,
            stdout=self._log,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )
        self._wait_until_ready(workload, begin_s + self.spec.ready_s)
        return time.perf_counter() - begin_s

    def _prepare(self, workload: str) -> tuple[dict[str, str], dict[str, str]]:
        """Return what is filled into the texts of the peer.json, and the environment of the process."""
        port, port2 = find_free_ports(2)
        own = VENVS / self.name / "bin"
        binaries = own if own.exists() else Path(sys.executable).parent
        fields = {"{bin}": str(binaries), "{port}": str(port), "{port2}": str(port2), "{workload}": workload}
        self._tag = uuid.uuid4().hex
        environment = {
            **os.environ,
            "PORT": str(port),
            "PORT2": str(port2),
            "WORKLOAD": workload,
            "PYTHONPATH": str(MODELS),
            "PATH": f"{binaries}:{os.environ['PATH']}",
            TAG: self._tag,
            **{key: _fill(value, fields) for key, value in self.spec.env.items()},
        }
        return fields, environment

    def _wait_until_ready(self, workload: str, deadline_s: float) -> None:
        assert self._root is not None
        sample = make_samples(workload)[0]
        while time.perf_counter() < deadline_s and self._root.poll() is None:
            try:
                if self._find_fault(sample) is None:
                    return
            except (OSError, http.client.HTTPException):
                pass  # it does not listen yet
            time.sleep(0.01)
        log = self.read_log()
        self.stop()
        raise ServerError(f"{self.name} was not ready for {workload}. Its log ends with:\n{log}")

    def make_query(self, workload: str) -> Query:
        """Return what a load generator sends it."""
        return make_query(self.spec.body, workload, constant=self.spec.limit)

    def check(self, workload: str) -> None:
        """Send 64 different inputs at the same time: each must get its own answer.

        Raises
        ------
        ServerError
            If one does not.
        """
        samples = make_samples(workload)
        with ThreadPoolExecutor(len(samples)) as pool:
            list(pool.map(self._check_one, samples))

    def _check_one(self, sample: Sample) -> None:
        fault = self._find_fault(sample)
        if fault is not None:
            raise ServerError(f"{self.name} answered {fault}; wanted {sample.output}")

    def _find_fault(self, sample: Sample) -> str | None:
        """Send one query; return the beginning of an answer that is not right."""
        status, text = post(self.url, make_body(self.spec.body, sample.row))
        is_default = bool(self.spec.bad) and self.spec.bad in text
        if status == 200 and not is_default and (self.spec.limit or abs(parse_answer(text) - sample.output) < 1e-6):
            return None
        return f"{status} {text[:200]}"

    @property
    def is_ours_to_watch(self) -> bool:
        """Tell whether its processes are known."""
        return self._root is not None

    def measure_cpu_s(self) -> float:
        """Return the CPU seconds of its processes."""
        return process_tree.measure_cpu_s(self._find_processes())

    def measure_memory(self) -> process_tree.Memory:
        """Return the memory of its processes."""
        return process_tree.measure_memory(self._find_processes())

    def _find_processes(self) -> list[int]:
        return process_tree.find_tree(f"{TAG}={self._tag}", self._root.pid) if self._root else []

    def read_log(self) -> str:
        """Return the end of what it has printed."""
        if self._log is None:
            return ""
        self._log.seek(0)
        return self._log.read()[-LOG_TAIL_CHARACTERS:]

    def stop(self) -> None:
        """End all of its processes."""
        if self._root is not None:
            process_tree.end_tree(f"{TAG}={self._tag}", self._root.pid)
            self._root.wait()
            self._root = None
        if self._log is not None:
            self._log.close()
            self._log = None


def _fill(text: str, fields: dict[str, str]) -> str:
    for name, value in fields.items():
        text = text.replace(name, value)
    return text


def find_free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that are free, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def post(url: str, body: str, timeout_s: float = 10.0) -> tuple[int, str]:
    """Send one query on a connection of its own; return status and text."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request("POST", parts.path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def find_server(name: str) -> MeasuredServer:
    """Return our own target or a peer by its name."""
    return MeasuredServer(name, OUR_DIRECTORY if name == OUR_NAME else PEERS / name)
