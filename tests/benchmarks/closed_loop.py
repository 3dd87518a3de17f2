"""A closed loop through wrk: each connection sends its next query when the answer to the last one is there."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.workloads import Query

SCRIPT = Path(__file__).with_name("post.lua")


class WrkMissingError(RuntimeError):
    """The load generator is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "The benchmarks need wrk. Install it (apt-get install wrk, brew install wrk) and run them again."
        )


@dataclass(frozen=True)
class ClosedLoop:
    """What a closed loop saw.

    Attributes
    ----------
    rate : float, predictions/s
        Right answers only.
    bad : int
        Wrong answers, default answers and refusals.
    errors : int
        Connections refused, broken or timed out.
    example : str
        The beginning of a bad answer.
    """

    connections: int
    rate: float
    p50_ms: float
    p99_ms: float
    requests: int
    bad: int
    errors: int
    example: str = ""

    @property
    def failures(self) -> int:
        """Return how many requests had no right answer."""
        return self.bad + self.errors


def require_wrk() -> str:
    """Return the path of wrk.

    Raises
    ------
    WrkMissingError
        If it is not installed.
    """
    found = shutil.which("wrk")
    if not found:
        raise WrkMissingError
    return found


def run_closed_loop(
    url: str, query: Query, connections: int, seconds: int, *, bad: str = "", keys: Sequence[int] = ()
) -> ClosedLoop:
    """Load ``url`` for some seconds with one thread of wrk.

    Parameters
    ----------
    bad : str
        An answer with this text is bad (a default answer).
    keys : sequence of int, each below 10**9
        Numbers to send instead of the running one, round and round.
    """
    with tempfile.TemporaryDirectory() as directory:
        environment = _script_environment(Path(directory), query, bad, keys)
        command = [
            require_wrk(),
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--timeout",
            "10s",
            "-s",
            str(SCRIPT),
            url,
        ]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds + 60)
    found = [line.removeprefix("JSON ") for line in done.stdout.splitlines() if line.startswith("JSON ")]
    if not found:
        raise RuntimeError(f"wrk gave no figures for {url}: {done.stdout}{done.stderr}")
    example = "".join(line.removeprefix("EXAMPLE ") for line in done.stdout.splitlines() if line.startswith("EXAMPLE "))
    return _read_figures(connections, json.loads(found[0]), example)


def _read_figures(connections: int, found: dict[str, Any], example: str) -> ClosedLoop:
    return ClosedLoop(
        connections=connections,
        rate=round((found["requests"] - found["bad"]) / found["seconds"], 1),
        p50_ms=found["p50_ms"],
        p99_ms=found["p99_ms"],
        requests=found["requests"],
        bad=found["bad"],
        errors=found["errors"],
        example=example,
    )


def _script_environment(directory: Path, query: Query, bad: str, keys: Sequence[int]) -> dict[str, str]:
    """Write the files of post.lua and return its environment."""
    body = directory / "body.json"
    body.write_text(query.body)
    environment = dict(
        os.environ,
        BODY=str(body),
        SEED=str(random.randrange(10**9)),
        PATTERN=query.pattern,
        LOW=str(query.low - 1e-6),
        HIGH=str(query.high + 1e-6),
    )
    if bad:
        environment["BAD"] = bad
    if keys:
        (directory / "keys").write_text("\n".join(map(str, keys)))
        environment["KEYS"] = str(directory / "keys")
    return environment
