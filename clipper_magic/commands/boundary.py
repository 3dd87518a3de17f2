"""Where an error of ours becomes one line, and a Ctrl-C one sentence."""

from __future__ import annotations

import re
from typing import Any

from clipper_magic.commands import cells
from clipper_magic.exceptions import ClipperException

LOG_FIELD = "log"
_LINE_BREAKS = re.compile(r"\s*\n\s*")
# Clipper's sentence about a missing import names an argument of Python's API; what Python said is behind it.
_MISSING_IMPORT = re.compile(r"^ModelLoadError: Encountered an ImportError .* \((?P<cause>.+)\)$")


class Interrupted(KeyboardInterrupt):
    """The user interrupted a command; the text says what became of it."""


def one_line(exc: ClipperException, language: str) -> str:
    """Return an error as one line: a log that its text quotes is cut to its last line.

    Parameters
    ----------
    exc : ClipperException
    language : str
        ``"en"`` or ``"fr"``.
    """
    fields = exc.fields
    lines = quoted_log(exc)
    last = lines[-1].strip() if lines else ""
    last = _MISSING_IMPORT.sub(r"\g<cause>", last)
    last = last if last.endswith((".", "!", "?")) else f"{last}."
    exc.fields = {**fields, LOG_FIELD: last} if LOG_FIELD in fields else fields
    try:
        text = exc.localized(language, magic=True)
    finally:
        exc.fields = fields
    return f"{type(exc).__name__}: {_LINE_BREAKS.sub(' ', text)}"


def quoted_log(exc: ClipperException) -> list[str]:
    """Return the log lines that an error carries, if it does."""
    return [line for line in str(exc.fields.get(LOG_FIELD, "")).splitlines() if line.strip()]


def hide_traceback(exc: BaseException, *lines: str) -> None:
    """Let IPython show these lines for this very exception, and no traceback.

    The kernel still sends a true error, which stops "Run all" and which test runners see; ``UsageError`` would not.
    """
    exc._render_traceback_ = lambda *_: list(lines)  # type: ignore[attr-defined]


def make_brief(exc: ClipperException, session: Any) -> None:
    """Show an error of ours as one line, unless ``%config Clipper.debug`` wants all of it; show the log it quotes."""
    session.area.details.extend(cells.with_cell_names(session.shell, line) for line in quoted_log(exc))
    if not session.settings.debug:
        hide_traceback(exc, one_line(exc, session.settings.language))


def interrupted(exc: KeyboardInterrupt, session: Any) -> Interrupted:
    """Return what a Ctrl-C in a command becomes: one line that says so."""
    error = exc if isinstance(exc, Interrupted) else Interrupted(session.texts("interrupted.plain"))
    hide_traceback(error, str(error))
    return error
