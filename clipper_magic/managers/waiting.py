"""Wait for a condition, with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_EVERY_S = 0.01


def wait_for(condition: Callable[[], T], timeout_s: float, every_s: float = POLL_EVERY_S) -> T:
    """Ask ``condition`` until it is true or time is up; return its last answer.

    Parameters
    ----------
    condition : callable without arguments
    timeout_s : float
        It is asked at least once.
    every_s : float
        Pause between two questions. Ctrl-C ends the wait.
    """
    deadline_s = time.monotonic() + timeout_s
    never = threading.Event()
    while not (answer := condition()) and time.monotonic() < deadline_s:
        never.wait(every_s)
    return answer
