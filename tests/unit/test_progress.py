"""What a terminal shows of a command while it runs, and at its end."""

from __future__ import annotations

import io

import pytest

from clipper_magic.exceptions import ClipperUsageError
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


def test_what_the_builder_says_between_its_steps_does_not_hide_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    with Area(live=False) as area:
        area.doing("deploying m:1")
        for line in ("Step 5/8 : RUN python3", " ---> Running in b6287bde99dc", "Removing intermediate container b628"):
            get_logger().info("[blue] %s", line)
        get_logger().info('[blue] ai.clipper.packages={"numpy": "2.4.6"}')

    assert terminal.getvalue().split("\r\x1b[K")[1:] == ["deploying m:1", "deploying m:1 · Step 5/8 : RUN python3", ""]
    assert len(area.log) == 4


QUOTED = "KeyError: 'price'"


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ClipperUsageError("no"), [QUOTED]),
        (KeyboardInterrupt(), [QUOTED]),
        (RuntimeError("a mistake of ours"), ["Saving function", QUOTED]),
    ],
)
def test_an_error_that_says_all_leaves_the_log_folded(
    error: BaseException, shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(type(error)), Area(live=False) as area:
        area.doing("deploying m:1")
        get_logger().info("Saving function")
        area.details.append(QUOTED)
        raise error

    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("] ")[2] or line for line in lines] == shown
