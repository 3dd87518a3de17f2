"""A cluster's life on the engine: found by its label, started, revived, removed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container

from clipper_magic import __registry__, __version__
from clipper_magic.container_manager import ClusterOptions, Role, StopReport
from clipper_magic.exceptions import ClusterExistsError, ClusterStartError
from clipper_magic.log import ClusterLogger
from clipper_magic.managers import docker_labels as labels
from clipper_magic.managers.docker_containers import Containers
from clipper_magic.managers.docker_images import ClusterImages
from clipper_magic.managers.docker_metrics import new_config_path, remove_config, render_config
from clipper_magic.managers.docker_networks import Networks
from clipper_magic.managers.docker_options import DockerOptions
from clipper_magic.managers.docker_services import START_TIMEOUT_S, ServiceOptions, Services
from clipper_magic.managers.docker_volumes import Volumes
from clipper_magic.managers.health import read_health
from clipper_magic.managers.waiting import wait_for


class Lifecycle:
    """Starts and stops one cluster.

    Parameters
    ----------
    client : docker.DockerClient
        The engine.
    options : DockerOptions
    logger : ClusterLogger
    """

    def __init__(self, client: docker.DockerClient, options: DockerOptions, logger: ClusterLogger) -> None:
        self._client = client
        self._options = options
        self._logger = logger
        self._labels = labels.cluster_label(options.cluster_name)
        self.containers = Containers(client, self._labels, options.extra_container_kwargs, options.publish_ip())
        self.networks = Networks(client, options.cluster_name, options.network, self._labels)
        self._volumes = Volumes(client, options.cluster_name, self._labels)

    def members(self) -> list[Container]:
        """Return all containers of the cluster, also those that do not run."""
        filters = labels.selector(self._options.cluster_name)
        return list(self._client.containers.list(all=True, filters=filters, ignore_removed=True))

    def find(self) -> labels.DockerCluster | None:
        """Return the cluster of this name, or None if there is none or only the remains of one."""
        return labels.read_cluster(member.labels for member in self.members())

    def refuse_second(self) -> None:
        """Raise ClusterExistsError if a cluster of this name exists."""
        if self.find():
            raise ClusterExistsError.of("cluster-exists", cluster=self._options.cluster_name)

    def start(self, images: ClusterImages, cluster: ClusterOptions) -> labels.DockerCluster:
        """Start the services; on any failure, and on Ctrl-C, nothing is left.

        Parameters
        ----------
        images : ClusterImages
        cluster : ClusterOptions

        Raises
        ------
        ClusterExistsError, ClusterStartError
        """
        self.refuse_second()
        kept = self._volumes.prepare(self._options.keep_state, self._logger)
        self._remove(self.members(), graceful=False, keep_state=kept)  # the remains of a start that was killed
        try:
            self._launch(self._service_options(cluster, images))
            return self._found()
        except BaseException:
            self._remove(self.members(), graceful=False, keep_state=kept)
            raise

    def _found(self) -> labels.DockerCluster:
        found = self.find()
        if found is None:
            fields = {"role": "frontends", "cluster": self._options.cluster_name, "log": ""}
            raise ClusterStartError.of("cluster-start-failed", reason="somebody removed them", **fields)
        return found

    def _service_options(self, cluster: ClusterOptions, images: ClusterImages) -> ServiceOptions:
        options = self._options
        return ServiceOptions(
            cluster_name=options.cluster_name,
            cluster_id=uuid4().hex,
            host=options.host,
            query_port=options.query_port,
            management_port=options.management_port,
            prometheus_port=options.prometheus_port,
            replica_port=options.replica_port,
            redis_ip=options.redis_ip,
            redis_port=options.redis_port,
            cache_size_bytes=cluster.cache_size_bytes,
            serving_image=images.serving,
            query_image=_frontend_image(cluster.query_frontend_image, images.serving),
            management_image=_frontend_image(cluster.mgmt_frontend_image, images.serving),
            redis_image=images.redis,
            prometheus_image=images.prometheus,
            metric_config=new_config_path() if images.prometheus else "",
            keep_state=options.keep_state,
            limit_labels=labels.limit_labels(options.memory_limit, options.cpu_limit),
        )

    def _launch(self, options: ServiceOptions) -> None:
        self.networks.ensure(self._options.allow_network)
        state = "" if options.redis_ip else self._volumes.make(self._volumes.state)
        metrics = self._volumes.make(self._volumes.metrics) if options.prometheus_image else ""
        services = Services(self._client, self.containers, self.networks, options, self._logger)

        def config_of(*frontends: str) -> str:
            self._logger.info("Metric Configuration Saved at %s", options.metric_config)
            return render_config(options.cluster_name, frontends, {})

        def abort() -> None:
            self._end(self.members())

        try:
            services.start(state, metrics, config_of, abort)
        except BaseException:
            remove_config(options.metric_config)
            raise

    def revive(self, cluster: labels.DockerCluster) -> None:
        """Start what has ended of a cluster, and wait until its frontends answer.

        Raises
        ------
        ClusterStartError
            If one does not, with its log.
        """
        ended = [member for member in self.members() if _should_run(member)]
        # Redis first: the others ask it.
        for member in sorted(ended, key=lambda member: labels.REDIS_PORT not in member.labels):
            with suppress(APIError):  # another kernel is removing it
                member.start()
        ports = {Role.QUERY_FRONTEND: cluster.query_port, Role.MANAGEMENT_FRONTEND: cluster.management_port}
        for role, port in ports.items():
            if not wait_for(lambda p=port: self._is_ours(p, cluster), START_TIMEOUT_S, 0.02):  # type: ignore[misc]
                fields = {"role": str(role), "cluster": self._options.cluster_name, "reason": "no answer in time"}
                raise ClusterStartError.of("cluster-start-failed", log=self.tail(role, 20), **fields)

    def _is_ours(self, port: int, cluster: labels.DockerCluster) -> bool:
        health = read_health(f"{self._options.host}:{port}")
        return health is not None and health.get("cluster_id") == cluster.cluster_id

    def tail(self, role: Role, lines: int) -> str:
        """Return the last log lines of the containers of a role."""
        return "\n".join(filter(None, (self.containers.tail(member, lines) for member in self._of(role))))

    def name_of(self, role: Role) -> str:
        """Return the name of a role's container; empty if it has none."""
        return next((str(member.name) for member in self._of(role)), "")

    def _of(self, role: Role) -> list[Container]:
        return [member for member in self.members() if labels.ROLE_LABELS[role] in member.labels]

    def write_logs(self, target: Path) -> list[str]:
        """Write the log of each container to ``image_<id>:container_<id>.log`` in ``target``; return the paths."""
        paths = []
        for member in self.members():
            path = target / f"image_{member.image.short_id}:container_{member.short_id}.log"
            with suppress(NotFound):
                path.write_bytes(member.logs())
                paths.append(str(path))
        return paths

    def keeps_state(self) -> bool:
        """Return whether the state of the cluster will be kept, or that of the last one is."""
        members = self.members()
        return self._keeps(members) if members else self._volumes.has_state()

    def _keeps(self, members: Sequence[Container]) -> bool:
        """Return whether the state outlives these containers; where none is left, what was kept stays."""
        labelled = any(member.labels.get(labels.KEEP_STATE) == "true" for member in members)
        return labelled or self._options.keep_state or not members

    def stop(self, graceful: bool) -> StopReport:
        """Stop and remove everything of the cluster, and nothing else."""
        members = self.members()
        kept = self._keeps(members)
        report = self._remove(members, graceful, keep_state=kept)
        if self._volumes.has_state():
            self._logger.info("Kept the state in volume %s; keep_state=True takes it up again", self._volumes.state)
        elif any(labels.REDIS_PORT in member.labels for member in members):
            self._logger.info("Forgot the state; keep_state=True at the start would have kept it")
        return report

    def _end(self, members: Sequence[Container], graceful: bool = False) -> StopReport:
        stopped, killed = Containers.remove(members, graceful)
        return StopReport(stopped=tuple(stopped), killed=tuple(killed))

    def _remove(self, members: Sequence[Container], graceful: bool, keep_state: bool) -> StopReport:
        try:
            report = self._end(members, graceful)
        except BaseException:  # a Ctrl-C, too late for the containers
            with suppress(APIError):  # a volume that nothing used any more would be a state that was kept
                self._remove_surroundings(members, keep_state)
            raise
        self._remove_surroundings(members, keep_state)
        return report

    def _remove_surroundings(self, members: Sequence[Container], keep_state: bool) -> None:
        self.networks.remove()
        self._volumes.remove(keep_state)
        for member in members:
            remove_config(member.labels.get(labels.METRIC_CONFIG, ""))


def _frontend_image(wish: str, serving: str) -> str:
    """Return the image of a frontend. Clipper's names of its own images, the defaults, mean the serving image here."""
    default = rf"{re.escape(__registry__)}/[\w-]+:{re.escape(__version__)}"
    return serving if not wish or re.fullmatch(default, wish) else wish


def _should_run(container: Container) -> bool:
    """Return whether a container has ended although it had been ready once; one that only loads is left alone."""
    policy = container.attrs["HostConfig"]["RestartPolicy"]["Name"]
    return container.attrs["State"]["Status"] in ("exited", "dead") and policy == "always"
