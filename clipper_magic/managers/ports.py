"""Free TCP ports."""

from __future__ import annotations

import errno
import socket
from collections.abc import Container, Sequence

from clipper_magic.exceptions import PortInUseError
from clipper_magic.log import ClusterLogger

HIGHEST_PORT = 65_535
ATTEMPTS = 1000


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Return whether a server could listen on this port now.

    The test binds without SO_REUSEPORT: with it, Linux would let us join a port that another program serves.
    SO_REUSEADDR only ignores connections that are closing.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as err:
            if err.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def find_free_port(wish: int, taken: Container[int] = (), host: str = "127.0.0.1") -> int:
    """Return ``wish`` if it is free, else the next free port above it.

    Parameters
    ----------
    wish : int
        Port to try first.
    taken : container of int
        Ports to leave out although they look free.
    host : str
        Address to listen on.

    Raises
    ------
    PortInUseError
        If none is free among the next 1000.
    """
    last = min(wish + ATTEMPTS, HIGHEST_PORT)
    for port in range(wish, last + 1):
        if port not in taken and is_free(port, host):
            return port
    raise PortInUseError.of("no-free-port", host=host, first=wish, last=last)


def choose_ports(wishes: Sequence[int], logger: ClusterLogger) -> list[int]:
    """Return a free port for each wish, all different: the wish itself, or the next free one, which is logged."""
    chosen: list[int] = []
    for wish in wishes:
        port = find_free_port(wish, taken=chosen)
        chosen.append(port)
        if port != wish:
            logger.info("Port %d is taken, using port %d instead", wish, port)
    return chosen
