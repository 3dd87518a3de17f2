"""Ask a role on this machine for its health, or for anything else that it tells, once or until it answers.

::

    python -m serving_image.probe PORT [--path /health] [--wait SECONDS]

Prints the body of the answer; exit code 0 if it was 200. Runs inside a container, beside the role, as
health check and as readiness check: so no port of a replica is published, and the engine may be anywhere.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time

_REQUEST = "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_PAUSE_S = 0.02
_ANSWER_TIMEOUT_S = 3.0


def ask(port: int, path: str = "/health") -> str | None:
    """Return the body of ``GET path`` on ``port``, or None without a 200 answer.

    Only the standard library's sockets: an HTTP client would take longer to import than to answer.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), _ANSWER_TIMEOUT_S) as connection:
            connection.sendall(_REQUEST.format(path=path).encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
    except OSError:
        return None
    head, _, body = answer.partition(b"\r\n\r\n")
    return body.decode() if head.split(b" ")[1:2] == [b"200"] else None


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m serving_image.probe", description="Ask a role for its health.")
    parser.add_argument("port", type=int)
    parser.add_argument("--path", default="/health", help="what to get (default: /health)")
    parser.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="how long to try (default: once)")
    options = parser.parse_args(arguments)
    deadline = time.monotonic() + options.wait
    while (body := ask(options.port, options.path)) is None:
        if time.monotonic() >= deadline:
            return 1
        time.sleep(_PAUSE_S)
    sys.stdout.write(body + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
