"""The state store of the embedded default: one SQLite file, shared by the processes of a cluster."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from serving_image.store import Conflict

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
        self._connection = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False)
        # With a write-ahead log readers never wait for the writer. NORMAL may lose the last commits in a power
        # cut, but not in a crash of any process, which is what a cluster has to survive.
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        with self._transaction():
            for statement in filter(str.strip, SCHEMA.split(";")):
                self._connection.execute(statement)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Hold the write lock of the file, so that what is read stays true until the commit."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _newest(self) -> int:
        row = self._connection.execute("SELECT MAX(revision) FROM entry").fetchone()
        return int(row[0] or 0)

    def revision(self) -> int:
        """Return the number of the newest commit; 0 for an empty store."""
        with self._lock:
            return self._newest()

    def changes_since(self, revision: int) -> tuple[int, dict[str, bytes | None]]:
        """Return the newest revision, and what changed after ``revision``."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT key, value, revision FROM entry WHERE revision > ?", (revision,)
            ).fetchall()
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
