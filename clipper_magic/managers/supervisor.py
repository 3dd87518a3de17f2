"""The supervisor: keeps the processes of one local cluster running. The only module that knows circus.

Run as ``python -m clipper_magic.managers.supervisor DIRECTORY``, detached, one a cluster. It obeys
``DIRECTORY/members/*.json``: the command ``reloadconfig`` on its control socket makes the running processes equal
to those files. So the list survives the supervisor, and a new one takes over from it.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

# Circus asks for the fully qualified host name, which takes seconds where DNS is slow, and uses it nowhere here.
socket.getfqdn = lambda name="": name or socket.gethostname()

from circus.arbiter import Arbiter  # noqa: E402
from circus.exc import ConflictError  # noqa: E402
from circus.watcher import Watcher  # noqa: E402
from tornado.ioloop import PeriodicCallback  # noqa: E402

from clipper_magic.log import DATE_FORMAT, LINE_FORMAT  # noqa: E402
from clipper_magic.managers.backoff import restart_delay_s  # noqa: E402
from clipper_magic.managers.cluster_directory import (  # noqa: E402
    ClusterDirectory,
    Exit,
    Member,
    write_atomically,
)
from clipper_magic.managers.logs import truncate_large  # noqa: E402

GRACEFUL_STOP_S = 10.0
TEND_EVERY_MS = 1000

# The child writes its log itself: a pipe through the supervisor would break every print when the supervisor dies.
# A working directory that has gone is no reason not to start.
SHELL = 'cd "$1" 2>/dev/null || cd /; shift; exec "$@" >>"$0" 2>&1'


class Supervisor(Arbiter):  # type: ignore[misc]
    """A circus arbiter that follows a directory of members and restarts with back-off.

    Parameters
    ----------
    directory : ClusterDirectory
    """

    def __init__(self, directory: ClusterDirectory) -> None:
        super().__init__(
            [],
            endpoint=f"ipc://{directory.control_socket}",
            pubsub_endpoint=f"ipc://{directory.control_socket}.events",
            umask=0o077,
        )
        self._directory = directory
        self._members: dict[str, Member] = {}
        self._not_before_s: dict[str, float] = {}
        self._started_s: dict[str, float] = {}

    def run(self) -> None:
        """Serve until ``quit``."""
        asyncio_loop: asyncio.AbstractEventLoop = self.loop.asyncio_loop
        asyncio_loop.add_signal_handler(signal.SIGCHLD, lambda: asyncio.ensure_future(self._reap()))
        self.loop.add_callback(self.reload_from_config)
        tend = PeriodicCallback(self._tend, TEND_EVERY_MS)
        tend.start()
        self.start()

    def reload_from_config(self, *_: Any, **__: Any) -> asyncio.Future[None]:
        """Make the running processes equal to the members; done when those that left have ended.

        Not exclusive, unlike circus' own: starting one model does not wait for another to stop.
        """
        return asyncio.ensure_future(self._follow())

    async def _follow(self) -> None:
        wanted = self._directory.members()
        gone = [self._forget(name) for name, member in self._members.copy().items() if wanted.get(name) != member]
        new = [self._admit(member) for name, member in wanted.items() if name not in self._members]
        for watcher in new:
            await watcher._start()
        await asyncio.gather(*(watcher._stop() for watcher in gone))

    def _admit(self, member: Member) -> Watcher:
        self._directory.exit_path(member.name).unlink(missing_ok=True)
        self._started_s[member.name] = time.monotonic()
        watcher = Watcher(
            member.name,
            "/bin/sh",
            args=["-c", SHELL, str(self._directory.log_path(member.name)), member.working_dir, *member.argv],
            working_dir="/",
            copy_env=True,
            env=member.env,
            graceful_timeout=GRACEFUL_STOP_S,
            stop_children=True,
            respawn=False,  # restarts are ours: circus has no back-off
            hooks={"after_reap": (self._on_exit, True)},
        )
        watcher.initialize(self.evpub_socket, self.sockets, self)
        self.watchers.append(watcher)
        self._watchers_names[watcher.name.lower()] = watcher
        self._members[member.name] = member
        return watcher

    def _forget(self, name: str) -> Watcher:
        watcher = self._watchers_names.pop(name.lower())
        self.watchers.remove(watcher)
        del self._members[name]
        self._not_before_s.pop(name, None)
        return watcher

    def _on_exit(self, *, watcher: Watcher, exit_code: int, **_: Any) -> None:
        """Note how a member ended, and when it may start again."""
        if watcher.is_stopping() or watcher not in self.watchers or self._stopping:
            return
        name, now_s = watcher.name, time.monotonic()
        before = self._directory.last_exit(name)
        ended = Exit(exit_code=exit_code, count=(before.count if before else 0) + 1)
        write_atomically(self._directory.exit_path(name), ended)
        delay_s = restart_delay_s(ended.count, lived_s=now_s - self._started_s[name])
        self._not_before_s[name] = now_s + delay_s
        logging.warning("%s ended with exit code %d, restarting in %.1f s", name, exit_code, delay_s)
        self.loop.call_later(delay_s, self._start_due)

    async def _reap(self) -> None:
        try:
            await self.manage_watchers()
        except ConflictError:
            return  # another command runs; the periodic check follows within a second

    async def _start_due(self) -> None:
        now_s = time.monotonic()
        for watcher in [] if self._stopping else list(self.watchers):
            if watcher.is_stopped() and now_s >= self._not_before_s.get(watcher.name, 0.0):
                self._started_s[watcher.name] = now_s
                await watcher._start()

    async def _tend(self) -> None:
        await self._start_due()
        truncate_large(self._directory.logs.glob("*.log"))


def main() -> None:
    """Supervise the cluster in the directory of the first argument."""
    logging.basicConfig(level=logging.INFO, format=LINE_FORMAT, datefmt=DATE_FORMAT, force=True)
    Supervisor(ClusterDirectory(Path(sys.argv[1]))).run()


if __name__ == "__main__":
    main()
