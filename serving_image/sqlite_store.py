"""The state store of the embedded default: one SQLite file, shared by the processes of a cluster."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from serving_image.store import Conflict, StoreUnavailable

# A deleted key keeps its row, with a NULL value, so that a follower learns of the deletion.
SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (key TEXT PRIMARY KEY, value BLOB, revision INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entry_revision ON entry (revision);
"""
UPSERT = """
INSERT INTO entry (key, value, revision) VALUES (?, ?, ?)
ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision
"""


class SQLiteStore:
    """A versioned key-value store in a SQLite file (see `serving_image.store.Store`).

    Parameters
    ----------
    path : pathlib.Path
        Created if it does not exist; its directory must.
    busy_timeout_s : float, >= 0
        How long to wait for another process that is writing.
    """

    def __init__(self, path: Path, busy_timeout_s: float = 10.0) -> None:
        self._lock = threading.Lock()
        with self._available(), _alone_in(path.parent):
            self._connection = sqlite3.connect(
                path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
            )
            # With a write-ahead log readers never wait for the writer. NORMAL may lose the last commits in a power
            # cut, but not in a crash of any process, which is what a cluster has to survive.
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(SCHEMA)

    @contextmanager
    def _available(self) -> Iterator[None]:
        """Let one thread at a time use the connection."""
        with self._lock:
            try:
                yield
            except sqlite3.OperationalError as exc:
                raise StoreUnavailable(f"SQLite: {exc}") from exc

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Hold the write lock of the file, so that what is read stays true until the commit."""
        with self._available():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # some errors have already ended it
                    self._connection.execute("ROLLBACK")
                raise

    def _newest(self) -> int:
        row = self._connection.execute("SELECT MAX(revision) FROM entry").fetchone()
        return int(row[0] or 0)

    def revision(self) -> int:
        """Return the number of the newest commit; 0 for an empty store."""
        with self._available():
            return self._newest()

    def changes_since(self, revision: int) -> tuple[int, dict[str, bytes | None]]:
        """Return the newest revision, and what changed after ``revision``."""
        with self._available():
            rows = self._connection.execute(
                "SELECT key, value, revision FROM entry WHERE revision > ?", (revision,)
            ).fetchall()
        # From the same read as the values: a commit may have happened since.
        newest = max((row[2] for row in rows), default=revision)
        return newest, {key: value for key, value, _ in rows}

    def commit(self, base_revision: int, changes: Mapping[str, bytes | None]) -> int:
        """Write all of ``changes``, or nothing; raise `Conflict` if ``base_revision`` is not the newest."""
        with self._transaction():
            newest = self._newest()
            if newest != base_revision:
                raise Conflict(f"The store is at revision {newest}, not {base_revision}")
            if not changes:
                return base_revision
            new = base_revision + 1
            self._connection.executemany(UPSERT, [(key, value, new) for key, value in changes.items()])
            return new

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Let one process at a time open a file here.

    Two that make a new file a write-ahead log at once each wait for the other's lock, which SQLite ends by refusing
    one of them, whatever its timeout.
    """
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
