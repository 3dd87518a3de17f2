"""Ask a process of the cluster who it is, over TCP or a unix socket."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

from serving_image.address import Address


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(self._path)
        except OSError:
            self.sock.close()
            raise


LONGEST_ANSWER_BYTES = 1 << 24


def read_health(address: str, timeout_s: float = 1.0) -> dict[str, Any] | None:
    """Return what ``GET /health`` answers; see `read_json`."""
    return read_json(address, "/health", timeout_s)


def read_json(address: str, path: str, timeout_s: float = 1.0) -> dict[str, Any] | None:
    """Return the JSON object that a process answers.

    Parameters
    ----------
    address : str
        ``unix:/path.sock`` or ``host:port``.
    path : str
        What to get, such as ``/health``.
    timeout_s : float
        For connecting and for the answer.

    Returns
    -------
    dict, or None if nobody answers or somebody else does
    """
    where = Address.parse(address)
    connection = (
        _UnixConnection(where.path, timeout_s)
        if where.path
        else http.client.HTTPConnection(where.host, where.port, timeout=timeout_s)
    )
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        answer = json.loads(response.read(LONGEST_ANSWER_BYTES)) if response.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return answer if isinstance(answer, dict) else None


def is_listening(address: str, timeout_s: float = 1.0) -> bool:
    """Return whether a connection to ``address`` is taken; a busy process still takes it."""
    where = Address.parse(address)
    family = socket.AF_UNIX if where.path else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(timeout_s)
        try:
            probe.connect(where.path or (where.host, where.port))
        except OSError:
            return False
    return True
