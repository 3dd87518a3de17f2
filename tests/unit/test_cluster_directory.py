"""The directory of a local cluster: where it is, and what it remembers."""

from __future__ import annotations

import os
import stat
import tempfile
import threading
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from clipper_magic.container_manager import Role
from clipper_magic.exceptions import BackendError
from clipper_magic.managers.cluster_directory import (
    SOCKET_PATH_LIMIT_BYTES,
    ClusterDirectory,
    ClusterRecord,
    Exit,
    Member,
    write_atomically,
)

RECORD = ClusterRecord("blue", "id", 1337, 1338, 1)
MEMBER = Member("query-0", Role.QUERY_FRONTEND, ("python", "-m", "x"), "/", "127.0.0.1:1")


@pytest.fixture
def directory(tmp_path: Path) -> ClusterDirectory:
    made = ClusterDirectory(tmp_path / "base" / "blue")
    made.path.parent.mkdir()
    made.create()
    return made


def test_it_is_in_the_runtime_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as runtime:  # short, unlike tmp_path
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        assert ClusterDirectory.locate("blue").path == Path(runtime) / f"clipper_magic-{os.getuid()}" / "blue"


@pytest.mark.parametrize("runtime", ["", "/no/such/directory"])
def test_without_a_runtime_directory_it_is_among_temporary_files(runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    assert ClusterDirectory.locate("blue").path == Path(f"/tmp/clipper_magic-{os.getuid()}/blue")


def test_a_cluster_is_found_from_a_terminal_without_a_runtime_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    base = tmp_path / f"clipper_magic-{os.getuid()}"
    base.mkdir()
    running = ClusterDirectory(base / "blue")
    running.create()
    write_atomically(running.record_path, RECORD)
    (tmp_path / "runtime").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))

    assert ClusterDirectory.locate("blue").path == running.path


def test_a_place_too_deep_for_sockets_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    assert ClusterDirectory.locate("blue").path.parent.parent == Path("/tmp")


def test_only_this_user_may_look(directory: ClusterDirectory) -> None:
    for path in (directory.path, directory.run, directory.logs, directory.members_path, directory.images):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_base_that_is_a_link_is_refused(tmp_path: Path) -> None:
    """Somebody else could have put it among the temporary files before us."""
    (tmp_path / "real").mkdir()
    (tmp_path / "base").symlink_to(tmp_path / "real")
    with (
        pytest.raises(BackendError, match="does not belong to this user"),
        ClusterDirectory(tmp_path / "base/x").lock(),
    ):
        raise AssertionError("the lock was given")


def test_record(directory: ClusterDirectory) -> None:
    assert directory.read_record() is None
    write_atomically(directory.record_path, RECORD)
    assert directory.read_record() == RECORD
    directory.record_path.write_text('{"cluster": "blu')
    assert directory.read_record() is None


def test_members(directory: ClusterDirectory) -> None:
    assert directory.claim(MEMBER)
    other = msgspec.structs.replace(MEMBER, argv=("other",))
    assert not directory.claim(other), "the name is taken"
    assert directory.members() == {"query-0": MEMBER}
    assert directory.lists("query-0")
    directory.drop(["query-0", "nobody"])
    assert directory.members() == {}
    assert list(directory.members_path.iterdir()) == []


def test_last_exit(directory: ClusterDirectory) -> None:
    assert directory.last_exit("query-0") is None
    write_atomically(directory.exit_path("query-0"), Exit(-9, 2))
    assert directory.last_exit("query-0") == Exit(-9, 2)


def test_sockets_are_new_and_fit(directory: ClusterDirectory) -> None:
    name = "x" * 300
    first, second = directory.new_socket(name), directory.new_socket(name)
    assert first != second
    assert all(
        len(os.fsencode(address.removeprefix("unix:"))) <= SOCKET_PATH_LIMIT_BYTES for address in (first, second)
    )
    assert directory.new_socket("sum-model_1-0").startswith(f"unix:{directory.run}/sum-")


def test_one_at_a_time_holds_the_lock(tmp_path: Path) -> None:
    one, two = ClusterDirectory(tmp_path / "base" / "one"), ClusterDirectory(tmp_path / "base" / "two")
    order: list[str] = []

    def enter() -> None:
        with two.lock():
            order.append("second enters")
            two.create()  # not in a directory that went when the first left

    with one.lock():
        thread = threading.Thread(target=enter)
        thread.start()
        order.append("first leaves")
    thread.join()

    assert order == ["first leaves", "second enters"]
    assert two.path.is_dir()


def test_directory_that_goes_with_its_last_cluster_is_made_anew_by_whoever_waits(tmp_path: Path) -> None:
    base = tmp_path / "base"
    entered: list[str] = []

    def start_and_stop(name: str) -> None:
        for _ in range(300):
            with ClusterDirectory(base / name).lock():  # the last to leave removes the directory that is locked
                entered.append(name)

    names = ["one", "two", "three", "four"]
    threads = [threading.Thread(target=start_and_stop, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Counter(entered) == dict.fromkeys(names, 300)
    assert not base.exists()


def test_the_base_goes_with_the_last_cluster(directory: ClusterDirectory) -> None:
    neighbour = ClusterDirectory(directory.path.parent / "green")
    neighbour.create()
    for cluster, base_is_there in ((directory, True), (neighbour, False)):
        with cluster.lock():
            cluster.remove()
        assert directory.path.parent.exists() is base_is_there
