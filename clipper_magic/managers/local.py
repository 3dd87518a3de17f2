"""Clusters on this machine, without Docker: the same serving modules, as processes under a supervisor."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

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
    ClusterExistsError,
    ClusterStartError,
    NoClusterError,
    ProtocolMismatchError,
    UnconnectedException,
)
from clipper_magic.log import get_cluster_logger
from clipper_magic.managers.cluster_directory import ClusterDirectory, ClusterRecord, Member, write_atomically
from clipper_magic.managers.health import read_health
from clipper_magic.managers.kept_state import KeptState
from clipper_magic.managers.local_images import LocalImages
from clipper_magic.managers.local_replicas import LocalReplicas, replica_name
from clipper_magic.managers.ports import choose_ports
from clipper_magic.managers.processes import ProcessGroup
from clipper_magic.managers.waiting import wait_for, wait_for_start
from serving_image import PROTOCOL_VERSION

HOST = "127.0.0.1"
FRONTEND_TIMEOUT_S = 30.0
ERROR_LOG_LINES = 20


class LocalContainerManager(ContainerManager):
    """Runs a cluster as processes of this machine.

    The processes outlive the kernel; ``connect()`` from another interpreter finds them by the cluster's name.

    Parameters
    ----------
    cluster_name : str
        Letters, digits, ``-``, ``_`` and ``.``.
    clipper_query_port, clipper_management_port : int
        Wishes: if taken, the next free port is used, and a log line says so.
    ready_timeout_s : float
        How long a replica may take to load its model.
    keep_state : bool
        Whether applications, models and links outlive ``stop_all()`` and are taken up by ``start_clipper()``.
    """

    def __init__(
        self,
        cluster_name: str = "default-cluster",
        clipper_query_port: int = 1337,
        clipper_management_port: int = 1338,
        ready_timeout_s: float = 300.0,
        *,
        keep_state: bool = False,
    ) -> None:
        self.cluster_name = cluster_name
        self.ready_timeout_s = ready_timeout_s
        self.logger = get_cluster_logger(cluster_name)
        self._wishes = (clipper_query_port, clipper_management_port)
        self._keep_state = keep_state
        self._record: ClusterRecord | None = None
        self._use(ClusterDirectory.locate(cluster_name))

    def _use(self, directory: ClusterDirectory) -> None:
        self._directory = directory
        self._kept = KeptState.locate(self.cluster_name)
        self._processes = ProcessGroup(directory)
        self._images = LocalImages(directory.images, self.cluster_name)
        self._replicas = LocalReplicas(directory, self._processes, self.logger)

    # --- the cluster ---

    def start_clipper(self, options: ClusterOptions) -> None:
        """Start the frontends under a supervisor; see ``ContainerManager.start_clipper``."""
        self._use(ClusterDirectory.locate(self.cluster_name))
        with self._directory.lock():
            if self._runs():
                raise ClusterExistsError.of("cluster-exists", cluster=self.cluster_name)
            self._clean()
            self._kept.prepare(self._keep_state, self.logger)
            try:
                self._launch(options)
            except BaseException:
                self._clean()
                raise

    def _launch(self, options: ClusterOptions) -> None:
        query_port, management_port = choose_ports(self._wishes, self.logger)
        identity = (self.cluster_name, uuid4().hex)
        record = ClusterRecord(*identity, query_port, management_port, PROTOCOL_VERSION, self._keep_state)
        self._directory.create()
        if self._keep_state and self._kept.exists():
            self._kept.take_up(self._directory)
        write_atomically(self._directory.record_path, record)
        for member in self._frontends(record, options):
            self._directory.claim(member)
        self._processes.launch()
        self._await_frontends(record)
        self._record = record

    def _frontends(self, record: ClusterRecord, options: ClusterOptions) -> list[Member]:
        common = ["--state", self._directory.state_url, "--cluster", record.cluster]
        common += ["--cluster-id", record.cluster_id]
        members = []
        for index in range(options.num_frontend_replicas):
            name = f"query-{index}"
            control = self._directory.new_socket(name)
            listen = ["--listen", f"{HOST}:{record.query_port}", "--control", control]
            listen += ["--cache-size", str(options.cache_size_bytes)]
            if options.num_frontend_replicas > 1:
                listen.append("--reuse-port")
            members.append(self._member(name, Role.QUERY_FRONTEND, control, [*listen, *common]))
        address = f"{HOST}:{record.management_port}"
        frontends = [member.address for member in members]
        arguments = ["--listen", address, *common, "--frontend", *frontends]
        return [*members, self._member("management", Role.MANAGEMENT_FRONTEND, address, arguments)]

    def _member(self, name: str, role: Role, address: str, arguments: Sequence[str]) -> Member:
        return Member(
            name=name,
            role=role,
            argv=(sys.executable, "-P", "-m", f"serving_image.{role}", *arguments),
            working_dir=str(self._directory.path),
            address=address,
        )

    def _await_frontends(self, record: ClusterRecord) -> None:
        """Return when every frontend answers with our cluster id; one that ends meanwhile is an error."""
        deadline_s = time.monotonic() + FRONTEND_TIMEOUT_S
        for member in self._members(Role.QUERY_FRONTEND, Role.MANAGEMENT_FRONTEND):
            ready = wait_for_start(
                lambda m=member: self._answers(m, record) or self._directory.last_exit(m.name),  # type: ignore[misc]
                deadline_s - time.monotonic(),
                self.logger,
                f"{member.role} at {member.address}",
            )
            if ready is not True:
                reason = f"it ended with exit code {ready.exit_code}" if ready else "no answer in time"
                log = self._processes.tail(member.name, ERROR_LOG_LINES) or self._processes.tail(
                    "supervisor", ERROR_LOG_LINES
                )
                fields = {"role": str(member.role), "cluster": self.cluster_name, "reason": reason, "log": log}
                raise ClusterStartError.of("cluster-start-failed", **fields)

    @staticmethod
    def _answers(member: Member, record: ClusterRecord) -> bool:
        health = read_health(member.address)
        return health is not None and health.get("cluster_id") == record.cluster_id

    def _runs(self) -> bool:
        """Return whether the cluster lives: asked, never believed from a file."""
        record = self._directory.read_record()
        if record is None:
            return False
        return self._processes.supervised or any(
            self._answers(member, record) for member in self._members(Role.QUERY_FRONTEND, Role.MANAGEMENT_FRONTEND)
        )

    def _clean(self) -> None:
        """Remove what a crash, or a start that failed, left."""
        if self._directory.path.exists():
            self._processes.kill()
            self._remove_directory()

    def _remove_directory(self) -> None:
        """Delete the directory of a cluster that has ended; its state is kept if it was started so."""
        record = self._directory.read_record()
        if record and record.keep_state:
            self._kept.save(self._directory)
        self._directory.remove()

    def connect(self) -> None:
        """Find the cluster; give it a new supervisor if it has lost its own."""
        self._use(ClusterDirectory.locate(self.cluster_name))
        record = self._directory.read_record()
        if record is None or not self._runs():
            raise NoClusterError.of("no-cluster", cluster=self.cluster_name)
        if record.protocol != PROTOCOL_VERSION:
            raise ProtocolMismatchError.of(
                "protocol-mismatch", cluster=self.cluster_name, theirs=record.protocol, ours=PROTOCOL_VERSION
            )
        self._record = record
        self._processes.ensure_supervised()
        self._await_frontends_again(record)

    def _await_frontends_again(self, record: ClusterRecord) -> None:
        """Wait for frontends that may be restarting; how they ended before does not matter."""
        for member in self._members(Role.QUERY_FRONTEND, Role.MANAGEMENT_FRONTEND):
            if not wait_for(lambda m=member: self._answers(m, record), FRONTEND_TIMEOUT_S):  # type: ignore[misc]
                self._await_frontends(record)

    def stop_all(self, graceful: bool = True) -> StopReport:
        """Stop every process of the cluster and delete its directory; see ``ContainerManager.stop_all``."""
        self._use(ClusterDirectory.locate(self.cluster_name))
        with self._directory.lock():
            stopped, killed = self._processes.stop(graceful)
            self._remove_directory()
        self._record = None
        if self._kept.exists():
            self.logger.info("Kept the state in %s; keep_state=True takes it up again", self._kept.path)
        return StopReport(stopped=tuple(stopped), killed=tuple(killed))

    def keeps_state(self) -> bool:
        """Return whether the state is, or will be, kept; see ``ContainerManager.keeps_state``."""
        record = self._directory.read_record()
        return record.keep_state if record else self._kept.exists()

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
        """Copy the model directory into the cluster; the base image is this kernel's Python."""
        self._connected()
        self.logger.info("Building model image with model data from %s", model_data_path)
        if pkgs_to_install:
            self.logger.info("Installing packages for the model: %s", " ".join(pkgs_to_install))
        self._images.build(name, version, model_data_path, pkgs_to_install or [])
        tag = self._images.tag(name, version, container_registry)
        self.logger.info("Successfully built %s", tag)
        return tag

    def add_replicas(self, model: ModelSpec, count: int) -> list[Replica]:
        """Start replicas and wait until each is ready; see ``ContainerManager.add_replicas``."""
        self._connected()
        return self._replicas.add(model, self._images.find(model.image), count, self.ready_timeout_s)

    def remove_replicas(self, replicas: Sequence[Replica]) -> None:
        """Stop replicas, all at once; return when they have ended."""
        self._connected()
        self._replicas.remove(replicas)

    def list_replicas(self) -> list[ReplicaStatus]:
        """Return the replicas with what they are seen to do."""
        self._connected()
        return self._replicas.statuses()

    # --- logs ---

    def get_logs(self, logging_dir: str) -> list[str]:
        """Copy the logs, one file a process."""
        self._connected()
        target = Path(logging_dir)
        target.mkdir(parents=True, exist_ok=True)
        sources = sorted(self._directory.logs.glob("*.log"))
        return [str(shutil.copy(source, target / source.name)) for source in sources]

    def tail_log(self, source: Replica | Role, lines: int = 100) -> str:
        """Return the last log lines; those of a role's processes one after the other."""
        self._connected()
        if isinstance(source, Role):
            names = [member.name for member in self._members(source)]
        else:
            names = [replica_name(source.model_name, source.model_version, source.replica_id)]
        return "\n".join(filter(None, (self._processes.tail(name, lines) for name in names)))

    def remove_image(self, image: str) -> None:
        """Delete the builds of an image that no replica runs from."""
        self._images.remove(image, in_use=self._replicas.model_dirs())

    # --- addresses ---

    def get_admin_addr(self) -> str:
        """Return ``host:port`` of the management frontend."""
        return f"{HOST}:{self._connected().management_port}"

    def get_query_addr(self) -> str:
        """Return ``host:port`` of the query frontends."""
        return f"{HOST}:{self._connected().query_port}"

    def get_metric_addr(self) -> str:
        """Return ``host:port`` whose ``/metrics`` has the metrics: the query frontend itself."""
        return self.get_query_addr()

    def _connected(self) -> ClusterRecord:
        if self._record is None:
            raise UnconnectedException
        return self._record

    def _members(self, *roles: Role) -> list[Member]:
        return [member for member in self._directory.members().values() if member.role in roles]
