"""Clusters in Docker containers, as Clipper's documents show them.

Labels on the containers are all that a cluster keeps about itself: ``connect()`` from any interpreter finds it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

try:
    import docker
except ImportError as err:
    raise ImportError(
        "DockerContainerManager needs the package 'docker'. Fix: pip install 'clipper_magic[docker]'"
    ) from err

from clipper_magic.container_manager import (
    ClusterOptions,
    ContainerManager,
    ModelSpec,
    Replica,
    ReplicaStatus,
    Role,
    StopReport,
)
from clipper_magic.exceptions import (
    BackendError,
    NoClusterError,
    ProtocolMismatchError,
    UnconnectedException,
)
from clipper_magic.log import get_cluster_logger
from clipper_magic.managers import docker_metrics
from clipper_magic.managers.cluster_directory import ClusterDirectory
from clipper_magic.managers.docker_engine import connect_engine, engine_errors
from clipper_magic.managers.docker_images import DEFAULT_BASE, DockerImages
from clipper_magic.managers.docker_keeper import Keeper
from clipper_magic.managers.docker_labels import DockerCluster, cluster_label
from clipper_magic.managers.docker_lifecycle import Lifecycle
from clipper_magic.managers.docker_options import DockerOptions
from clipper_magic.managers.docker_replicas import Replicas
from serving_image import PROTOCOL_VERSION

CENTRALIZED_LOG = (
    "use_centralized_log starts no fluentd: get_clipper_logs() gathers the logs of all containers, and "
    "extra_container_kwargs={'log_config': ...} gives them a log driver of yours"
)


class DockerContainerManager(ContainerManager):
    """Runs a cluster in containers of a Docker engine.

    The engine is the one that ``DOCKER_HOST`` names, else the one on this machine. Containers outlive the kernel.

    Parameters
    ----------
    cluster_name : str
        Letters, digits, ``-``, ``_`` and ``.``; clusters of different names live side by side.
    docker_ip_address : str
        Where published ports are reached. Ports are published on the loopback interface only, unless this is an
        address of another one.
    use_centralized_log, fluentd_port
        Clipper's. There is no fluentd: a warning says that ``get_clipper_logs()`` has all logs in one place.
    clipper_query_port, clipper_management_port, prometheus_port : int
        Wishes: if taken, the next free port is used, and a log line says so.
    clipper_rpc_port : int
        Where replicas listen, in their containers.
    redis_ip : str, optional
        A Redis of yours that containers can reach; by default the cluster has its own, with a volume.
    redis_port : int
        Port of that Redis, or of the cluster's own inside the network.
    docker_network : str
        Network of the frontends; made if there is none of that name. Models are in another one, without a way out.
    extra_container_kwargs : mapping, optional
        More arguments for every container, as ``docker.containers.create`` takes them. They win over ours.
    base_image : str
        A local image, or one to pull, with this kernel's minor version of Python; by default the official slim one.
    redis_image, prometheus_image : str
        Other images for these two.
    with_metrics : bool
        Whether to run Prometheus.
    allow_network : bool
        Whether models may open connections to the outside.
    keep_state : bool
        Whether applications, models and links outlive ``stop_all()`` and are taken up by ``start_clipper()``.
    memory_limit : str, optional
        Of each replica, such as ``"512m"``. Like the next one, it holds for whoever connects later, too.
    cpu_limit : float, optional
        Processors that each replica may use, such as ``0.5``.
    ready_timeout_s : float
        How long a replica may take to load its model.
    on_progress : callable, optional
        Gets what is being built or pulled, line by line; by default the log does.

    Raises
    ------
    BackendError
        If an argument cannot work.
    """

    def __init__(
        self,
        cluster_name: str = "default-cluster",
        docker_ip_address: str = "localhost",
        use_centralized_log: bool = False,
        fluentd_port: int = 24224,
        clipper_query_port: int = 1337,
        clipper_management_port: int = 1338,
        clipper_rpc_port: int = 7000,
        redis_ip: str | None = None,
        redis_port: int = 6379,
        prometheus_port: int = 9090,
        docker_network: str = "clipper_network",
        extra_container_kwargs: Mapping[str, Any] | None = None,
        *,
        base_image: str = "",
        redis_image: str = "",
        prometheus_image: str = "",
        with_metrics: bool = True,
        allow_network: bool = False,
        keep_state: bool = False,
        memory_limit: str | None = None,
        cpu_limit: float | None = None,
        ready_timeout_s: float = 300.0,
        on_progress: Callable[[str], None] | None = None,
    ) -> None:
        self.extra_container_kwargs = dict(extra_container_kwargs or {})
        self._options = DockerOptions(
            cluster_name=cluster_name,
            host=docker_ip_address,
            query_port=clipper_query_port,
            management_port=clipper_management_port,
            replica_port=clipper_rpc_port,
            redis_ip=redis_ip,
            redis_port=redis_port,
            prometheus_port=prometheus_port,
            network=docker_network,
            redis_image=redis_image,
            prometheus_image=prometheus_image,
            with_metrics=with_metrics,
            allow_network=allow_network,
            keep_state=keep_state,
            memory_limit=memory_limit,
            cpu_limit=cpu_limit,
            extra_container_kwargs=self.extra_container_kwargs,
        )
        self.cluster_name = cluster_name
        self.docker_network = docker_network
        self.public_hostname = docker_ip_address
        self.common_labels = cluster_label(cluster_name)
        self.ready_timeout_s = ready_timeout_s
        self.logger = get_cluster_logger(cluster_name)
        self.centralize_log = use_centralized_log
        if use_centralized_log:
            self.logger.warning(CENTRALIZED_LOG)
        self._lock = ClusterDirectory.locate(cluster_name).lock
        self._base_image = base_image
        self._on_progress = on_progress or self.logger.info
        self._client: docker.DockerClient | None = None
        self._keeper: Keeper | None = None
        self._cluster: DockerCluster | None = None

    # --- the engine ---

    @property
    def docker_client(self) -> docker.DockerClient:
        """The client of the engine, connected when it is first needed."""
        if self._client is None:
            self._client = connect_engine()
            weakref.finalize(self, self._client.close)
        return self._client

    @property
    def _lifecycle(self) -> Lifecycle:
        return Lifecycle(self.docker_client, self._options, self.logger)

    @property
    def _images(self) -> DockerImages:
        return DockerImages(
            self.docker_client, self.cluster_name, self._base_image, self.common_labels, self._on_progress
        )

    def _use(self, cluster: DockerCluster) -> None:
        self._cluster = cluster
        lifecycle = self._lifecycle
        self._replicas = Replicas(
            self.docker_client,
            self.cluster_name,
            lifecycle.containers,
            lifecycle.networks.models,
            cluster.replica_port,
            self._options.replica_settings(cluster, lifecycle.networks.has_way_out()),
            self.logger,
        )
        if self._keeper is None:
            self._keeper = Keeper(self.docker_client, self.cluster_name, self.logger)
            self._keeper.start()
            weakref.finalize(self, self._keeper.close)

    def _connected(self) -> DockerCluster:
        if self._cluster is None:
            raise UnconnectedException
        return self._cluster

    # --- the cluster ---

    def start_clipper(self, options: ClusterOptions) -> None:
        """Start Redis, the frontends and Prometheus; see ``ContainerManager.start_clipper``."""
        if options.num_frontend_replicas != 1:
            raise BackendError.of("docker-one-frontend", count=options.num_frontend_replicas)
        with engine_errors():
            self._lifecycle.refuse_second()  # before minutes of building
            images = self._images.for_cluster(self._options)
            with self._lock():
                cluster = self._lifecycle.start(images, options)
            self._use(cluster)

    def connect(self) -> None:
        """Find the cluster, and start what has ended of it; see ``ContainerManager.connect``."""
        with engine_errors():
            cluster = self._lifecycle.find()
            if cluster is None:
                raise NoClusterError.of("no-cluster", cluster=self.cluster_name)
            if cluster.protocol != PROTOCOL_VERSION:
                raise ProtocolMismatchError.of(
                    "protocol-mismatch",
                    cluster=self.cluster_name,
                    theirs=cluster.protocol,
                    ours=PROTOCOL_VERSION,
                )
            self._lifecycle.revive(cluster)
            self._use(cluster)

    def stop_all(self, graceful: bool = True) -> StopReport:
        """Stop and remove containers, networks and volumes; see ``ContainerManager.stop_all``."""
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None
        with engine_errors(), self._lock():
            report = self._lifecycle.stop(graceful)
            self._images.remove_unfinished()
        self._cluster = None
        return report

    def keeps_state(self) -> bool:
        """Return whether the state is, or will be, kept; see ``ContainerManager.keeps_state``."""
        with engine_errors():
            return self._lifecycle.keeps_state()

    def allows_network(self) -> bool:
        """Return whether models may open connections to the outside: as the cluster was started."""
        with engine_errors():
            return self._lifecycle.networks.has_way_out()

    # --- images and replicas ---

    def build_image(
        self,
        name: str,
        version: str,
        model_data_path: str,
        base_image: str,
        container_registry: str | None = None,
        pkgs_to_install: Sequence[str] | None = None,
    ) -> str:
        """Build ``<cluster>-<name>:<version>``; works unconnected. See ``ContainerManager.build_image``."""
        self.logger.info("Building model Docker image with model data from %s", model_data_path)
        with engine_errors():
            images = self._images
            default = base_image == DEFAULT_BASE
            serving = images.serving_of(self._cluster) if default else images.serving(base_image)
            return images.model(
                name, version, Path(model_data_path), serving, container_registry, pkgs_to_install or []
            )

    def add_replicas(self, model: ModelSpec, count: int) -> list[Replica]:
        """Start containers of an image; see ``ContainerManager.add_replicas``."""
        cluster = self._connected()
        with engine_errors():
            self._images.require(model.image)
            frontend = self._lifecycle.name_of(Role.QUERY_FRONTEND)
            added = self._replicas.add(model, count, self.ready_timeout_s, frontend)
            self._refresh_metrics(cluster)
        return added

    def remove_replicas(self, replicas: Sequence[Replica]) -> None:
        """Stop and remove containers; see ``ContainerManager.remove_replicas``."""
        cluster = self._connected()
        with engine_errors():
            self._replicas.remove(replicas)
            self._refresh_metrics(cluster)

    def list_replicas(self) -> list[ReplicaStatus]:
        """Return the replicas with what they are seen to do."""
        self._connected()
        with engine_errors():
            return self._replicas.statuses()

    def _refresh_metrics(self, cluster: DockerCluster) -> None:
        docker_metrics.refresh(self.cluster_name, cluster, self.public_hostname, self._lifecycle.members())

    def list_images(self) -> list[str]:
        """Return the images of the cluster's models: the engine keeps them."""
        with engine_errors():
            return self._images.names()

    def remove_image(self, image: str) -> None:
        """Delete a model image that no container runs."""
        with engine_errors():
            self._images.remove(image)

    # --- logs ---

    def get_logs(self, logging_dir: str) -> list[str]:
        """Write ``image_<id>:container_<id>.log`` for each container that runs."""
        self._connected()
        target = Path(logging_dir)
        target.mkdir(parents=True, exist_ok=True)
        with engine_errors():
            return self._lifecycle.write_logs(target)

    def tail_log(self, source: Replica | Role, lines: int = 100) -> str:
        """Return the last log lines of a replica or of a role; empty if there is no such container."""
        self._connected()
        with engine_errors():
            if isinstance(source, Role):
                return self._lifecycle.tail(source, lines)
            container = self._replicas.find(source)
            return self._lifecycle.containers.tail(container, lines) if container else ""

    def replica_errors(self, replica: Replica) -> list[dict[str, Any]]:
        """Return what the model of a replica raised; see ``ContainerManager.replica_errors``."""
        self._connected()
        with engine_errors():
            return self._replicas.errors(replica)

    # --- addresses ---

    def get_admin_addr(self) -> str:
        """Return ``host:port`` of the management frontend."""
        return f"{self.public_hostname}:{self._connected().management_port}"

    def get_query_addr(self) -> str:
        """Return ``host:port`` of the query frontend."""
        return f"{self.public_hostname}:{self._connected().query_port}"

    def get_metric_addr(self) -> str:
        """Return ``host:port`` of Prometheus, or of the query frontend in a cluster without it."""
        cluster = self._connected()
        return f"{self.public_hostname}:{cluster.metric_port or cluster.query_port}"
