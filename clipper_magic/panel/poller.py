"""The panel's two threads: one looks at regular times, one does what buttons ask for.

Neither ever prints, displays or raises: what a thread writes lands in whichever cell runs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

THREAD_PREFIX = "clipper-panel"


class Ticker:
    """Calls a function at regular times in a thread of its own, until the function says that it is over.

    Parameters
    ----------
    work : callable -> bool
        Whether to go on. It must not raise.
    period_s : float, > 0
    """

    def __init__(self, work: Callable[[], bool], period_s: float) -> None:
        self._work = work
        self._period_s = period_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin, unless it runs."""
        if not self.alive:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name=f"{THREAD_PREFIX}-look", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End; wait for a look that is on its way, unless it is this thread that asks."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        due_s = time.monotonic()
        while not self._stop.is_set() and self._work():
            # A look that took too long is not made up for.
            due_s = max(due_s + self._period_s, time.monotonic())
            self._stop.wait(due_s - time.monotonic())


def not_of_the_panel(record: logging.LogRecord) -> bool:
    """Keep log lines of the panel's threads out: a filter for Clipper's logger."""
    return not (record.threadName or "").startswith(THREAD_PREFIX)
