"""Log files that other processes append to: their last lines, and a bound on their size."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

LIMIT_BYTES = 8 * 1024 * 1024


def tail_of(path: Path, lines: int) -> str:
    """Return the last ``lines`` lines of a text file; empty if there is none."""
    try:
        with path.open("rb") as log:
            log.seek(max(path.stat().st_size - 400 * lines - 4096, 0))
            text = log.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def truncate_large(paths: Iterable[Path], limit_bytes: int = LIMIT_BYTES) -> None:
    """Keep logs bounded: copy a large one to ``.1`` and empty it (its writer appends, so it goes on at 0)."""
    for path in paths:
        if path.stat().st_size > limit_bytes:
            shutil.copyfile(path, path.with_suffix(".log.1"))
            with path.open("r+b") as log:
                log.truncate(0)
