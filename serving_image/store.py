"""The contract of a state store: a versioned key-value store with optimistic commits.

Every commit gets the next revision number. A reader that knows revision ``r`` asks for what changed since, so
following the store costs as much as what changed, however large the state is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit


class Conflict(Exception):
    """The store has moved past the revision that a commit was based on: read the changes, then try again."""


class StoreUnavailable(Exception):
    """The store does not answer, or cannot write; a later try may succeed."""


class Store(Protocol):
    """A versioned key-value store.

    Every method may be called from any thread, and raises `StoreUnavailable` if the store does not answer.
    """

    def revision(self) -> int:
        """Return the number of the newest commit; 0 for an empty store."""
        ...

    def changes_since(self, revision: int) -> tuple[int, dict[str, bytes | None]]:
        """Return the newest revision, and what changed after ``revision``.

        Parameters
        ----------
        revision : int, >= 0
            What the caller has already applied.

        Returns
        -------
        revision : int
            The newest revision, that is ``revision`` itself if nothing changed.
        changes : dict of str to bytes or None
            The newest value of each key that changed; None if the key was deleted.
        """
        ...

    def commit(self, base_revision: int, changes: Mapping[str, bytes | None]) -> int:
        """Write all of ``changes``, or nothing.

        Parameters
        ----------
        base_revision : int
            The revision that the changes were derived from.
        changes : mapping of str to bytes or None
            New values; None deletes the key.

        Returns
        -------
        int
            The revision that contains the changes; ``base_revision`` itself if there are none.

        Raises
        ------
        Conflict
            If the store has moved past ``base_revision``.
        """
        ...

    def close(self) -> None:
        """Release the connection."""
        ...


def open_store(url: str) -> Store:
    """Open the store that ``url`` names.

    Parameters
    ----------
    url : str
        ``sqlite:/path/to/state.db`` or ``redis://host:port/db?namespace=NAME``. Clusters that share one Redis
        database have different namespaces.

    Returns
    -------
    Store

    Raises
    ------
    ValueError
        If the scheme is not one of these.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        from serving_image.sqlite_store import SQLiteStore

        return SQLiteStore(Path(parts.path))
    if parts.scheme == "redis":
        # Redis' client is only installed where Redis is used, so it is only imported there.
        from serving_image.redis_store import RedisStore

        return RedisStore(url)
    raise ValueError(f"No state store for {url!r}: expected sqlite:/PATH or redis://HOST:PORT/DB")
