"""What a model warns of while it serves: each warning once in the log, and with little work for each batch.

Python says a warning once per place, but forgets what it has said whenever somebody touches its filters; scikit-learn
does for each tree of a forest, so that the same line would come with every batch. It also copies the filters for each
tree, which is half of what a forest of 100 trees takes for one row: 5.3 ms with the 11 filters that Python, numpy and
scipy set, 2.9 ms with one.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, TextIO, TypeAlias

log = logging.getLogger(__name__)

Rule: TypeAlias = tuple[Any, ...]  # one of ``warnings.filters``
Show: TypeAlias = Callable[..., Any]  # as ``warnings.showwarning``

REMEMBERED = 1000  # warnings with ever new texts must fill neither the disk nor the memory


class WarningLog:
    """Stands in for ``warnings.showwarning``: lets through what the rules show and was not shown before.

    Parameters
    ----------
    rules : sequence of tuple
        As ``warnings.filters``: which warnings are shown at all.
    show : callable
        As ``warnings.showwarning``: what shows them.
    """

    def __init__(self, rules: Sequence[Rule], show: Show) -> None:
        self._rules = list(rules)
        self._show = show
        self._seen: set[tuple[type[Warning], str, int, str]] = set()

    def __call__(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        """Show a warning, unless it is a repetition or a rule says otherwise."""
        warning = (category, filename, lineno, str(message))
        if warning in self._seen or len(self._seen) >= REMEMBERED:
            return
        self._seen.add(warning)
        with warnings.catch_warnings():  # Python itself applies the rules
            warnings.filters[:] = self._rules  # type: ignore[index]
            warnings.showwarning = self._show
            warnings.warn_explicit(message, category, filename, lineno, module_at(filename, lineno))
        if len(self._seen) == REMEMBERED:
            log.warning("the model has warned of %d things: no more of its warnings are logged", REMEMBERED)


def module_at(filename: str, lineno: int) -> str | None:
    """Return the module whose code is running at that line, None if none is: some rules are for one module."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_lineno == lineno and frame.f_code.co_filename == filename:
            return frame.f_globals.get("__name__")
        frame = frame.f_back
    return None


def log_warnings_once() -> None:
    """Show every later warning once in this process, by the rules of now behind a single filter.

    Nothing changes where warnings are turned into errors.
    """
    if any(rule[0] == "error" for rule in warnings.filters):
        return
    warnings.showwarning = WarningLog(warnings.filters, warnings.showwarning)
    warnings.resetwarnings()
    warnings.simplefilter("default")
