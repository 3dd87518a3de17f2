"""The parts of the local backend that need no cluster: back-off, waiting, ports, logs, processes."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

import serving_image
from clipper_magic.exceptions import PortInUseError
from clipper_magic.log import get_cluster_logger
from clipper_magic.managers import processes
from clipper_magic.managers.backoff import restart_delay_s
from clipper_magic.managers.cluster_directory import ClusterDirectory
from clipper_magic.managers.health import is_listening, read_health
from clipper_magic.managers.logs import tail_of, truncate_large
from clipper_magic.managers.ports import find_free_port, is_free
from clipper_magic.managers.processes import ProcessGroup, serving_environment
from clipper_magic.managers.waiting import RETRY_S, wait_for, wait_for_start

# --- back-off ---


def test_first_restart_is_at_once_and_then_delays_double_up_to_ten_seconds() -> None:
    assert [restart_delay_s(exits, lived_s=0.0) for exits in range(1, 6)] == [0.0, 0.1, 0.2, 0.4, 0.8]
    assert restart_delay_s(1_000_000, lived_s=0.0) == 10.0


def test_restart_after_a_long_life_is_at_once() -> None:
    assert restart_delay_s(50, lived_s=31.0) == 0.0


# --- waiting ---


def test_wait_for_returns_the_first_true_answer() -> None:
    answers = iter([0, "", None, "yes", "later"])
    assert wait_for(lambda: next(answers), 60.0, every_s=0.0) == "yes"


def test_wait_for_asks_once_even_without_time() -> None:
    asked: list[int] = []
    assert wait_for(lambda: asked.append(1), -1.0) is None
    assert asked == [1]


def test_a_start_that_takes_long_says_so_in_clippers_words(capsys: pytest.CaptureFixture[str]) -> None:
    answers = iter([None, None, None, "ready"])
    logger = get_cluster_logger("slow")
    assert (
        wait_for_start(lambda: next(answers), 60.0, logger, "the query frontend", quiet_s=0.0, retry_s=0.0) == "ready"
    )
    warning = "[slow] Clipper still initializing: \n the query frontend does not answer yet, Retrying in 0 seconds...\n"
    lines = capsys.readouterr().err
    assert lines.count(warning) == lines.count("WARNING") == 2
    assert RETRY_S == 1.0  # "Retrying in 1 seconds..."


def test_a_start_that_is_quick_or_has_no_time_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    logger = get_cluster_logger("quick")
    assert wait_for_start(lambda: "ready", 60.0, logger, "the query frontend") == "ready"
    assert wait_for_start(lambda: None, -1.0, logger, "the query frontend") is None
    assert capsys.readouterr().err == ""


# --- ports ---


def test_free_port_is_the_wish_or_the_next() -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as server:
        taken = server.getsockname()[1]
        found = find_free_port(taken)

        assert not is_free(taken), "a server with SO_REUSEPORT owns its port all the same"
        assert found > taken
        assert find_free_port(found, taken=[found]) > found
    assert find_free_port(taken) == taken


def test_no_free_port() -> None:
    with pytest.raises(PortInUseError, match=r"No free port on 127\.0\.0\.1 between 65535 and 65535"):
        find_free_port(65_535, taken=[65_535])


# --- health ---


@pytest.mark.parametrize("address", ["unix:/no/such.sock", "127.0.0.1:1"])
def test_nobody_there(address: str) -> None:
    assert read_health(address) is None
    assert not is_listening(address)


def test_somebody_else_there(tmp_path: Path) -> None:
    """Connections are taken, and nothing of ours is answered."""
    path = tmp_path / "x.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen()
        assert is_listening(f"unix:{path}")
        assert read_health(f"unix:{path}", timeout_s=0.05) is None


# --- logs ---


def test_tail(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    assert tail_of(path, 3) == ""
    path.write_text("".join(f"line {i}\n" for i in range(100_000)))
    assert tail_of(path, 2) == "line 99998\nline 99999"
    path.write_bytes(b"\xff one line")
    assert tail_of(path, 5) == "\ufffd one line"


def test_large_log_is_moved_and_its_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    with path.open("a") as writer:
        writer.write("x" * 101)
        writer.flush()
        truncate_large([path], limit_bytes=100)
        writer.write("new")

    assert path.read_text() == "new"
    assert (tmp_path / "x.log.1").read_text() == "x" * 101
    truncate_large([path], limit_bytes=100)
    assert path.read_text() == "new"


# --- processes ---


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["python", "-m", "clipper_magic.managers.supervisor", "/base/blue"], True),
        (["python", "-m", "serving_image.query_frontend", "--state", "sqlite:/base/blue/state.db"], True),
        (["/bin/sh", "-c", "…", "/base/blue/logs/x.log", "python", "-m", "serving_image.model_replica"], True),
        (["python", "-m", "serving_image.query_frontend", "--state", "sqlite:/base/blue-sky/state.db"], False),
        (["python", "-m", "clipper_magic.managers.supervisor", "/base/blue-sky"], False),
        (["tail", "-f", "/base/blue/logs/query-0.log"], False),
        (["vi", "/base/blue"], False),
        ([], False),
    ],
)
def test_processes_are_recognised_by_their_command(command: list[str], expected: bool) -> None:
    assert ProcessGroup(ClusterDirectory(Path("/base/blue"))).owns(command) is expected


def test_no_process_of_a_cluster_that_never_was(tmp_path: Path) -> None:
    group = ProcessGroup(ClusterDirectory(tmp_path / "never"))
    assert group.find() == []
    assert not group.supervised
    assert group.stop(graceful=True) == ([], [])


def test_serving_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(Path(serving_image.__file__).parent.parent)
    monkeypatch.setenv("PYTHONPATH", "/mine")
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")

    environment = serving_environment()

    assert environment["PYTHONPATH"] == os.pathsep.join(["/mine", root])
    assert (environment["PYTHONUNBUFFERED"], environment["MPLBACKEND"]) == ("1", "agg")
    monkeypatch.setattr(processes.serving_image, "__file__", "/env/site-packages/serving_image/__init__.py")
    monkeypatch.delenv("PYTHONPATH")
    monkeypatch.setenv("MPLBACKEND", "svg")
    assert "PYTHONPATH" not in serving_environment()
    assert serving_environment()["MPLBACKEND"] == "svg"
