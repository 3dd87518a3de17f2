"""One display area a command: what it does while it runs, then one sentence and its log, folded.

In a kernel the area is one output that is replaced in place (a display id), so that a stored notebook holds the last
state only. In a terminal the running line is rewritten and then erased.
"""

from __future__ import annotations

import logging
import re
import shutil
import sys
import threading
import uuid
from types import TracebackType
from typing import Any, Self

from IPython.display import display

from clipper_magic.exceptions import ClipperException
from clipper_magic.log import DATE_FORMAT, LINE_FORMAT, get_logger
from clipper_magic.render import Bundle, report, running
from clipper_magic.told import ERASED_LINE

_ORIGIN = re.compile(r"^.*? \[[\w.]+:\d+\] (?:\[[^\]]*\] )?")
"""What stands before the message of a log line: time, level, file and the cluster's name."""

_BETWEEN_STEPS = re.compile(r" --->|Removing intermediate container|ai\.clipper\.")
"""How lines of Docker's builder begin that say less than the step before them."""


class Area:
    """Where a command tells what it does.

    Parameters
    ----------
    live : bool
        Whether outputs can be replaced (a kernel); else a terminal.
    verbose : bool
        Leave Clipper's log lines where they go; nothing is folded.
    log_title, details_title : str
        What the folds are called.

    Attributes
    ----------
    log : list of str
        Clipper's log lines: folded.
    details : list of str
        What an error quotes, such as a traceback of the model's: shown at once.
    packages : list of str
        Those that a deployer found and logged.

    Notes
    -----
    Used as a context manager around a command. Only the thread that entered it writes; lines that other threads log
    meanwhile are kept for the fold and shown by nobody.
    """

    def __init__(
        self, *, live: bool, verbose: bool = False, log_title: str = "log", details_title: str = "details"
    ) -> None:
        self.live = live
        self.verbose = verbose
        self.log_title = log_title
        self.details_title = details_title
        self.log: list[str] = []
        self.details: list[str] = []
        self.packages: list[str] = []
        self._sentences: list[str] = []
        self._doing = ""
        self._display_id: str | None = None
        self._owner = threading.get_ident()
        self._capture = _Capture(self)

    @property
    def spoke(self) -> bool:
        """Whether there is a sentence to show."""
        return bool(self._sentences)

    def say(self, sentence: str) -> None:
        """Add a sentence to what stays."""
        self._sentences.append(sentence)

    def doing(self, sentence: str) -> None:
        """Show what takes a while now; the log of this command is kept and folded below its sentence."""
        self._doing = sentence
        self._show_running()

    def __enter__(self) -> Self:
        logger = get_logger()
        if not self.verbose:
            for handler in logger.handlers:
                handler.addFilter(_nothing)
        logger.addHandler(self._capture)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logger = get_logger()
        logger.removeHandler(self._capture)
        for handler in logger.handlers:
            handler.removeFilter(_nothing)
        self._erase_line()
        log = self.log if self._doing or error else []
        if error and not isinstance(error, ClipperException | KeyboardInterrupt):
            self.details, log = [*log, *self.details], []  # nobody foresaw it: all that is known may matter
        if self._sentences or self._display_id or log or self.details:
            self._show(report(self._sentences, log, self.log_title, self.details, self.details_title))

    def heard(self, line: str) -> None:
        """Keep a log line; show it behind what is being done."""
        self.log.append(line)
        step = _ORIGIN.sub("", line)
        if self._doing and threading.get_ident() == self._owner and not _BETWEEN_STEPS.match(step):
            self._show_running(step)

    def _show_running(self, step: str = "") -> None:
        bundle = running(self._doing, step)
        if self.live:
            self._show(bundle)
        elif sys.stdout.isatty():
            width = shutil.get_terminal_size().columns - 1  # a line that wraps could not be rewritten
            sys.stdout.write(f"{ERASED_LINE}{bundle['text/plain'][:width]}")
            sys.stdout.flush()

    def _erase_line(self) -> None:
        if self._doing and not self.live and sys.stdout.isatty():
            sys.stdout.write(ERASED_LINE)
            sys.stdout.flush()

    def _show(self, bundle: Bundle) -> None:
        if not self.live:
            if bundle["text/plain"]:
                print(bundle["text/plain"])  # noqa: T201  (a terminal's display)
            return
        options: dict[str, Any] = {"raw": True}
        if self._display_id is None and self._doing:
            self._display_id = uuid.uuid4().hex
            options["display_id"] = self._display_id
        elif self._display_id is not None:
            options.update(display_id=self._display_id, update=True)
        display(bundle, **options)  # type: ignore[no-untyped-call]


def _nothing(record: logging.LogRecord) -> bool:
    """Let no line through: an area shows them."""
    return False


class _Capture(logging.Handler):
    """Hands the lines of Clipper's logger to an area."""

    def __init__(self, area: Area) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(logging.Formatter(LINE_FORMAT, DATE_FORMAT))
        self.area = area

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line, unless it went to where lines go; and what it carries."""
        self.area.packages += getattr(record, "packages", ())
        if not self.area.verbose:
            self.area.heard(self.format(record))
