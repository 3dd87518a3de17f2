"""Containers: made locked down, watched until they are ready, removed together."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from docker.types import LogConfig

from clipper_magic.managers.waiting import wait_for

T = TypeVar("T")
U = TypeVar("U")

LOG_LINES = 20
PIDS_LIMIT = 512
STOP_TIMEOUT_S = 10
HEALTH_INTERVAL_S = 10
# A replica answers nothing while its model works on a batch: only after a minute or two is it taken for frozen.
HEALTH_RETRIES = 6
_SECOND_NS = 1_000_000_000
# One call to the engine must end before the client's own timeout does.
_PROBE_SLICE_S = 20.0
_PARALLEL = 16


@dataclass(frozen=True, slots=True)
class ContainerPlan:
    """What one container is.

    Parameters
    ----------
    name, image : str
        Of the container; of what it runs.
    command : tuple of str
        Arguments, or the whole command if the image has no entry point.
    labels : mapping of str to str
        Beside the cluster's own.
    networks : tuple of str
        Those it is in; the first gives it its way out, if it has one.
    environment : mapping of str to str
    ports : mapping of int to int
        Port of this machine by port inside.
    volumes : mapping of str to str
        Directory inside by name of the volume.
    user : str
        Who runs it; empty for the image's own.
    health_port : int
        Where the role answers ``/health``, inside; 0 if it is not one of our roles.
    health_grace_s : float
        How long it may need before failing health checks count.
    settings : mapping
        More, as the client takes it: ``mem_limit``, ``dns`` and the like.
    """

    name: str
    image: str
    command: tuple[str, ...]
    labels: Mapping[str, str]
    networks: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[int, int] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    health_port: int = 0
    health_grace_s: float = 30.0
    settings: Mapping[str, Any] = field(default_factory=dict)


class ContainerEnded(Exception):
    """A container that ended before it was ready.

    Attributes
    ----------
    exit_code : int
    log : str
        Its last lines.
    """

    def __init__(self, exit_code: int, log: str) -> None:
        super().__init__(f"exit code {exit_code}")
        self.exit_code = exit_code
        self.log = log


class Containers:
    """Makes, watches and removes the containers of one cluster.

    Parameters
    ----------
    client : docker.DockerClient
        The engine.
    labels : mapping of str to str
        Labels of every container.
    extra : mapping
        The user's ``extra_container_kwargs``; they win over what is set here.
    publish_ip : str
        Address that published ports listen on.
    """

    def __init__(
        self,
        client: docker.DockerClient,
        labels: Mapping[str, str],
        extra: Mapping[str, Any],
        publish_ip: str,
    ) -> None:
        self._client = client
        self._labels = labels
        self._extra = dict(extra)
        self._publish_ip = publish_ip

    def unused_name(self, prefix: str) -> str:
        """Return ``<prefix>-N``, with an N below 100000 that no container has."""
        while True:
            name = f"{prefix}-{secrets.randbelow(100_000)}"
            if not self._client.containers.list(all=True, ignore_removed=True, filters={"name": f"^/{name}$"}):
                return name

    def create(self, plan: ContainerPlan) -> Container:
        """Make a container and put it into its networks; it does not run yet and will not restart by itself."""
        settings: dict[str, Any] = {
            "name": plan.name,
            "labels": {**self._labels, **plan.labels, **self._extra.get("labels", {})},
            "environment": {**plan.environment, **self._extra.get("environment", {})},
            "network": plan.networks[0],
            "ports": {f"{inside}/tcp": (self._publish_ip, port) for inside, port in plan.ports.items()},
            "volumes": {name: {"bind": path, "mode": "rw"} for name, path in plan.volumes.items()},
            **_locked_down(),
            **plan.settings,
        }
        if plan.user:
            settings["user"] = plan.user
        if plan.health_port:
            settings["healthcheck"] = _health_check(plan)
        merged = ("labels", "environment", "volumes")
        if "volumes" in self._extra and isinstance(self._extra["volumes"], Mapping):
            settings["volumes"] = {**self._extra["volumes"], **settings["volumes"]}
        settings |= {key: value for key, value in self._extra.items() if key not in merged}
        container = self._client.containers.create(plan.image, list(plan.command), **settings)
        try:
            for network in plan.networks[1:]:
                self._client.networks.get(network).connect(container)
        except BaseException:
            container.remove(force=True, v=True)
            raise
        return container

    def await_ready(self, container: Container, port: int, timeout_s: float) -> dict[str, Any]:
        """Return what the role in a container answers at ``/health``, as soon as it does.

        It is asked from inside the container: a replica publishes no port, and the engine may be elsewhere.

        Raises
        ------
        ContainerEnded
            If the container ends.
        TimeoutError
            If it does not answer in time.
        docker.errors.NotFound
            If somebody removes it.
        """
        deadline_s = time.monotonic() + timeout_s
        while (left_s := deadline_s - time.monotonic()) > 0:
            wait_s = f"{min(left_s, _PROBE_SLICE_S):.2f}"
            try:
                code, output = container.exec_run([*_probe(port), "--wait", wait_s])
            except NotFound:
                raise
            except APIError:  # it does not run any more
                code, output = None, b""
            if code == 0:
                return dict(json.loads(output))
            # Exit code 1 is the probe's own "no answer yet"; otherwise the container is ending right now.
            ended = wait_for(lambda: exit_code(container), 0.0 if code == 1 else 2.0)
            if ended is not None or code not in (1, None):
                raise ContainerEnded(ended if ended is not None else int(code or -1), self.tail(container))
        raise TimeoutError

    @staticmethod
    def read_json(container: Container, port: int, path: str) -> dict[str, Any] | None:
        """Return the JSON object that the role in a container answers at ``path``, None if it does not; asked once."""
        try:
            code, output = container.exec_run([*_probe(port), "--path", path])
        except APIError:  # it does not run
            return None
        return dict(json.loads(output)) if code == 0 else None

    def keep_running(self, container: Container) -> None:
        """Have the engine restart a container whenever it crashes, and after a restart of the machine or its own."""
        # Not "unless-stopped": to an engine that was killed, what outlived it and had to be ended was stopped.
        container.update(restart_policy={"Name": "always"})

    @staticmethod
    def tail(container: Container, lines: int = LOG_LINES) -> str:
        """Return the last log lines of a container."""
        text: str = container.logs(tail=lines).decode(errors="replace")
        container.reload()
        if container.attrs["State"].get("OOMKilled"):
            text += "Killed: the container used more memory than its limit.\n"
        return text.rstrip("\n")

    @staticmethod
    def remove(containers: Sequence[Container], graceful: bool = True) -> tuple[list[str], list[str]]:
        """Stop and remove containers, all at once; one that is gone already is no error.

        Parameters
        ----------
        containers : sequence of Container
        graceful : bool
            Let them finish what they do (at most 10 s), else end them at once.

        Returns
        -------
        stopped, killed : lists of str
            Names of those that ended by themselves, and of those that did not.
        """
        clean = in_parallel(lambda container: _remove_one(container, graceful), containers)
        stopped = [container.name for container, ended in zip(containers, clean, strict=True) if ended]
        return stopped, [container.name for container in containers if container.name not in stopped]


def in_parallel(work: Callable[[T], U], items: Iterable[T], abort: Callable[[], None] = lambda: None) -> list[U]:
    """Return what ``work`` returns for each item, all worked on at the same time.

    Parameters
    ----------
    work : callable
    items : iterable
    abort : callable
        Called when one fails, or on Ctrl-C, before the others are waited for: it ends what they wait for.
    """
    with ThreadPoolExecutor(max_workers=_PARALLEL, thread_name_prefix="docker") as pool:
        try:
            return list(pool.map(work, items))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            abort()
            raise


def exit_code(container: Container) -> int | None:
    """Return the exit code of a container that has ended, or None if it runs."""
    container.reload()
    state = container.attrs["State"]
    return int(state["ExitCode"]) if state["Status"] in ("exited", "dead") else None


def _remove_one(container: Container, graceful: bool) -> bool:
    """Return whether the container ended by itself."""
    ended_well = False
    try:
        if graceful:
            container.stop(timeout=STOP_TIMEOUT_S)
            ended_well = exit_code(container) != 128 + 9
        container.remove(force=True, v=True)
    except NotFound:
        return True
    except APIError as err:
        if err.status_code != 409:  # somebody else is removing it at this moment
            raise
    return ended_well


def _locked_down() -> dict[str, Any]:
    """Return what keeps a container from doing anything but its work."""
    return {
        "detach": True,
        "init": True,
        "read_only": True,
        "tmpfs": {"/tmp": "rw,nosuid,nodev,size=256m"},
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "pids_limit": PIDS_LIMIT,
        "log_config": LogConfig(type=LogConfig.types.JSON, config={"max-size": "10m", "max-file": "3"}),
    }


def _probe(port: int) -> list[str]:
    return ["python3", "-S", "-m", "serving_image.probe", str(port)]


def _health_check(plan: ContainerPlan) -> dict[str, Any]:
    return {
        "test": ["CMD", *_probe(plan.health_port)],
        "interval": HEALTH_INTERVAL_S * _SECOND_NS,
        "timeout": HEALTH_INTERVAL_S * _SECOND_NS,
        "retries": HEALTH_RETRIES,
        "start_period": int(plan.health_grace_s * _SECOND_NS),
    }
