"""The line that a terminal shows while a command runs."""

from __future__ import annotations

import io

import pytest

from clipper_magic.log import get_logger
from clipper_magic.progress import Area


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_running_line_fits_the_terminal_and_has_the_message_only(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("COLUMNS", "60")
    with Area(live=False) as area:
        area.doing("deploying m:1")
        get_logger().info("[blue] Found 0 replicas for m:1. Adding 1")
        get_logger().info("Saving function to %s", "x" * 100)
        area.say("Done.")
    lines = terminal.getvalue().split("\r\x1b[K")

    assert lines[1:3] == ["deploying m:1", "deploying m:1 · Found 0 replicas for m:1. Adding 1"]
    assert lines[3].startswith("deploying m:1 · Saving function to xxx") and len(lines[3]) == 59
    assert lines[-1] == "Done.\n"
