"""Log lines: Clipper's format, on the stderr of the moment, with Python's own logging left alone."""

from __future__ import annotations

import io
import logging
import re
import sys

import pytest

from clipper_magic.log import StderrHandler, get_cluster_logger, get_logger

PREFIX = r"\d\d-\d\d-\d\d:\d\d:\d\d:\d\d {} \[test_log\.py:\d+\] "


def test_line_has_clippers_format(capsys: pytest.CaptureFixture[str]) -> None:
    get_logger().info("Python closure saved")
    get_logger().warning("%d of %d", 1, 2)

    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(PREFIX.format("INFO    ") + "Python closure saved", first)
    assert re.fullmatch(PREFIX.format("WARNING ") + "1 of 2", second)


def test_cluster_is_named_in_front(capsys: pytest.CaptureFixture[str]) -> None:
    get_cluster_logger("blue").info("Clipper is running")
    assert re.fullmatch(PREFIX.format("INFO    ") + r"\[blue\] Clipper is running\n", capsys.readouterr().err)


def test_line_goes_to_the_stderr_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook replaces sys.stderr after the import."""
    get_logger()
    cell = io.StringIO()
    monkeypatch.setattr(sys, "stderr", cell)
    get_logger().info("in the cell")
    assert cell.getvalue().endswith("in the cell\n")


def test_closed_stderr_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    get_logger().info("lost")
    assert closed.closed


def test_one_handler_and_none_at_the_root() -> None:
    before = list(logging.getLogger().handlers)
    loggers = {get_logger() for _ in range(3)}

    assert len(loggers) == 1
    assert sum(isinstance(handler, StderrHandler) for handler in get_logger().handlers) == 1
    assert not any(isinstance(handler, StderrHandler) for handler in before)
    assert logging.getLogger().handlers == before


def test_debug_lines_are_off_until_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    get_logger().debug("quiet")
    assert capsys.readouterr().err == ""
