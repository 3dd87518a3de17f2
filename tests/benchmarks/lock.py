"""A lock file, so that two benchmarks never measure at the same time and each other."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DEFAULT_PATH = Path(tempfile.gettempdir()) / "bench.lock"


class BusyError(RuntimeError):
    """Another benchmark runs."""


@contextmanager
def hold(path: Path = DEFAULT_PATH) -> Iterator[None]:
    """Hold the lock; the system releases it even if this process is killed.

    Raises
    ------
    BusyError
        If another process holds it.
    """
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise BusyError(f"Another benchmark runs (process {holder}, lock {path}). Wait for it to end.") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
