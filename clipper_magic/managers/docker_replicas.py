"""Replicas as containers: started together, taken as ready when each answers, removed together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import docker
from docker.errors import NotFound
from docker.models.containers import Container

from clipper_magic.container_manager import ModelSpec, Replica, ReplicaState, ReplicaStatus
from clipper_magic.exceptions import ReplicaStartError
from clipper_magic.log import ClusterLogger
from clipper_magic.managers import docker_labels as labels
from clipper_magic.managers.docker_containers import ContainerEnded, ContainerPlan, Containers, in_parallel

_PROBE_TIMEOUT_S = 1.0


class Replicas:
    """The replicas of one cluster.

    Parameters
    ----------
    client : docker.DockerClient
        The engine.
    cluster_name : str
    containers : Containers
        Makes them.
    network : str
        The models' network.
    port : int
        Where each listens, in its own container.
    settings : mapping
        More for each, as the client takes it: memory, processors, name servers.
    logger : ClusterLogger
    """

    def __init__(
        self,
        client: docker.DockerClient,
        cluster_name: str,
        containers: Containers,
        network: str,
        port: int,
        settings: Mapping[str, Any],
        logger: ClusterLogger,
    ) -> None:
        self._client = client
        self._cluster_name = cluster_name
        self._containers = containers
        self._network = network
        self._port = port
        self._settings = settings
        self._logger = logger
        # Which start of which container was seen to be ready: the engine itself looks only every ten seconds.
        self._seen_ready: set[tuple[str, str]] = set()

    def add(self, model: ModelSpec, count: int, timeout_s: float, query_frontend: str) -> list[Replica]:
        """Start replicas; return when every one answers.

        Parameters
        ----------
        model : ModelSpec
        count : int
        timeout_s : float
            How long a replica may take to load its model.
        query_frontend : str
            Name of the query frontend's container: custom images may want to know it.

        Raises
        ------
        ReplicaStartError
            If one is not ready; all that were started are removed.
        """
        first = 1 + max((replica.replica_id for replica in self._of(model)), default=-1)
        started: list[Container] = []

        def run(replica_id: int) -> Replica:
            replica, plan = self._plan(model, replica_id, timeout_s, query_frontend)
            container = self._containers.create(plan)
            started.append(container)
            container.start()
            self._await(container, replica, timeout_s)
            return replica

        def abort() -> None:
            self._logger.info("Removing the replicas that were started")
            Containers.remove(list(started), graceful=False)

        try:
            return in_parallel(run, range(first, first + count), abort)
        except BaseException:
            Containers.remove(list(started), graceful=False)  # one may have been made while the others were removed
            raise

    def _plan(
        self, model: ModelSpec, replica_id: int, timeout_s: float, query_frontend: str
    ) -> tuple[Replica, ContainerPlan]:
        name = self._containers.unused_name(f"{model.name}_{model.version}")
        replica = Replica(model.name, model.version, replica_id, f"{name}:{self._port}")
        command = ("python3", "-m", "serving_image.model_replica", "--listen", f"0.0.0.0:{self._port}")
        return replica, ContainerPlan(
            name=name,
            image=model.image,
            command=command,
            labels=labels.replica_labels(replica),
            networks=(self._network,),
            environment={
                "CLIPPER_MODEL_NAME": model.name,
                "CLIPPER_MODEL_VERSION": model.version,
                "CLIPPER_INPUT_TYPE": model.input_type,
                "CLIPPER_MODEL_PATH": "/model",
                "CLIPPER_IP": query_frontend,
            },
            health_port=self._port,
            health_grace_s=timeout_s,
            settings=self._settings,
        )

    def _await(self, container: Container, replica: Replica, timeout_s: float) -> None:
        who = {
            "replica_id": replica.replica_id,
            "model": replica.model_name,
            "version": replica.model_version,
        }
        try:
            self._containers.await_ready(container, self._port, timeout_s)
            # Only now: while it loads, the engine must not restart what has failed, and its log must not repeat.
            self._containers.keep_running(container)
            container.reload()
            self._seen_ready.add((str(container.id), str(container.attrs["State"]["StartedAt"])))
        except ContainerEnded as err:
            raise ReplicaStartError.of("replica-died", exit_code=err.exit_code, log=err.log, **who) from err
        except TimeoutError as err:
            log = self._containers.tail(container)
            raise ReplicaStartError.of("replica-timeout", timeout_s=timeout_s, log=log, **who) from err
        except NotFound as err:
            raise ReplicaStartError.of("replica-removed", **who) from err

    def remove(self, replicas: Sequence[Replica]) -> None:
        """Stop and remove replicas, all at once."""
        names = {replica.address.rpartition(":")[0] for replica in replicas}
        Containers.remove([container for container in self.containers() if container.name in names])

    def find(self, replica: Replica) -> Container | None:
        """Return the container of a replica."""
        name = replica.address.rpartition(":")[0]
        return next((container for container in self.containers() if container.name == name), None)

    def errors(self, replica: Replica) -> list[dict[str, Any]]:
        """Return what the model of a replica raised, asked inside its container: it publishes no port."""
        container = self.find(replica)
        answer = container and self._containers.read_json(container, self._port, "/errors")
        return list((answer or {}).get("errors", ()))

    def containers(self) -> list[Container]:
        """Return the containers of all replicas of the cluster, dead ones too."""
        filters = labels.selector(self._cluster_name, labels.REPLICA_ID)
        found = self._client.containers.list(all=True, filters=filters, ignore_removed=True)
        return sorted(found, key=lambda container: int(container.labels[labels.REPLICA_ID]))

    def statuses(self) -> list[ReplicaStatus]:
        """Return what runs, and what each was seen to do."""
        found = self.containers()
        states = in_parallel(self._state, found)
        return [ReplicaStatus(self._replica(container), state) for container, state in zip(found, states, strict=True)]

    def _of(self, model: ModelSpec) -> list[Replica]:
        replicas = [self._replica(container) for container in self.containers()]
        wanted = (model.name, model.version)
        return [replica for replica in replicas if (replica.model_name, replica.model_version) == wanted]

    def _replica(self, container: Container) -> Replica:
        return labels.read_replica(container.name, container.labels, self._port)

    def _state(self, container: Container) -> ReplicaState:
        state = container.attrs["State"]
        if state["Status"] == "restarting":
            return ReplicaState.STARTING
        if state["Status"] != "running":
            return ReplicaState.DEAD
        health = state.get("Health", {}).get("Status")
        if health == "healthy":
            return ReplicaState.READY
        if health == "unhealthy":
            return ReplicaState.DEAD
        # The engine has not looked since the last start: look ourselves, once.
        start = (str(container.id), str(state["StartedAt"]))
        if start not in self._seen_ready:
            try:
                self._containers.await_ready(container, self._port, _PROBE_TIMEOUT_S)
            except (ContainerEnded, TimeoutError, NotFound):
                return ReplicaState.STARTING
            self._seen_ready.add(start)
        return ReplicaState.READY
