"""Ask the frontends of a cluster, quickly and often: two requests on connections that stay open.

On httptools, which the frontends read with, too: twice a second for hours, what ``http.client`` spends on parsing the
headers of an answer would be the largest part of what a panel costs its kernel.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import httptools
import msgspec

from clipper_magic.container_manager import ReplicaState

if TYPE_CHECKING:
    from clipper_magic.connection import ClipperConnection

TIMEOUT_S = 2.0
OK = 200

_STATUS = (
    "POST /admin/get_status HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
)
_METRICS = "GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n"


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
        self._open: dict[str, _Link] = {}

    def status(self) -> dict[str, Any]:
        """Return the management frontend's answer about everything.

        Raises
        ------
        SourceError
        """
        return self._ask(self._connection.cm.get_admin_addr(), _STATUS)

    def metrics(self) -> dict[str, Any]:
        """Return the query frontend's metrics.

        Raises
        ------
        SourceError
        """
        return self._ask(self._connection.cm.get_query_addr(), _METRICS)

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

    def _ask(self, address: str, request: str) -> dict[str, Any]:
        # A frontend closes what was idle for long, so a request that fails on an old connection is tried on a new one.
        link = self._open.pop(address, None)
        if link is not None:
            try:
                return self._answer(address, link, request)
            except SourceError:
                pass
        try:
            link = _Link(address)
        except OSError as exc:
            raise SourceError(str(exc)) from exc
        return self._answer(address, link, request)

    def _answer(self, address: str, link: _Link, request: str) -> dict[str, Any]:
        """Return the answer, and keep the connection if it is one."""
        try:
            answer = msgspec.json.decode(link.exchange(request.format(address).encode()), type=dict[str, Any])
        except (OSError, httptools.HttpParserError, msgspec.DecodeError) as exc:
            link.close()
            raise SourceError(str(exc)) from exc
        self._open[address] = link
        return answer


class _Link:
    """A connection to one frontend, which answers one request after another."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._parser = httptools.HttpResponseParser(self)
        self._body = b""
        self._is_whole = False

    def exchange(self, request: bytes) -> bytes:
        """Return the body of the answer; OSError if there is none, or not with status 200."""
        self._body, self._is_whole = b"", False
        self._socket.sendall(request)
        while not self._is_whole:
            data = self._socket.recv(1 << 16)
            if not data:
                raise ConnectionError("The frontend closed the connection")
            self._parser.feed_data(data)
        if self._parser.get_status_code() != OK:
            raise ConnectionError(f"The frontend answered with status {self._parser.get_status_code()}")
        return self._body

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()

    # ---- httptools' callbacks

    def on_body(self, part: bytes) -> None:
        """Collect a part of the body."""
        self._body += part

    def on_message_complete(self) -> None:
        """Note it."""
        self._is_whole = True
