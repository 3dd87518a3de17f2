"""Verbs about replicas."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from clipper_magic.container_manager import NO_CONTAINER, ModelSpec, Replica
from clipper_magic.exceptions import ClipperException, DeployError, InvalidArgumentError, NotRegisteredError
from clipper_magic.verbs.base import Connected


def replica_fields(replicas: Sequence[Replica]) -> list[dict[str, Any]]:
    """Return replicas as the management API takes them."""
    return [{"replica_id": replica.replica_id, "address": replica.address} for replica in replicas]


class ReplicaVerbs(Connected):
    """Count and scale replicas."""

    def get_current_model_version(self, name: str) -> str:
        """Return the version of a model that serves.

        Raises
        ------
        NotRegisteredError
            "No versions of model {name} registered with Clipper".
        """
        for model in self._admin.ask("get_all_models", verbose=True):
            if model["model_name"] == name and model["is_current_version"]:
                return str(model["model_version"])
        raise NotRegisteredError.of("no-current-version", model=name)

    def get_num_replicas(self, name: str, version: str | int | None = None) -> int:
        """Return how many replicas of a model version run and answer (of the current one by default)."""
        self._require_connected()
        chosen = self.get_current_model_version(name) if version is None else str(version)
        return self.cm.get_num_replicas(name, chosen)

    def set_num_replicas(self, name: str, num_replicas: int, version: str | int | None = None) -> None:
        """Start or stop replicas until ``num_replicas`` serve; returns when they do.

        Parameters
        ----------
        name : str
        num_replicas : int, >= 0
        version : str or int, optional
            The current version by default.

        Raises
        ------
        NotRegisteredError, DeployError
            If the model is unknown, or has no image.
        ReplicaStartError
            If a new replica ends; nothing has changed then.
        """
        self._require_connected()
        check_count("num_replicas", num_replicas)
        chosen = self.get_current_model_version(name) if version is None else str(version)
        model = self._admin.ask("get_model", model_name=name, model_version=chosen)
        if not model:
            raise NotRegisteredError.of("resize-unknown-model", model=name, version=chosen)
        if model["container_name"] in ("", NO_CONTAINER):
            raise DeployError.of("resize-containerless", model=name, version=chosen)
        spec = ModelSpec(name, chosen, model["input_type"], model["container_name"])
        self._resize(spec, self._registered_replicas(name, chosen), num_replicas)

    def _resize(self, spec: ModelSpec, current: list[Replica], wanted: int) -> None:
        missing = wanted - len(current)
        if missing > 0:
            added = self._start_replicas(spec, len(current), missing)
            with self._removed_unless_registered(spec, added):
                self._set_replicas(spec, [*current, *added])
        elif missing < 0:
            self.logger.info(
                "Found %d replicas for %s:%s. Removing %d", len(current), spec.name, spec.version, -missing
            )
            self._set_replicas(spec, current[:wanted])
            self.cm.remove_replicas(current[wanted:])

    def _start_replicas(self, spec: ModelSpec, running: int, count: int) -> list[Replica]:
        self.logger.info("Found %d replicas for %s:%s. Adding %d", running, spec.name, spec.version, count)
        return self.cm.add_replicas(spec, count)

    @contextmanager
    def _removed_unless_registered(self, spec: ModelSpec, added: list[Replica]) -> Iterator[None]:
        """Register new replicas in the block: if that fails they are removed, but not if only its answer was lost.

        A Ctrl-C, or a query frontend that does not confirm in time, may come when they serve already.
        """
        try:
            yield
        except BaseException:
            if not self._serve(spec, added):
                self.cm.remove_replicas(added)
            raise

    def _serve(self, spec: ModelSpec, replicas: list[Replica]) -> bool:
        try:
            registered = self._registered_replicas(spec.name, spec.version)
        except ClipperException:  # nobody is there to ask
            return False
        return {replica.address for replica in replicas} <= {replica.address for replica in registered}

    def _restore_replicas(self) -> None:
        """Start again the replicas that the state names and that do not run: those of a cluster that kept its state.

        A version whose replicas do not start is left without them, with a warning: the others serve.
        """
        running = {status.replica.address for status in self.cm.list_replicas()}
        for model in self._admin.ask("get_status")["models"]:
            for entry in model["versions"]:
                lost = [replica for replica in entry["replicas"] if replica["address"] not in running]
                if not lost or entry["container_name"] in ("", NO_CONTAINER):
                    continue  # whoever runs a containerless model's replicas looks after them
                spec = ModelSpec(
                    model["model_name"], entry["model_version"], entry["input_type"], entry["container_name"]
                )
                try:
                    added = self._start_replicas(spec, 0, len(lost))
                except DeployError as err:
                    self.logger.warning("Replicas of %s:%s do not start again: %s", spec.name, spec.version, err)
                    added = []
                self._set_replicas(spec, added)

    def _set_replicas(self, spec: ModelSpec, replicas: Sequence[Replica]) -> None:
        self._admin.change(
            "set_replicas",
            model_name=spec.name,
            model_version=spec.version,
            replicas=replica_fields(replicas),
        )

    def _registered_replicas(self, name: str, version: str) -> list[Replica]:
        """Return the replicas that the query frontends send batches to."""
        return [
            Replica(name, version, replica["replica_id"], replica["address"])
            for model in self._admin.ask("get_status")["models"]
            if model["model_name"] == name
            for entry in model["versions"]
            if entry["model_version"] == version
            for replica in entry["replicas"]
        ]

    def _running_replicas(self, name: str, version: str) -> list[Replica]:
        """Return the replicas that run, registered or not."""
        return [
            status.replica
            for status in self.cm.list_replicas()
            if (status.replica.model_name, status.replica.model_version) == (name, version)
        ]

    def get_all_model_replicas(self, verbose: bool = False) -> list[Any]:
        """Return ``"name:version:replica_id"`` of each registered replica, or their descriptions."""
        return list(self._admin.ask("get_all_containers", verbose=verbose))

    def get_model_replica_info(self, name: str, version: str | int, replica_id: int) -> dict[str, Any] | None:
        """Return the description of a replica, or None (with a warning) if there is none."""
        info = self._admin.ask("get_container", model_name=name, model_version=str(version), replica_id=replica_id)
        if not info:
            self.logger.warning("No model replica with ID %s found for model %s:%s", replica_id, name, version)
            return None
        return dict(info)


def check_count(argument: str, value: int) -> None:
    """Refuse what is no number of replicas.

    Raises
    ------
    InvalidArgumentError
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidArgumentError.of(
            "bad-argument", argument=argument, value=repr(value), expected="an int, 0 or more"
        )
