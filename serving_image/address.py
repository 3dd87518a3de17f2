"""Where a server listens: a TCP port or a unix socket, with one text form for both."""

from __future__ import annotations

from dataclasses import dataclass

UNIX_PREFIX = "unix:"


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address (``host`` and ``port``) or a unix socket (``path``).

    ``str(address)`` gives the text form back: ``unix:/run/x.sock``, ``127.0.0.1:1337`` or ``[::1]:1337``.
    """

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``unix:/path.sock`` or ``host:port`` (an IPv6 host in brackets).

        Raises
        ------
        ValueError
            If the text is neither.
        """
        if text.startswith(UNIX_PREFIX):
            path = text.removeprefix(UNIX_PREFIX)
            if not path:
                raise ValueError(f"address {text!r}: no path after {UNIX_PREFIX!r}")
            return cls(path=path)
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or "/" in host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
            raise ValueError(f"address {text!r}: expected host:port or {UNIX_PREFIX}/path.sock")
        return cls(host=host, port=int(port))

    @property
    def is_unix(self) -> bool:
        """Whether this is a unix socket."""
        return bool(self.path)

    def __str__(self) -> str:
        if self.path:
            return UNIX_PREFIX + self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
