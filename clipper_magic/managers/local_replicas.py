"""Replicas of the local backend: one process each, listening on a unix socket."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from clipper_magic.container_manager import ModelSpec, Replica, ReplicaState, ReplicaStatus, Role
from clipper_magic.exceptions import ReplicaStartError
from clipper_magic.log import ClusterLogger
from clipper_magic.managers.cluster_directory import ClusterDirectory, Exit, Member
from clipper_magic.managers.health import is_listening, read_health
from clipper_magic.managers.processes import ProcessGroup
from clipper_magic.managers.waiting import wait_for

ERROR_LOG_LINES = 20


class LocalReplicas:
    """The replicas of one local cluster.

    Parameters
    ----------
    directory : ClusterDirectory
    processes : ProcessGroup
        Runs what the directory lists.
    logger : ClusterLogger
    """

    def __init__(self, directory: ClusterDirectory, processes: ProcessGroup, logger: ClusterLogger) -> None:
        self._directory = directory
        self._processes = processes
        self._logger = logger

    def add(self, model: ModelSpec, model_dir: Path, count: int, timeout_s: float) -> list[Replica]:
        """Start replicas; return when every one is ready, or remove them all and raise ``ReplicaStartError``."""
        added: list[Member] = []
        try:
            for _ in range(count):
                added.append(self._claim(model, model_dir))
            self._processes.follow()
            self._await(added, timeout_s)
        except BaseException:
            self._logger.info("Removing the replicas that were started")
            self._drop(added)
            raise
        return [_replica(member) for member in added]

    def remove(self, replicas: Sequence[Replica]) -> None:
        """Stop replicas, all at once; return when they have ended."""
        addresses = {replica.address for replica in replicas}
        self._drop([member for member in self._members() if member.address in addresses])

    def statuses(self) -> list[ReplicaStatus]:
        """Return the replicas with what they are seen to do."""
        return [ReplicaStatus(_replica(member), self._state(member)) for member in self._members()]

    def model_dirs(self) -> set[Path]:
        """Return the model directories that replicas run from."""
        return {Path(member.argv[member.argv.index("--model-dir") + 1]) for member in self._members()}

    def _members(self) -> list[Member]:
        return [member for member in self._directory.members().values() if member.role is Role.MODEL_REPLICA]

    def _claim(self, model: ModelSpec, model_dir: Path) -> Member:
        """List a new replica, under the next id: ids only grow while the model version runs."""
        of_model = [m for m in self._members() if (m.model_name, m.model_version) == (model.name, model.version)]
        replica_id = max((member.replica_id for member in of_model), default=-1) + 1
        while not self._directory.claim(member := self._member(model, model_dir, replica_id)):
            replica_id += 1  # another kernel was quicker
        # An earlier replica of this name left its log; an error must quote this one's.
        self._directory.log_path(member.name).unlink(missing_ok=True)
        return member

    def _member(self, model: ModelSpec, model_dir: Path, replica_id: int) -> Member:
        name = replica_name(model.name, model.version, replica_id)
        address = self._directory.new_socket(name)
        arguments = ["--listen", address, "--model-dir", str(model_dir), "--name", model.name]
        arguments += ["--version", model.version, "--input-type", model.input_type]
        return Member(
            name=name,
            role=Role.MODEL_REPLICA,
            argv=(sys.executable, "-P", "-m", "serving_image.model_replica", *arguments),
            working_dir=_current_directory(),
            address=address,
            model_name=model.name,
            model_version=model.version,
            replica_id=replica_id,
        )

    def _await(self, added: Sequence[Member], timeout_s: float) -> None:
        """Return when all answer; one that ends is an error at once, not when time is up."""
        deadline_s = time.monotonic() + timeout_s
        waiting = list(added)

        def settled() -> Member | bool:
            waiting[:] = [member for member in waiting if read_health(member.address) is None]
            lost = (member for member in waiting if self._is_lost(member))
            return next(lost, None) or not waiting

        outcome = wait_for(settled, deadline_s - time.monotonic())
        if outcome is True:
            return
        failed = outcome or waiting[0]
        raise self._failure(failed, self._directory.last_exit(failed.name), timeout_s)

    def _is_lost(self, member: Member) -> bool:
        return self._directory.last_exit(member.name) is not None or not self._directory.lists(member.name)

    def _failure(self, member: Member, ended: Exit | None, timeout_s: float) -> ReplicaStartError:
        fields: dict[str, object] = {"replica_id": member.replica_id}
        fields |= {"model": member.model_name, "version": member.model_version}
        log = self._processes.tail(member.name, ERROR_LOG_LINES)
        if ended:
            return ReplicaStartError.of("replica-died", exit_code=ended.exit_code, log=log, **fields)
        if not self._directory.lists(member.name):
            return ReplicaStartError.of("replica-removed", **fields)
        return ReplicaStartError.of("replica-timeout", timeout_s=timeout_s, log=log, **fields)

    def _drop(self, members: Sequence[Member]) -> None:
        self._directory.drop([member.name for member in members])
        self._processes.follow()
        for member in members:
            self._directory.exit_path(member.name).unlink(missing_ok=True)
            Path(member.address.removeprefix("unix:")).unlink(missing_ok=True)

    def _state(self, member: Member) -> ReplicaState:
        # A replica listens only once its model is loaded, and a busy one still takes connections.
        if is_listening(member.address):
            return ReplicaState.READY
        return ReplicaState.DEAD if self._directory.last_exit(member.name) else ReplicaState.STARTING


def replica_name(model_name: str, model_version: str, replica_id: int) -> str:
    """Return the name of a replica's process and log: ``sum-model_1-0``."""
    return f"{model_name}_{model_version}-{replica_id}"


def _replica(member: Member) -> Replica:
    return Replica(member.model_name, member.model_version, member.replica_id, member.address)


def _current_directory() -> str:
    """Return the kernel's working directory: a model function finds the files that it found in the notebook."""
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:
        return "/"  # deleted meanwhile
