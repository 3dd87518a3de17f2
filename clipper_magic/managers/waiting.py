"""Wait for a condition, with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from clipper_magic.log import ClusterLogger

T = TypeVar("T")

POLL_EVERY_S = 0.01
# Most starts are over before anybody wonders. From then on it is as Clipper has it: one question and one line a second.
QUIET_S = 5.0
RETRY_S = 1.0


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


def wait_for_start(
    condition: Callable[[], T],
    timeout_s: float,
    logger: ClusterLogger,
    what: str,
    every_s: float = POLL_EVERY_S,
    quiet_s: float = QUIET_S,
    retry_s: float = RETRY_S,
) -> T:
    """Wait as `wait_for` does, and log Clipper's warning when what is being started takes long.

    Parameters
    ----------
    condition : callable without arguments
    timeout_s : float
        It is asked at least once.
    logger : ClusterLogger
    what : str
        Who does not answer yet, such as "the query frontend".
    every_s : float
        Pause between two questions, at first.
    quiet_s : float
        How long nothing is said.
    retry_s : float
        Pause between two questions, and two lines, from then on.
    """
    quiet_s = min(quiet_s, timeout_s)
    answer = wait_for(condition, quiet_s, every_s)
    if answer or quiet_s == timeout_s:
        return answer

    def ask() -> T:
        found = condition()
        if not found:
            logger.warning(
                "Clipper still initializing: \n %s does not answer yet, Retrying in %g seconds...", what, retry_s
            )
        return found

    return wait_for(ask, timeout_s - quiet_s, retry_s)
