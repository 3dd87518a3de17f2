"""Verbs about models: build, deploy, register, roll back, stop."""

from __future__ import annotations

import pprint
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from clipper_magic.container_manager import NO_CONTAINER, ModelSpec, Replica
from clipper_magic.exceptions import ClipperException, InvalidArgumentError
from clipper_magic.names import check_deployable, check_input_type
from clipper_magic.verbs.replicas import ReplicaVerbs, check_count, replica_fields


class ModelVerbs(ReplicaVerbs):
    """Put models into service and take them out again."""

    def build_and_deploy_model(
        self,
        name: str,
        version: str | int,
        input_type: str,
        model_data_path: str,
        base_image: str,
        labels: Sequence[str] | None = None,
        container_registry: str | None = None,
        num_replicas: int = 1,
        batch_size: int = -1,
        pkgs_to_install: Sequence[str] | None = None,
    ) -> None:
        """Build an image of a model directory and deploy it: ``build_model``, then ``deploy_model``.

        What can be refused is refused before anything is built, and of what fails later no image is left.
        """
        self._require_connected()
        spec = ModelSpec(name, check_deployable(name, version), check_input_type(input_type), "unbuilt")
        self._register(spec, labels, batch_size, dry_run=True)
        image = self.build_model(name, version, model_data_path, base_image, container_registry, pkgs_to_install)
        try:
            self.deploy_model(name, version, input_type, image, labels, num_replicas, batch_size)
        except BaseException:
            if not self._is_registered(spec):  # an interrupt may come when it is
                self.cm.remove_image(image)
            raise

    def _is_registered(self, spec: ModelSpec) -> bool:
        try:
            return bool(self._admin.ask("get_model", model_name=spec.name, model_version=spec.version))
        except ClipperException:  # nobody is there to ask
            return False

    def build_model(
        self,
        name: str,
        version: str | int,
        model_data_path: str,
        base_image: str,
        container_registry: str | None = None,
        pkgs_to_install: Sequence[str] | None = None,
    ) -> str:
        """Build an image of a model directory.

        Parameters
        ----------
        name, version : str
            Lower-case letters, digits and ``-``.
        model_data_path : str
            Directory with the model, as a deployer makes it.
        base_image : str
            What the image is built from; "default" for the backend's own.
        container_registry : str, optional
            Put in front of the image's name, and pushed to.
        pkgs_to_install : sequence of str, optional
            Requirements as pip takes them.

        Returns
        -------
        str
            The image's name.

        Raises
        ------
        InvalidNameError, ImageBuildError
        """
        text = check_deployable(name, version)
        return self.cm.build_image(name, text, str(model_data_path), base_image, container_registry, pkgs_to_install)

    def deploy_model(
        self,
        name: str,
        version: str | int,
        input_type: str,
        image: str,
        labels: Sequence[str] | None = None,
        num_replicas: int = 1,
        batch_size: int = -1,
    ) -> None:
        """Start replicas of an image and make the version current when all of them are ready.

        Until then the version that served before serves. If it fails, nothing has changed and nothing is left over.

        Parameters
        ----------
        name, version : str
            Lower-case letters, digits and ``-``; the version must be new.
        input_type : str
        image : str
            From ``build_model``.
        labels : sequence of str, optional
        num_replicas : int, >= 0
        batch_size : int
            Largest batch, or -1 for adaptive batching.

        Raises
        ------
        AlreadyRegisteredError, InputTypeError, InvalidNameError, InvalidArgumentError
            If the version cannot be registered; nothing was started then.
        ReplicaStartError
            If a replica ends before it is ready, with its last log lines.
        """
        self._require_connected()
        check_count("num_replicas", num_replicas)
        spec = ModelSpec(name, check_deployable(name, version), check_input_type(input_type), image)
        self._register(spec, labels, batch_size, dry_run=True)
        added = self._start_replicas(spec, 0, num_replicas)
        with self._removed_unless_registered(spec, added):
            self._register(spec, labels, batch_size, added)
        self._remove_strays(spec, added)
        self.logger.info("Successfully registered model %s:%s", spec.name, spec.version)
        self.logger.info("Done deploying model %s:%s.", spec.name, spec.version)

    def register_model(
        self,
        name: str,
        version: str | int,
        input_type: str,
        image: str | None = None,
        labels: Sequence[str] | None = None,
        batch_size: int = -1,
    ) -> None:
        """Register a model version without starting anything, and make it current.

        Parameters
        ----------
        name, version : str
        input_type : str
        image : str, optional
            None for a model whose replicas Clipper does not run.
        labels : sequence of str, optional
        batch_size : int
            Largest batch, or -1 for adaptive batching.

        Raises
        ------
        AlreadyRegisteredError, InputTypeError, InvalidNameError, InvalidArgumentError
        """
        self._register(ModelSpec(name, str(version), input_type, image or NO_CONTAINER), labels, batch_size)
        self.logger.info("Successfully registered model %s:%s", name, version)

    def _register(
        self,
        spec: ModelSpec,
        labels: Sequence[str] | None,
        batch_size: int,
        replicas: Sequence[Replica] = (),
        dry_run: bool = False,
    ) -> None:
        self._admin.change(
            "add_model",
            model_name=spec.name,
            model_version=spec.version,
            labels=list(labels or []),
            input_type=spec.input_type,
            container_name=spec.image,
            model_data_path="DEPRECATED",
            batch_size=batch_size,
            replicas=replica_fields(replicas),
            dry_run=dry_run,
        )

    def _remove_strays(self, spec: ModelSpec, registered: Sequence[Replica]) -> None:
        """Stop replicas of this version that nobody registered: a kernel was killed while it deployed."""
        known = {replica.address for replica in registered}
        strays = [r for r in self._running_replicas(spec.name, spec.version) if r.address not in known]
        if strays:
            self.logger.info("Removing %d unregistered replicas of %s:%s", len(strays), spec.name, spec.version)
            self.cm.remove_replicas(strays)

    def set_model_version(self, name: str, version: str | int, num_replicas: int | None = None) -> None:
        """Make a registered version current: roll back, or forward again.

        Parameters
        ----------
        name, version : str
        num_replicas : int, optional
            Scale that version, too.

        Raises
        ------
        NotRegisteredError, InputTypeError
        """
        self._admin.change("set_model_version", model_name=name, model_version=str(version))
        if num_replicas is not None:
            self.set_num_replicas(name, num_replicas, version)

    def get_all_models(self, verbose: bool = False) -> list[Any]:
        """Return ``"name:version"`` of each model version, or their descriptions."""
        return list(self._admin.ask("get_all_models", verbose=verbose))

    def get_model_info(self, name: str, version: str | int) -> dict[str, Any] | None:
        """Return the description of a model version, or None (with a warning) if there is none."""
        info = self._admin.ask("get_model", model_name=name, model_version=str(version))
        if not info:
            self.logger.warning("Model %s:%s is not registered with Clipper.", name, version)
            return None
        return dict(info)

    def stop_models(self, model_names: Sequence[str]) -> None:
        """Stop and unregister every version of these models; unknown names are no error."""
        self._require_connected()
        names = set(check_names("model_names", model_names))
        self._stop_and_report(model for model in self._versions() if model[0] in names)

    def stop_versioned_models(self, model_versions_dict: Mapping[str, Sequence[str | int]]) -> None:
        """Stop and unregister some versions: ``{"name": ["version", …]}``."""
        self._require_connected()
        wanted = {
            (name, str(version))
            for name, versions in model_versions_dict.items()
            for version in check_names(f"model_versions_dict[{name!r}]", versions)
        }
        self._stop_and_report(model for model in self._versions() if model in wanted)

    def stop_inactive_model_versions(self, model_names: Sequence[str]) -> None:
        """Stop and unregister every version of these models but the current one."""
        self._require_connected()
        names = set(check_names("model_names", model_names))
        inactive = [
            (model["model_name"], model["model_version"])
            for model in self.get_all_models(verbose=True)
            if model["model_name"] in names and not model["is_current_version"]
        ]
        self._stop_and_report(inactive)

    def stop_all_model_containers(self) -> None:
        """Stop and unregister every model."""
        stopped = self._stop_versions(self._versions())
        self.cm.remove_replicas([status.replica for status in self.cm.list_replicas()])
        self.logger.info("Stopped all Clipper model containers:\n%s", pprint.pformat(stopped))

    def _versions(self) -> list[tuple[str, str]]:
        return [(model["model_name"], model["model_version"]) for model in self.get_all_models(verbose=True)]

    def _stop_and_report(self, versions: Iterable[tuple[str, str]]) -> None:
        stopped = self._stop_versions(list(versions))
        self.logger.info("Stopped all containers for these models and versions:\n%s", pprint.pformat(stopped))

    def _stop_versions(self, versions: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
        """Unregister each version, then stop its replicas: no query is sent to one that is going."""
        stopped: dict[str, list[str]] = {}
        leaving: list[Replica] = []
        for name, version in versions:
            leaving += self._running_replicas(name, version)
            self._admin.change("delete_versioned_model", model_name=name, model_version=version)
            self.logger.info("Model %s:%s was successfully deleted", name, version)
            stopped.setdefault(name, []).append(version)
        if leaving:
            self.cm.remove_replicas(leaving)
        return stopped


def check_names(argument: str, value: Sequence[str | int]) -> Sequence[str | int]:
    """Refuse a string where a list is meant: Clipper then matched substrings.

    Raises
    ------
    InvalidArgumentError
    """
    if isinstance(value, str):
        raise InvalidArgumentError.of("names-not-a-list", argument=argument, value=value)
    return value
