"""What the commands of one notebook share: its settings, its language, its cluster, its display area."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from clipper_magic.commands import backends
from clipper_magic.commands.boundary import Interrupted
from clipper_magic.commands.grammar import Command
from clipper_magic.config import Clipper
from clipper_magic.managers.choice import manager
from clipper_magic.progress import Area
from clipper_magic.told import Told
from clipper_magic.wording import Texts

if TYPE_CHECKING:
    from clipper_magic.connection import ClipperConnection
    from clipper_magic.container_manager import ContainerManager

T = TypeVar("T", bound=Told)


class Session:
    """The kernel's side of the magics. The truth is in the cluster: a new session finds it again.

    Parameters
    ----------
    shell : InteractiveShell
    settings : Clipper
    commands : mapping of str to Command
        Every command, for ``help``.

    Attributes
    ----------
    connection : ClipperConnection or None
        The cluster that the last command worked on.
    area : Area
        Display of the command that runs.
    panel : object or None
        The panel that polls, if one does.
    """

    def __init__(self, shell: Any, settings: Clipper, commands: Mapping[str, Command]) -> None:
        self.shell = shell
        self.settings = settings
        self.commands = commands
        self.connection: ClipperConnection | None = None
        self.panel: Any = None
        self.area = Area(live=False)
        self._began = 0.0

    @property
    def texts(self) -> Texts:
        """The sentences of the language of now."""
        return Texts(self.settings.language)

    @property
    def in_kernel(self) -> bool:
        """Whether a front-end shows rich output: a notebook, not a terminal."""
        return hasattr(self.shell, "kernel")

    def new_area(self) -> Area:
        """Return a fresh display area, and make it the current one."""
        self._began = time.monotonic()
        texts = self.texts
        self.area = Area(
            live=self.in_kernel,
            verbose=self.settings.verbose,
            log_title=texts("log.title"),
            details_title=texts("log.details"),
        )
        return self.area

    def elapsed(self) -> str:
        """Return how long the command has run, for people."""
        return self.texts.duration(time.monotonic() - self._began)

    def say(self, message_id: str, /, **fields: object) -> None:
        """Add a sentence of the catalogue to what the command shows."""
        self.area.say(self.texts(message_id, **fields))

    def doing(self, message_id: str, /, **fields: object) -> None:
        """Show what takes a while now."""
        self.area.doing(self.texts(message_id, **fields))

    @contextmanager
    def if_interrupted(self, told: Callable[[], str]) -> Iterator[None]:
        """Let a Ctrl-C in the block become one sentence; ``told`` returns what became of the work."""
        try:
            yield
        except KeyboardInterrupt:
            raise Interrupted(told()) from None

    def said(self, value: T) -> T:
        """Mark a value as told by the sentence above it, so that the same cell, or input, does not echo it."""
        can_be_silent = self.in_kernel or sys.stdout.isatty()  # elsewhere "Out[3]:" is printed already
        value.said_in = self.shell.execution_count if can_be_silent else None
        return value

    def connected(self) -> ClipperConnection:
        """Return the connection; on first use find the running cluster and say so.

        Raises
        ------
        NoClusterError
            If no cluster of the session's name runs.
        """
        wanted = self.settings.cluster
        if self.connection is not None and self.connection.cm.cluster_name == wanted:
            return self.connection
        self.connection = backends.find(self.settings.chosen("backend"), wanted, self.settings.timeout)
        self.say("start.found", cluster=wanted, addr=self.connection.get_query_addr())
        return self.connection

    def any_manager(self) -> ContainerManager:
        """Return a container manager that runs nothing, for what needs no cluster."""
        return manager("local", self.settings.cluster, ready_timeout_s=self.settings.timeout)

    def freeze_panel(self) -> None:
        """Turn the live panel, if there is one, into what it shows now."""
        panel, self.panel = self.panel, None
        if panel is not None:
            panel.freeze()
