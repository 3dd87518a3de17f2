"""One suite for every state store: SQLite always, Redis where redis-server is installed."""

from __future__ import annotations

import itertools
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from requirements import require

from serving_image.sqlite_store import SQLiteStore
from serving_image.store import Conflict, Store, StoreUnavailable, open_store

NewUrl = Callable[[], str]
FreePort = Callable[[], int]

KEYS = st.sampled_from(["app/a", "app/b", "model/m", "version/m/1", "version/m/%2F"])
CHANGES = st.dictionaries(KEYS, st.none() | st.binary(max_size=8))


def wait_until_listening(port: int, deadline_s: float = 10.0) -> None:
    give_up = time.monotonic() + deadline_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except ConnectionRefusedError:
            assert time.monotonic() < give_up, "redis-server does not listen"


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory: pytest.TempPathFactory, free_port: FreePort) -> Iterator[int]:
    require("redis", shutil.which("redis-server") is not None, "no redis-server is installed")
    port = free_port()
    options = {"port": str(port), "bind": "127.0.0.1", "save": "", "dir": str(tmp_path_factory.mktemp("redis"))}
    command = ["redis-server", *itertools.chain(*((f"--{name}", value) for name, value in options.items()))]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        wait_until_listening(port)
        yield port
        process.terminate()


@pytest.fixture(params=["sqlite", "redis"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> NewUrl:
    """Return a function that names a new, empty store at each call."""
    numbers = itertools.count()
    if request.param == "sqlite":
        return lambda: f"sqlite:{tmp_path}/state-{next(numbers)}.db"
    port = request.getfixturevalue("redis_port")
    return lambda: f"redis://127.0.0.1:{port}/0?namespace={tmp_path.name}-{next(numbers)}"


class StoreMachine(RuleBasedStateMachine):
    """Two handles on one store, as two processes have, against a list of what the store held at each revision."""

    def __init__(self, new_url: NewUrl) -> None:
        super().__init__()
        self.url = new_url()
        self.stores: list[Store] = []
        self.history: list[dict[str, bytes]] = [{}]
        self.changed: list[set[str]] = [set()]

    @initialize()
    def open(self) -> None:
        self.stores = [open_store(self.url), open_store(self.url)]

    def teardown(self) -> None:
        for store in self.stores:
            store.close()

    @rule(changes=CHANGES, which=st.integers(0, 1))
    def commit(self, changes: dict[str, bytes | None], which: int) -> None:
        base = len(self.history) - 1
        revision = self.stores[which].commit(base, changes)
        if changes:
            after = self.history[-1] | changes
            self.history.append({key: value for key, value in after.items() if value is not None})
            self.changed.append(set(changes))
        assert len(self.history) - 1 == revision

    @precondition(lambda self: len(self.history) > 1)
    @rule(changes=CHANGES, which=st.integers(0, 1), data=st.data())
    def commit_on_an_old_revision(self, changes: dict[str, bytes | None], which: int, data: st.DataObject) -> None:
        base = data.draw(st.integers(0, len(self.history) - 2))
        with pytest.raises(Conflict):
            self.stores[which].commit(base, changes)

    @rule(which=st.integers(0, 1), data=st.data())
    def follow(self, which: int, data: st.DataObject) -> None:
        base = data.draw(st.integers(0, len(self.history) - 1))
        revision, changes = self.stores[which].changes_since(base)
        assert len(self.history) - 1 == revision
        assert set().union(*self.changed[base + 1 :]) == set(changes)
        after = self.history[base] | changes
        assert self.history[-1] == {key: value for key, value in after.items() if value is not None}

    @rule(which=st.integers(0, 1))
    def reopen(self, which: int) -> None:
        self.stores[which].close()
        self.stores[which] = open_store(self.url)

    @invariant()
    def both_handles_see_the_newest_revision(self) -> None:
        for store in self.stores:
            assert len(self.history) - 1 == store.revision()


def test_store_equals_its_model(new_url: NewUrl) -> None:
    run_state_machine_as_test(
        lambda: StoreMachine(new_url),
        settings=settings(max_examples=40, stateful_step_count=25, deadline=None),
    )


def test_no_commit_is_lost_when_several_processes_write(new_url: NewUrl) -> None:
    """Each writer has its own connection, as processes do; SQLite and Redis lock between connections."""
    url, writers, increments = new_url(), 4, 25
    failures: list[BaseException] = []

    def write() -> None:
        try:
            store = open_store(url)
            for _ in range(increments):
                increment(store)
            store.close()
        except BaseException as exc:
            failures.append(exc)

    def increment(store: Store) -> None:
        while True:
            revision, changes = store.changes_since(0)
            try:
                store.commit(revision, {"count": b"%d" % (int(changes.get("count") or 0) + 1)})
                return
            except Conflict:
                continue

    threads = [threading.Thread(target=write) for _ in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    store = open_store(url)
    assert (writers * increments, {"count": b"100"}) == store.changes_since(0)
    store.close()


def test_a_store_may_be_read_from_another_thread(new_url: NewUrl) -> None:
    store = open_store(new_url())
    store.commit(0, {"key": b"value"})
    seen: list[object] = []
    thread = threading.Thread(target=lambda: seen.append(store.changes_since(0)))
    thread.start()
    thread.join()
    store.close()
    assert seen == [(1, {"key": b"value"})]


def test_sqlite_says_that_it_is_unavailable_when_another_process_keeps_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SQLiteStore(path, busy_timeout_s=0.0)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        store.commit(0, {"key": b"value"})
    other.execute("ROLLBACK")
    assert store.commit(0, {"key": b"value"}) == 1
    other.close()
    store.close()


def test_redis_says_that_it_is_unavailable_when_nobody_listens(free_port: FreePort) -> None:
    store = open_store(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(StoreUnavailable, match="Redis"):
        store.revision()
    store.close()


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match="sqlite:/PATH or redis://"):
        open_store("etcd://127.0.0.1")


def test_those_who_open_a_new_file_at_once_wait_for_each_other(tmp_path: Path) -> None:
    together = threading.Barrier(4)

    def open_new(path: Path) -> SQLiteStore:
        together.wait()
        return SQLiteStore(path)

    for number in range(200):
        with ThreadPoolExecutor(4) as pool:
            for store in list(pool.map(open_new, [tmp_path / f"{number}.db"] * 4)):
                store.close()
