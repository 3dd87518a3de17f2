"""Start, ask and stop the supervisor of a local cluster, and find every process of the cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path

import psutil
import zmq

import serving_image
from clipper_magic.container_manager import Role
from clipper_magic.exceptions import BackendError
from clipper_magic.log import get_cluster_logger
from clipper_magic.managers.cluster_directory import ClusterDirectory
from clipper_magic.managers.health import is_listening
from clipper_magic.managers.logs import tail_of
from clipper_magic.managers.waiting import wait_for

OUR_MODULES = ("serving_image.", "clipper_magic.managers.supervisor")
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
EXIT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 30.0
ALIVE_CHECK_MS = 100
DONE, GONE = "done", "gone"


class ProcessGroup:
    """All processes of one local cluster.

    Parameters
    ----------
    directory : ClusterDirectory
        Holds the list of what must run.
    """

    def __init__(self, directory: ClusterDirectory) -> None:
        self.directory = directory

    @property
    def supervised(self) -> bool:
        """Whether the supervisor lives."""
        return is_listening(f"unix:{self.directory.control_socket}")

    def launch(self) -> None:
        """Start the supervisor, detached; it starts the members.

        Its own session keeps Ctrl-C and the kernel's end away from it. The shell ends at once, so the supervisor
        is nobody's child here and leaves no zombie.
        """
        command = [sys.executable, "-P", "-m", "clipper_magic.managers.supervisor", str(self.directory.path)]
        log_path = str(self.directory.log_path("supervisor"))
        subprocess.run(
            ["/bin/sh", "-c", '"$@" >>"$0" 2>&1 &', log_path, *command],
            stdin=subprocess.DEVNULL,
            cwd="/",
            env=serving_environment(),
            start_new_session=True,
            check=True,
        )

    def follow(self) -> None:
        """Make what runs equal to the list of members; return when those that left have ended.

        Raises
        ------
        BackendError
            If the supervisor does not answer.
        """
        if self._command("reloadconfig") == GONE:
            self.ensure_supervised()

    def ensure_supervised(self) -> None:
        """Replace a supervisor that died: its processes serve on, but nothing would restart or stop them.

        The new one starts what the list of members names; returns when the frontends listen again.
        """
        if self.supervised:
            return
        with self.directory.lock():
            if self.supervised:
                return  # another kernel was quicker
            logger = get_cluster_logger(self.directory.path.name)
            logger.warning("The process supervisor has died: restarting the cluster's processes under a new one")
            self.kill()
            self.launch()
            members = self.directory.members().values()
            frontends = [member.address for member in members if member.role is not Role.MODEL_REPLICA]
            if not wait_for(lambda: all(is_listening(address) for address in frontends), START_TIMEOUT_S):
                raise self._failure("the frontends did not start")

    def stop(self, graceful: bool) -> tuple[list[str], list[str]]:
        """End every process.

        Parameters
        ----------
        graceful : bool
            Let the supervisor end them in their own time (all at once, bounded), else kill.

        Returns
        -------
        tuple of two lists of str
            What was stopped, and what had to be killed although ``graceful`` was asked for.
        """
        names = [describe(process) for process in self.find()]
        if graceful and self.supervised:
            with suppress(BackendError):  # what it left is killed below
                self._command("quit")
                wait_for(lambda: not self.find(), EXIT_TIMEOUT_S, every_s=0.03)
        left = self.find()
        self.kill()
        return names, [describe(process) for process in left] if graceful else []

    def kill(self) -> None:
        """Kill whatever of this cluster runs, the supervisor first as it would start the others again.

        Each process leads a group of its own, with whatever a model function started.
        """
        wait_for(self._kill_once, STOP_TIMEOUT_S, every_s=0.05)

    def _kill_once(self) -> bool:
        found = sorted(self.find(), key=lambda process: "supervisor" not in describe(process))
        for process in found:
            try:
                os.killpg(os.getpgid(process.pid), signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not found

    def find(self) -> list[psutil.Process]:
        """Return the live processes of this cluster, recognised by their command lines."""
        mine = []
        for process in psutil.process_iter(["cmdline", "uids", "status"]):
            info = process.info
            ended = info["status"] in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
            if ended or info["uids"] is None or info["uids"].real != os.getuid():
                continue
            if self.owns(info["cmdline"] or []):
                mine.append(process)
        return mine

    def owns(self, command: list[str]) -> bool:
        """Return whether this command line is of this cluster."""
        where = str(self.directory.path)
        runs_us = any(argument.startswith(OUR_MODULES) for argument in command)
        return runs_us and any(argument == where or f"{where}/" in argument for argument in command)

    def tail(self, name: str, lines: int) -> str:
        """Return the last log lines of a process; empty if it wrote none."""
        return tail_of(self.directory.log_path(name), lines)

    def _command(self, name: str) -> str:
        """Send one command to circus and wait until it is done; return DONE, or GONE if the supervisor died.

        Circus refuses a command while an exclusive one runs: ask again until time is up.
        """
        deadline_s = time.monotonic() + COMMAND_TIMEOUT_S
        answer = wait_for(lambda: self._ask(name, deadline_s), COMMAND_TIMEOUT_S)
        if answer not in (DONE, GONE):
            raise self._failure(answer or "it is busy")
        return answer

    def _ask(self, name: str, deadline_s: float) -> str:
        """Return DONE, GONE, an error, or "" to ask again."""
        request = {"id": uuid.uuid4().hex, "command": name, "properties": {"waiting": True}}
        # The process's one context: a new one a command would start a thread, and Ctrl-C could tear it half made.
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        with context.socket(zmq.DEALER) as channel:
            channel.setsockopt(zmq.LINGER, 0)
            channel.connect(f"ipc://{self.directory.control_socket}")
            channel.send(json.dumps(request).encode())
            while not channel.poll(ALIVE_CHECK_MS):
                if not self.supervised:
                    return GONE
                if time.monotonic() > deadline_s:
                    return "it does not answer"
            answer = json.loads(channel.recv())
        if answer.get("status") == "ok":
            return DONE
        reason = str(answer.get("reason"))
        return "" if "already running" in reason else reason

    def _failure(self, reason: str) -> BackendError:
        """Return the error to raise when the supervisor does not do its work."""
        return BackendError.of(
            "supervisor-failed",
            cluster=self.directory.path.name,
            reason=reason,
            log_path=self.directory.log_path("supervisor"),
        )


def serving_environment() -> dict[str, str]:
    """Return the environment for the cluster's processes: the kernel's, so that they find the same packages.

    They run with ``-P``: a file in the working directory must never hide a package.
    """
    root = str(Path(serving_image.__file__).parent.parent)
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    environment = dict(os.environ, PYTHONUNBUFFERED="1")
    if root not in paths and not root.endswith(("site-packages", "dist-packages")):
        paths.append(root)
    if paths:
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    # A notebook's kernel names a drawing backend that exists only there.
    if environment.get("MPLBACKEND", "").startswith("module://"):
        environment["MPLBACKEND"] = "agg"
    return environment


def describe(process: psutil.Process) -> str:
    """Return a name for a process in reports, such as ``serving_image.query_frontend (pid 12)``."""
    command = process.info["cmdline"] or []
    module = next((argument for argument in command if argument.startswith(OUR_MODULES)), "process")
    return f"{module} (pid {process.pid})"
