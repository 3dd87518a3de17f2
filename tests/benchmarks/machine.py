"""The machine that measures: its name, how busy it is, and who uses it."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
QUIET_CORES = 0.25  # what other programs may use while a step is measured
SAMPLE_S = 0.4


def describe() -> dict[str, Any]:
    """Return what a reader must know to compare the figures with their own."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": _first_value("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(int((_first_value("/proc/meminfo", "MemTotal") or "0").split()[0]) / 2**20),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "commit": _commit(),
    }


def name(description: dict[str, Any]) -> str:
    """Return the machine's description as one sentence."""
    return (
        f"{description['cores']} cores ({description['processor']}), {description['memory_gib']} GiB, "
        f"{description['system']}, Python {description['python']}; {description['date']}, "
        f"commit {description['commit']}."
    )


def _first_value(path: str, key: str) -> str | None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), None)


def _commit() -> str:
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, timeout=10
        )
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


@contextmanager
def core_apart() -> Iterator[int | None]:
    """Keep one core for a load generator: what starts within runs on the others.

    Systems that save cores put a server beside the client that wakes it, so that one waits for the other.

    Yields
    ------
    int or None
        The core, None where there is nothing to divide.
    """
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if len(cores) < 2:
        yield None
        return
    core = max(cores)
    os.sched_setaffinity(0, cores - {core})
    try:
        yield core
    finally:
        os.sched_setaffinity(0, cores)


def cpu_seconds() -> tuple[float, float]:
    """Return the seconds that all cores have worked, and those that a hypervisor has taken."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, *_, stolen = (int(value) / TICKS_PER_S for value in fields[:8])
    return user + nice + system, stolen


def wait_until_quiet(patience_s: float, own_cpu_s: Callable[[], float] = lambda: 0.0) -> bool:
    """Wait until other programs leave the machine alone; tell whether they do.

    Parameters
    ----------
    patience_s : float, seconds
        How long to wait at most.
    own_cpu_s : callable
        CPU seconds so far of the servers under measurement, which are no strangers.
    """
    deadline_s = time.monotonic() + patience_s
    while time.monotonic() < deadline_s:
        before_s = cpu_seconds()[0] - own_cpu_s()
        time.sleep(SAMPLE_S)
        if (cpu_seconds()[0] - own_cpu_s() - before_s) / SAMPLE_S < QUIET_CORES:
            return True
    return False
