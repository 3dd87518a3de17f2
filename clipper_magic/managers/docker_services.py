"""The containers that every cluster has: Redis, the two frontends and Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container

from clipper_magic.container_manager import (
    CLIPPER_MGMT_FRONTEND_CONTAINER_LABEL,
    CLIPPER_QUERY_FRONTEND_CONTAINER_LABEL,
    Role,
)
from clipper_magic.exceptions import ClusterStartError
from clipper_magic.log import ClusterLogger
from clipper_magic.managers import docker_labels as labels
from clipper_magic.managers.docker_containers import ContainerPlan, Containers, exit_code, in_parallel
from clipper_magic.managers.docker_metrics import (
    CONFIG_DIR,
    CONFIG_NAME,
    MANAGEMENT_FRONTEND_PORT,
    QUERY_FRONTEND_PORT,
    is_ready,
    save_config,
)
from clipper_magic.managers.docker_networks import Networks
from clipper_magic.managers.health import read_health
from clipper_magic.managers.ports import find_free_port
from clipper_magic.managers.waiting import wait_for_start
from serving_image import PROTOCOL_VERSION

CONTROL_PORT = 1339
PROMETHEUS_PORT = 9090
START_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """How to run the services of one cluster.

    Parameters
    ----------
    cluster_name, cluster_id : str
        Name, and what distinguishes this start from others.
    host : str
        Where published ports are reached from here.
    query_port, management_port, prometheus_port : int
        Wishes: the next free port is taken, and said.
    replica_port : int
        Where replicas listen.
    redis_ip : str or None
        A Redis of the user's; None for one of the cluster's own.
    redis_port : int
        Of either.
    cache_size_bytes : int
        Of the query frontend.
    serving_image, query_image, management_image, redis_image, prometheus_image : str
        Local images; no Prometheus without the last.
    metric_config : str
        Where the copy of Prometheus' configuration is.
    keep_state : bool
        Whether the volume outlives the cluster.
    limit_labels : mapping of str to str
        The limits of replicas, for whoever connects.
    """

    cluster_name: str
    cluster_id: str
    host: str
    query_port: int
    management_port: int
    prometheus_port: int
    replica_port: int
    redis_ip: str | None
    redis_port: int
    cache_size_bytes: int
    serving_image: str
    query_image: str
    management_image: str
    redis_image: str
    prometheus_image: str
    metric_config: str
    keep_state: bool
    limit_labels: Mapping[str, str]


class Services:
    """Starts the services of one cluster.

    Parameters
    ----------
    client : docker.DockerClient
        The engine.
    containers : Containers
        Makes them.
    networks : Networks
        Where they are reached.
    options : ServiceOptions
    logger : ClusterLogger
    """

    def __init__(
        self,
        client: docker.DockerClient,
        containers: Containers,
        networks: Networks,
        options: ServiceOptions,
        logger: ClusterLogger,
    ) -> None:
        self._client = client
        self._containers = containers
        self._networks = networks
        self._options = options
        self._logger = logger
        self._query_name = containers.unused_name("query_frontend")

    def start(
        self,
        state_volume: str,
        metrics_volume: str,
        config_of: Callable[[str, str], str],
        abort: Callable[[], None],
    ) -> None:
        """Start everything; return when the frontends answer with our cluster id.

        Parameters
        ----------
        state_volume, metrics_volume : str
            Names of existing volumes.
        config_of : callable
            Gives Prometheus' configuration for the addresses of the two frontends.
        abort : callable
            Removes what has been started when one of them fails.

        Raises
        ------
        ClusterStartError
            With the log of what did not start.
        """
        redis = self._options.redis_ip or self._start_redis(state_volume)
        state = f"redis://{redis}:{self._options.redis_port}/0"
        if self._options.redis_ip:  # clusters may share it
            state += f"?namespace={quote(self._options.cluster_name)}"
        management_name = self._containers.unused_name("mgmt_frontend")
        work: list[Callable[[], None]] = [
            lambda: self._start_query_frontend(state),
            lambda: self._start_management_frontend(management_name, state),
        ]
        if self._options.prometheus_image:
            config = config_of(
                f"{self._query_name}:{QUERY_FRONTEND_PORT}", f"{management_name}:{MANAGEMENT_FRONTEND_PORT}"
            )
            work.append(lambda: self._start_prometheus(metrics_volume, config))
        in_parallel(lambda start: start(), work, abort)

    def _start_redis(self, volume: str) -> str:
        self._logger.info("Starting managed Redis instance in Docker")
        port = str(self._options.redis_port)
        # Every write is in the file before it is answered, so that a killed Redis has lost none.
        command = ("redis-server", "--port", port, "--dir", "/data", "--appendonly", "yes", "--save", "")
        plan = ContainerPlan(
            name=self._containers.unused_name("redis"),
            image=self._options.redis_image,
            command=(*command, "--protected-mode", "no"),
            labels={labels.REDIS_PORT: port, labels.KEEP_STATE: str(self._options.keep_state).lower()},
            networks=(self._networks.frontends,),
            volumes={volume: "/data"},
            user="redis",
        )
        container = self._containers.create(plan)
        container.start()
        self._await("redis", container, lambda: b"Ready to accept connections" in container.logs())
        return plan.name

    def _start_query_frontend(self, state: str) -> None:
        options = self._options
        plan = self._frontend_plan(
            Role.QUERY_FRONTEND, self._query_name, options.query_image, QUERY_FRONTEND_PORT, state
        )
        control = ("--control", f"0.0.0.0:{CONTROL_PORT}", "--cache-size", str(options.cache_size_bytes))
        own = {
            CLIPPER_QUERY_FRONTEND_CONTAINER_LABEL: "",
            labels.REPLICA_PORT: str(options.replica_port),
        }
        plan = replace(
            plan,
            command=(*plan.command, *control),
            labels={**plan.labels, **own},
            networks=(self._networks.frontends, self._networks.models),
        )
        self._start_published(plan, QUERY_FRONTEND_PORT, options.query_port, labels.QUERY_PORT, self._serves)

    def _start_management_frontend(self, name: str, state: str) -> None:
        options = self._options
        plan = self._frontend_plan(
            Role.MANAGEMENT_FRONTEND, name, options.management_image, MANAGEMENT_FRONTEND_PORT, state
        )
        plan = replace(
            plan,
            command=(*plan.command, "--frontend", f"{self._query_name}:{CONTROL_PORT}"),
            labels={**plan.labels, CLIPPER_MGMT_FRONTEND_CONTAINER_LABEL: ""},
        )
        self._start_published(
            plan, MANAGEMENT_FRONTEND_PORT, options.management_port, labels.MANAGEMENT_PORT, self._serves
        )

    def _frontend_plan(self, role: Role, name: str, image: str, port: int, state: str) -> ContainerPlan:
        options = self._options
        identity = ("--cluster", options.cluster_name, "--cluster-id", options.cluster_id)
        listen = ("--listen", f"0.0.0.0:{port}", "--state", state)
        return ContainerPlan(
            name=name,
            image=image,
            command=("python3", "-m", f"serving_image.{role}", *listen, *identity),
            labels={
                labels.CLUSTER_ID: options.cluster_id,
                labels.PROTOCOL: str(PROTOCOL_VERSION),
                labels.SERVING_IMAGE: options.serving_image,
                **options.limit_labels,
            },
            networks=(self._networks.frontends,),
            health_port=port,
        )

    def _start_prometheus(self, volume: str, config: str) -> None:
        settings = {
            "config.file": f"{CONFIG_DIR}/{CONFIG_NAME}",
            "storage.tsdb.path": f"{CONFIG_DIR}/data",
            "storage.tsdb.retention.time": "1d",
            "web.enable-lifecycle": "",
        }
        plan = ContainerPlan(
            name=self._containers.unused_name("metric_frontend"),
            image=self._options.prometheus_image,
            command=tuple(f"--{key}={value}" if value else f"--{key}" for key, value in settings.items()),
            labels={labels.METRIC_CONFIG: self._options.metric_config},
            networks=(self._networks.frontends, self._networks.models),
            volumes={volume: CONFIG_DIR},
        )
        self._start_published(
            plan,
            PROMETHEUS_PORT,
            self._options.prometheus_port,
            labels.METRIC_PORT,
            is_ready,
            prepare=lambda container: save_config(config, self._options.metric_config, container),
        )

    def _serves(self, address: str) -> bool:
        health = read_health(address)
        return health is not None and health.get("cluster_id") == self._options.cluster_id

    def _start_published(
        self,
        plan: ContainerPlan,
        inside: int,
        wish: int,
        label: str,
        ready: Callable[[str], bool],
        prepare: Callable[[Container], None] = lambda container: None,
    ) -> None:
        """Start a container on the first port from ``wish`` on that is free, and wait until it answers there."""
        port = find_free_port(wish)
        while True:
            chosen = replace(plan, ports={inside: port}, labels={**plan.labels, label: str(port)})
            container = self._containers.create(chosen)
            prepare(container)
            try:
                container.start()
                break
            except APIError as err:
                container.remove(force=True, v=True)
                if "already" not in str(err.explanation):  # "port is already allocated", "address already in use"
                    raise
            port = find_free_port(port + 1)  # somebody took it between our look and the start
        if port != wish:
            self._logger.info("Port %d is taken, using port %d instead", wish, port)
        self._await(plan.name.rpartition("-")[0], container, lambda: ready(f"{self._options.host}:{port}"))

    def _await(self, role: str, container: Container, ready: Callable[[], bool]) -> None:
        """Return when a service is ready; from then on the engine restarts it."""

        def settled() -> bool:
            return ready() or exit_code(container) is not None

        try:
            wait_for_start(settled, START_TIMEOUT_S, self._logger, role, every_s=0.02)
            code = exit_code(container)
            if code is not None or not ready():
                reason = "no answer in time" if code is None else f"it ended with exit code {code}"
                fields = {"role": role, "cluster": self._options.cluster_name, "reason": reason}
                raise ClusterStartError.of("cluster-start-failed", log=self._containers.tail(container), **fields)
            self._containers.keep_running(container)
        except NotFound as err:
            fields = {"role": role, "cluster": self._options.cluster_name, "reason": "somebody removed it"}
            raise ClusterStartError.of("cluster-start-failed", log="", **fields) from err
