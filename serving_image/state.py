"""The cluster state: applications, models, versions, links and replicas, with the rules that bind them.

A mutation checks its rules against the view, commits what it changes in one transaction, and starts again if
another process committed first. It costs as much as what it changes, not as much as the state holds.

The texts are Clipper's, because its documents, tests and users look for them
(ucbrise/clipper ``src/management/src/management_frontend.hpp``); the codes are ours.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from serving_image.address import Address
from serving_image.cluster_view import Changes, ClusterView, put
from serving_image.entities import (
    DEFAULT_BATCH_SIZE,
    DEFAULT_MAX_BATCH_DELAY_MS,
    Application,
    Model,
    ModelVersion,
    Replica,
    ReplicaSet,
    make_key,
)
from serving_image.errors import ServingError
from serving_image.input_types import canonical


class ClusterState(ClusterView):
    """What a cluster serves, and the verbs that change it (see `serving_image.cluster_view.ClusterView`)."""

    def _check_links(self, model_name: str, input_type: str) -> None:
        """Refuse a current version of a model whose input type its applications do not have."""
        for app in self.linked_applications(model_name):
            if app.input_type != input_type:
                raise ServingError(
                    "type-mismatch",
                    f"Model with name '{model_name}' is already linked to app '{app.name}' using input type "
                    f"'{app.input_type}'. The input type you provided for a new version of the model, "
                    f"'{input_type}', is not compatible.",
                )

    # ---- applications

    def add_application(self, name: str, input_type: str, default_output: str, latency_slo_micros: int) -> str:
        """Register an application.

        Raises
        ------
        ServingError
            bad-name, bad-input-type, bad-request (the objective is not positive), app-exists.
        """
        check_name("application name", name, ",:/")
        input_type = canonical(input_type)
        if latency_slo_micros <= 0:
            raise ServingError("bad-request", f"latency_slo_micros must be positive, but is {latency_slo_micros}")

        def plan() -> Changes:
            if name in self.applications:
                raise ServingError("app-exists", f"application '{name}' already exists")
            return put(Application(name, input_type, default_output, latency_slo_micros))

        self._transact(plan)
        return f"Successfully added application with name '{name}'"

    def delete_application(self, name: str) -> str:
        """Remove an application, and with it its link and its endpoint; app-not-found."""

        def plan() -> Changes:
            self.application(name, "Application '{}' does not exist")
            return {make_key("app", name): None}

        self._transact(plan)
        return f"Successfully deleted application with name '{name}'"

    # ---- links

    def add_model_links(self, app_name: str, model_names: Sequence[str]) -> str:
        """Link an application to one model, which then answers its queries.

        Raises
        ------
        ServingError
            app-not-found, model-not-found, type-mismatch, too-many-links, bad-request (no model named), link-exists;
            checked in this order, which is Clipper's.
        """

        def plan() -> Changes:
            app = self.application(app_name)
            self._check_linkable(app, model_names)
            return put(replace(app, linked_models=tuple(model_names)))

        self._transact(plan)
        return f"Successfully linked model with name '{model_names[0]}' to application '{app_name}'"

    def _check_linkable(self, app: Application, model_names: Sequence[str]) -> None:
        for name in model_names:
            if name not in self.models:
                raise ServingError("model-not-found", f"No model with name '{name}' exists.")
            if self.models[name].input_type != app.input_type:
                raise ServingError(
                    "type-mismatch",
                    f"Model with name '{name}' has incompatible input_type '{self.models[name].input_type}'. "
                    f"Requested app to link to has input_type '{app.input_type}'.",
                )
        if len(model_names) > 1:
            raise ServingError(
                "too-many-links",
                "Applications must be linked with at most one model. "
                f"Attempted to add links to {len(model_names)} models.",
            )
        if not model_names:
            raise ServingError(
                "bad-request",
                f"Please provide the name of the model that you want to link to the application '{app.name}'",
            )
        if model_names[0] in app.linked_models:
            raise ServingError(
                "link-exists", f"The model with name '{model_names[0]}' is already linked to '{app.name}'"
            )
        if app.linked_models:
            raise ServingError(
                "link-exists", f"A model with name {app.linked_models[0]} is already linked to '{app.name}'."
            )

    def delete_model_links(self, app_name: str, model_names: Sequence[str]) -> str:
        """Unlink an application from each model of ``model_names``; app-not-found, link-not-found."""

        def plan() -> Changes:
            app = self.application(app_name, "No app with name {} exists.")
            for name in model_names:
                if name not in app.linked_models:
                    raise ServingError(
                        "link-not-found",
                        f"Cannot remove nonexistent link between app {app_name} and model {name}",
                    )
            left = tuple(name for name in app.linked_models if name not in model_names)
            return put(replace(app, linked_models=left)) if left != app.linked_models else {}

        self._transact(plan)
        return "Success!"

    # ---- models

    def add_model(
        self,
        model_name: str,
        model_version: str,
        input_type: str,
        labels: Sequence[str],
        container_name: str,
        model_data_path: str,
        batch_size: int = DEFAULT_BATCH_SIZE,
        max_batch_delay_ms: float = DEFAULT_MAX_BATCH_DELAY_MS,
        replicas: Sequence[Replica] = (),
        dry_run: bool = False,
    ) -> str:
        """Register a model version with its replicas and make it current, in one transaction.

        The parameters are the fields of `ModelVersion`; a ``dry_run`` checks everything and changes nothing.

        Raises
        ------
        ServingError
            bad-name, bad-input-type, bad-batch-size, bad-request, model-exists, type-mismatch.
        """
        check_replicas(replicas)
        kind = canonical(input_type)
        source = (tuple(labels), container_name, model_data_path)
        version = ModelVersion(
            model_name, model_version, kind, *source, batch_size, uuid.uuid4().hex, max_batch_delay_ms
        )
        check_version(version)

        def plan() -> Changes:
            changes = self._plan_version(version, replicas)
            return {} if dry_run else changes

        self._transact(plan)
        done = "Checked" if dry_run else "Successfully added"
        return f"{done} model with name '{model_name}' and input type '{version.input_type}'"

    def _plan_version(self, version: ModelVersion, replicas: Sequence[Replica]) -> Changes:
        name, number = version.model_name, version.model_version
        if (name, number) in self.versions:
            raise ServingError("model-exists", f"model with name '{name}' and version '{number}' already exists")
        self._check_links(name, version.input_type)
        history = self.models[name].version_history if name in self.models else ()
        return put(
            version,
            Model(name, version.input_type, number, (*history, number)),
            ReplicaSet(name, number, tuple(replicas)),
        )

    def delete_versioned_model(self, model_name: str, model_version: str) -> str:
        """Remove a model version and its replicas; version-not-found.

        If it was current, the version registered last of those left becomes current. The links of applications
        that nothing of their input type is left for are removed.
        """

        def plan() -> Changes:
            self.version(model_name, model_version)
            model = self.models[model_name]
            left = tuple(v for v in model.version_history if v != model_version)
            changes: Changes = {
                make_key("version", model_name, model_version): None,
                make_key("replicas", model_name, model_version): None,
                make_key("model", model_name): None,
            }
            input_type = None
            if left:
                current = model.current_version if model.current_version in left else left[-1]
                input_type = self.versions[model_name, current].input_type
                changes |= put(Model(model_name, input_type, current, left))
            for app in self.linked_applications(model_name):
                if app.input_type != input_type:
                    links = tuple(name for name in app.linked_models if name != model_name)
                    changes |= put(replace(app, linked_models=links))
            return changes

        self._transact(plan)
        return f"Successfully deleted model with name '{model_name}' and version '{model_version}'"

    def set_model_version(self, model_name: str, model_version: str) -> str:
        """Make a registered version current (roll out, roll back); model- or version-not-found, type-mismatch."""

        def plan() -> Changes:
            if model_name not in self.models:
                raise ServingError("model-not-found", f"Cannot set version for nonexistent model '{model_name}'")
            version = self.versions.get((model_name, model_version))
            if version is None:
                raise ServingError(
                    "version-not-found",
                    f"Cannot set non-existent version '{model_version}' for model with name '{model_name}'",
                )
            self._check_links(model_name, version.input_type)
            model = self.models[model_name]
            return put(replace(model, current_version=model_version, input_type=version.input_type))

        self._transact(plan)
        return f"Successfully set model with name '{model_name}' to version '{model_version}'"

    def set_replicas(self, model_name: str, model_version: str, replicas: Sequence[Replica]) -> str:
        """Replace the replicas of a model version; bad-request, version-not-found."""
        check_replicas(replicas)

        def plan() -> Changes:
            self.version(model_name, model_version)
            return put(ReplicaSet(model_name, model_version, tuple(replicas)))

        self._transact(plan)
        return f"Successfully set {len(replicas)} replicas for model '{model_name}' version '{model_version}'"


def check_name(what: str, name: str, forbidden: str = ",:") -> None:
    """Raise bad-name if ``name`` is empty or holds one of the ``forbidden`` characters."""
    if not name:
        raise ServingError("bad-name", f"Invalid {what} supplied: it is empty")
    if any(character in name for character in forbidden):
        listed = ", ".join(f"'{character}'" for character in forbidden)
        raise ServingError("bad-name", f"Invalid {what} supplied: {name}. Contains one of: {listed}")


def check_version(version: ModelVersion) -> None:
    """Raise bad-name or bad-batch-size if ``version`` may not be registered in any state."""
    check_name("model name", version.model_name)
    check_name("model version", version.model_version)
    for label in version.labels:
        check_name("label", label)
    if version.batch_size != DEFAULT_BATCH_SIZE and version.batch_size <= 0:
        raise ServingError("bad-batch-size", "The batch size must be positive or DEFAULT_BATCH_SIZE, which is -1")


def check_replicas(replicas: Iterable[Replica]) -> None:
    """Raise bad-request if two replicas have one id, or an address is not one."""
    seen: set[int] = set()
    for replica in replicas:
        if replica.replica_id in seen:
            raise ServingError("bad-request", f"Replica id {replica.replica_id} is given more than once")
        seen.add(replica.replica_id)
        try:
            Address.parse(replica.address)
        except ValueError as exc:
            raise ServingError("bad-request", str(exc)) from exc
