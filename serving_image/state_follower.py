"""Keeps a query frontend's routes up with the cluster state."""

from __future__ import annotations

import asyncio
import logging

from serving_image.cluster_view import ClusterView
from serving_image.routes import Routes

log = logging.getLogger(__name__)

POLL_S = 0.5
SYNC_RETRY_S = 0.02


class StateFollower:
    """Applies what changes in the store: when it is told to, and every ``POLL_S`` in case nobody told.

    The store is asked in a thread, so the event loop never waits for it.
    """

    def __init__(self, view: ClusterView, routes: Routes) -> None:
        self._view = view
        self._routes = routes

    @property
    def revision(self) -> int:
        """The revision that is served."""
        return self._view.revision

    async def catch_up(self) -> None:
        """Serve the newest revision."""
        revision, changes = await asyncio.to_thread(self._view.store.changes_since, self._view.revision)
        self._routes.update(self._view.apply(revision, changes))

    async def sync(self, revision: int) -> int:
        """Return the revision that is served, once that is `revision` at least.

        Then the next query sees it: new replicas are connected, removed ones have finished (bounded).
        """
        while self._view.revision < revision:
            await self.catch_up()
            if self._view.revision < revision:  # a store that is behind the one who wrote it
                await asyncio.sleep(SYNC_RETRY_S)
        await self._routes.settle()
        return self._view.revision

    async def follow(self) -> None:
        """Catch up for ever. A store that is away is asked again: what is served stays served."""
        complaint = ""
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self.catch_up()
                complaint = ""
            except Exception as error:
                if str(error) != complaint:  # once per reason, not twice a second
                    complaint = str(error)
                    log.exception("cannot follow the cluster state, revision %d stays", self.revision)
