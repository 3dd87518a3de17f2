"""Makes an admin call true before it returns: tells the query frontends of a revision and waits for their word."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from serving_image.address import Address

CONFIRM_TIMEOUT_S = 10.0
RETRY_DELAY_S = 0.05  # a frontend that breaks the connection is restarting, which takes longer than that


class Synced(msgspec.Struct):
    """What a query frontend answers: the revision that it serves."""

    revision: int


class FrontendSync:
    """Pushes a revision to query frontends.

    Parameters
    ----------
    frontends : sequence of Address
        The control address of each query frontend.
    timeout_s : float, > 0
        How long to wait for their answers.
    """

    def __init__(self, frontends: Sequence[Address], timeout_s: float = CONFIRM_TIMEOUT_S) -> None:
        self._frontends = frontends
        self.timeout_s = timeout_s

    def push(self, revision: int) -> asyncio.Future[list[Address]]:
        """Tell all query frontends of ``revision``, in parallel; only on a running event loop.

        Returns
        -------
        future of list of Address
            The frontends that did not confirm in time; normally none.
        """
        return asyncio.ensure_future(self._push(revision))

    async def _push(self, revision: int) -> list[Address]:
        confirmed = await asyncio.gather(*(self._confirm(address, revision) for address in self._frontends))
        return [address for address, ok in zip(self._frontends, confirmed, strict=True) if not ok]

    async def _confirm(self, address: Address, revision: int) -> bool:
        """Return whether a frontend serves ``revision``, or will because it starts only now."""
        try:
            async with asyncio.timeout(self.timeout_s):
                while True:
                    try:
                        if await post_sync(address, revision) >= revision:
                            return True
                    except (ConnectionRefusedError, FileNotFoundError):
                        return True  # nobody listens: it will read the whole state after it does
                    except (OSError, EOFError, ValueError):
                        pass  # it went away in the middle, or is not what it was: ask again
                    await asyncio.sleep(RETRY_DELAY_S)
        except TimeoutError:
            return False


async def post_sync(address: Address, revision: int) -> int:
    """Ask one query frontend to serve ``revision``; return the revision that it serves.

    Raises
    ------
    OSError
        If it cannot be reached, or goes away.
    ValueError
        If it answers something else.
    """
    if address.is_unix:
        reader, writer = await asyncio.open_unix_connection(address.path)
    else:
        reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        body = msgspec.json.encode({"revision": revision})
        writer.write(
            b"POST /-/sync HTTP/1.1\r\nHost: query-frontend\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body)
        )
        head, _, answer = (await reader.read(-1)).partition(b"\r\n\r\n")
    finally:
        writer.close()
    if not head.startswith(b"HTTP/1.1 200 "):
        raise ValueError(f"unexpected answer to a sync: {head[:80]!r}")
    return msgspec.json.decode(answer, type=Synced).revision
