"""The processes of a server: who they are, what they use, and their end. Reads /proc, so Linux only."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from clipper_magic.managers.waiting import wait_for
from tests.benchmarks.machine import TICKS_PER_S

PROC = Path("/proc")
END_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Memory:
    """Memory of several processes; PSS counts shared pages once, RSS once a process."""

    rss_mib: float
    pss_mib: float
    processes: int


@dataclass(frozen=True)
class _Stat:
    state: str
    parent: int
    session: int
    cpu_s: float


def _read_stat(pid: int) -> _Stat | None:
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    cpu_s = (int(fields[11]) + int(fields[12])) / TICKS_PER_S
    return _Stat(fields[0], int(fields[1]), int(fields[3]), cpu_s)


def _read_stats() -> dict[int, _Stat]:
    pids = [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]
    return {pid: stat for pid in pids if (stat := _read_stat(pid)) is not None}


def find_tree(tag: str, root: int | None = None) -> list[int]:
    """Return the processes of a server: those started with ``tag``, ``root``, its session, and their descendants.

    Parameters
    ----------
    tag : str
        ``NAME=value`` in the environment: finds daemons, which have left their parent and its session.
    root : int, optional
        The process that was started first.
    """
    stats = _read_stats()
    found = {pid for pid in stats if _has_tag(pid, tag)}
    if root is not None:
        found |= {pid for pid, stat in stats.items() if root in (pid, stat.session)}
    return sorted(_with_descendants(found, stats))


def find_mentions(text: str) -> list[int]:
    """Return the processes that have ``text`` in their command line, and their descendants; not this one."""
    stats = _read_stats()
    found = {pid for pid in stats if pid != os.getpid() and text.encode() in _read(pid, "cmdline")}
    return sorted(_with_descendants(found, stats))


def _with_descendants(found: set[int], stats: dict[int, _Stat]) -> set[int]:
    more = found
    while more:
        more = {pid for pid, stat in stats.items() if stat.parent in found} - found
        found = found | more
    return found


def _read(pid: int, name: str) -> bytes:
    try:
        return (PROC / str(pid) / name).read_bytes()
    except OSError:
        return b""


def _has_tag(pid: int, tag: str) -> bool:
    return tag.encode() in _read(pid, "environ").split(b"\0")


def measure_cpu_s(pids: Iterable[int]) -> float:
    """Return the CPU seconds that the processes have used."""
    return sum(stat.cpu_s for pid in pids if (stat := _read_stat(pid)) is not None)


def measure_memory(pids: Iterable[int]) -> Memory:
    """Return the memory that the processes use now."""
    total_kib = {"Rss": 0, "Pss": 0}
    count = 0
    for pid in pids:
        lines = _read(pid, "smaps_rollup").decode().splitlines()
        count += bool(lines)
        for line in lines:
            key, _, value = line.partition(":")
            if key in total_kib:
                total_kib[key] += int(value.split()[0])
    return Memory(round(total_kib["Rss"] / 1024, 1), round(total_kib["Pss"] / 1024, 1), count)


def is_alive(pid: int) -> bool:
    """Tell whether the process runs; one that has ended and waits for its parent does not."""
    stat = _read_stat(pid)
    return stat is not None and stat.state != "Z"


def end_tree(tag: str, root: int) -> None:
    """Ask the first process of a server to end, wait, and kill what is left of all of them."""
    pids = find_tree(tag, root)
    with contextlib.suppress(ProcessLookupError):
        os.kill(root, signal.SIGTERM)
    wait_for(lambda: not any(map(is_alive, pids)), END_TIMEOUT_S, every_s=0.05)
    for pid in {*pids, *find_tree(tag, root)}:
        if is_alive(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
