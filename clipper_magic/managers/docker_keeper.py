"""Starts again what was killed or has frozen, while a kernel is connected.

The engine's restart policy brings back what crashed, with a kernel or without. It does not bring back what
``docker kill`` ended, which counts as a stop to it, nor a process that hangs. What ``docker stop`` ended stays stopped:
that was somebody's wish.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import docker
import requests
import urllib3.exceptions
from docker.errors import APIError, DockerException

from clipper_magic.log import ClusterLogger
from clipper_magic.managers.docker_labels import selector

RECONNECT_AFTER_S = 1.0
_TERMINATE, _KILL = "15", "9"
_EVENTS = ["kill", "die", "start", "destroy", "health_status"]


class DeathWatch:
    """Decides from the engine's events what has to be started again. Pure: no engine, no clock."""

    def __init__(self) -> None:
        self._killed: set[str] = set()
        self._asked_to_end: set[str] = set()

    def observe(self, event: Mapping[str, Any]) -> str:
        """Return what to do with the event's container: ``"start"``, ``"restart"`` or an empty text.

        Parameters
        ----------
        event : mapping
            As the engine's ``/events`` has it: ``Action``, and ``Actor`` with ``ID`` and ``Attributes``.
        """
        container, action = event["Actor"]["ID"], event["Action"]
        if action == "kill":
            signal = event["Actor"]["Attributes"].get("signal", "")
            if signal == _TERMINATE:
                self._asked_to_end.add(container)
            elif signal == _KILL:
                self._killed.add(container)
        elif action == "health_status: unhealthy":
            return "restart"
        elif action in ("die", "start", "destroy"):
            died_by_kill = action == "die" and container in self._killed - self._asked_to_end
            self._killed.discard(container)
            self._asked_to_end.discard(container)
            return "start" if died_by_kill else ""
        return ""


class Keeper:
    """Follows the engine's events about one cluster in a thread.

    Parameters
    ----------
    client : docker.DockerClient
        The engine.
    cluster_name : str
    logger : ClusterLogger
    """

    def __init__(self, client: docker.DockerClient, cluster_name: str, logger: ClusterLogger) -> None:
        self._client = client
        self._filters = {**selector(cluster_name), "type": "container", "event": _EVENTS}
        self._logger = logger
        self._closed = threading.Event()
        self._following = threading.Event()
        self._stream: Any = None
        self._thread = threading.Thread(target=self._run, name=f"keeper-{cluster_name}", daemon=True)

    def start(self) -> None:
        """Begin; return when events are followed."""
        self._thread.start()
        self._following.wait(RECONNECT_AFTER_S)

    def close(self) -> None:
        """End, and wait until nothing is started any more. Harmless when called twice."""
        self._closed.set()
        with suppress(OSError, DockerException):
            if self._stream is not None:
                self._stream.close()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(RECONNECT_AFTER_S)

    def _run(self) -> None:
        while not self._closed.is_set():
            with suppress(DockerException, requests.RequestException, urllib3.exceptions.HTTPError, OSError):
                self._stream = self._client.events(decode=True, filters=self._filters)
                self._following.set()
                self._follow(self._stream)
            self._closed.wait(RECONNECT_AFTER_S)  # the engine restarts, or this keeper is closed

    def _follow(self, events: Iterable[Mapping[str, Any]]) -> None:
        watch = DeathWatch()
        for event in events:
            action = watch.observe(event)
            if self._closed.is_set():
                return
            if action:
                self._mend(action, event["Actor"]["ID"])

    def _mend(self, action: str, container_id: str) -> None:
        try:
            container = self._client.containers.get(container_id)
            if action == "start":
                container.start()
            else:
                container.restart(timeout=0)
        except APIError:  # it is being removed
            return
        reason = "was killed" if action == "start" else "did not answer its health checks"
        self._logger.warning("Container %s %s and was started again", container.name, reason)
