"""Ask the frontends of a cluster, quickly and often: two requests on connections that stay open."""

from __future__ import annotations

import http.client
import json
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clipper_magic.container_manager import ReplicaState

if TYPE_CHECKING:
    from clipper_magic.connection import ClipperConnection

TIMEOUT_S = 2.0


class SourceError(Exception):
    """A frontend does not answer, or not as a frontend does."""


class Source:
    """What a panel asks of a cluster. For one thread.

    Parameters
    ----------
    connection : ClipperConnection
        Connected.
    """

    def __init__(self, connection: ClipperConnection) -> None:
        self._connection = connection
        self._open: dict[str, http.client.HTTPConnection] = {}

    def status(self) -> dict[str, Any]:
        """Return the management frontend's answer about everything.

        Raises
        ------
        SourceError
        """
        return self._ask(self._connection.cm.get_admin_addr(), "POST", "/admin/get_status", b"{}")

    def metrics(self) -> dict[str, Any]:
        """Return the query frontend's metrics.

        Raises
        ------
        SourceError
        """
        return self._ask(self._connection.cm.get_query_addr(), "GET", "/metrics", None)

    def observed(self) -> Mapping[str, int]:
        """Return how many replicas of each ``model:version`` answer."""
        found = self._connection.cm.list_replicas()
        return Counter(
            f"{status.replica.model_name}:{status.replica.model_version}"
            for status in found
            if status.state is ReplicaState.READY
        )

    def close(self) -> None:
        """Close the connections."""
        for link in self._open.values():
            link.close()
        self._open.clear()

    def _ask(self, address: str, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        # A frontend closes what was idle for long, so a request that fails on an old connection is tried on a new one.
        for old in (True, False):
            link = self._open.get(address) if old else None
            if old and link is None:
                continue
            try:
                return self._exchange(link or self._connect(address), method, path, body)
            except (OSError, http.client.HTTPException, ValueError) as exc:
                self._drop(address)
                if not old:
                    raise SourceError(str(exc)) from exc
        raise SourceError(address)

    def _connect(self, address: str) -> http.client.HTTPConnection:
        host, _, port = address.rpartition(":")
        link = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_S)
        self._open[address] = link
        return link

    def _drop(self, address: str) -> None:
        link = self._open.pop(address, None)
        if link is not None:
            link.close()

    @staticmethod
    def _exchange(link: http.client.HTTPConnection, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        link.request(method, path, body, {"Content-Type": "application/json"})
        reply = link.getresponse()
        answer = json.loads(reply.read())
        if reply.status != http.client.OK or not isinstance(answer, dict):
            raise ValueError(f"status {reply.status}")
        return answer
