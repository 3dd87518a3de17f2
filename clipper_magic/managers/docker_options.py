"""What a cluster in Docker is started with, checked."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clipper_magic.exceptions import BackendError
from clipper_magic.managers.docker_labels import DockerCluster

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")

# A network without a way out still lets names be asked for, through the engine, with some engines and name servers.
# Names of containers are found all the same, and a model that tries another is told so in a second.
_NO_NAMES: Mapping[str, Any] = {"dns": ["127.0.0.1"], "dns_opt": ["timeout:1", "attempts:1"]}


@dataclass(frozen=True, slots=True)
class DockerOptions:
    """The arguments of `DockerContainerManager`, which describes each.

    Raises
    ------
    BackendError
        If a value cannot work.
    """

    cluster_name: str
    host: str
    query_port: int
    management_port: int
    replica_port: int
    redis_ip: str | None
    redis_port: int
    prometheus_port: int
    network: str
    redis_image: str
    prometheus_image: str
    with_metrics: bool
    allow_network: bool
    keep_state: bool
    memory_limit: str | None
    cpu_limit: float | None
    extra_container_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.network == "host":
            raise BackendError.of("docker-host-network")
        if self.redis_ip in LOOPBACK_NAMES:
            raise BackendError.of("redis-on-localhost", address=self.redis_ip)

    def publish_ip(self) -> str:
        """Return the interface to publish ports on: the loopback one unless the user names another."""
        if self.host in LOOPBACK_NAMES:
            return "127.0.0.1"
        try:
            return str(ipaddress.ip_address(self.host))
        except ValueError:
            return socket.gethostbyname(self.host)

    def replica_settings(self, cluster: DockerCluster, way_out: bool) -> dict[str, Any]:
        """Return what replicas get beside the other containers' settings, as the client takes it.

        Parameters
        ----------
        cluster : DockerCluster
            Its start, maybe another interpreter's, has set the limits of those who name none.
        way_out : bool
            Whether their network has a way out: the start has decided that, too.
        """
        settings: dict[str, Any] = {} if way_out else dict(_NO_NAMES)
        memory_limit, cpu_limit = self.memory_limit or cluster.memory_limit, self.cpu_limit or cluster.cpu_limit
        if memory_limit:
            settings |= {"mem_limit": memory_limit, "memswap_limit": memory_limit}
        if cpu_limit:
            settings["nano_cpus"] = int(cpu_limit * 1_000_000_000)
        return settings
