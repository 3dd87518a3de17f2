"""Verbs about applications and their links."""

from __future__ import annotations

from typing import Any

from clipper_magic.verbs.base import Connected


class ApplicationVerbs(Connected):
    """Register applications and link models to them."""

    def register_application(self, name: str, input_type: str, default_output: str, slo_micros: int) -> None:
        """Register an application: a REST endpoint ``http://<query address>/<name>/predict``.

        Parameters
        ----------
        name : str
            Unique in the cluster.
        input_type : str
            "integers", "floats", "doubles", "bytes", "strings" or "json" (or an alias such as "double").
        default_output : str
            Answered when no prediction comes within the SLO.
        slo_micros : int
            Latency objective in microseconds.

        Raises
        ------
        AlreadyRegisteredError, InputTypeError, InvalidNameError, InvalidArgumentError
        """
        self._admin.change(
            "add_app",
            name=name,
            input_type=input_type,
            default_output=default_output,
            latency_slo_micros=slo_micros,
        )
        self.logger.info("Application %s was successfully registered", name)

    def unregister_application(self, name: str) -> None:
        """Remove an application with its endpoint and its link.

        Raises
        ------
        NotRegisteredError
        """
        self._admin.change("delete_app", name=name)
        self.logger.info("Application %s was successfully unregistered", name)

    def delete_application(self, name: str) -> None:
        """Remove an application; deprecated, use ``unregister_application``."""
        self.logger.warning("[DEPRECATED] Use 'unregister_application' API instead of this.")
        self.unregister_application(name)

    def link_model_to_app(self, app_name: str, model_name: str) -> None:
        """Route the queries of an application to the current version of a model.

        Raises
        ------
        NotRegisteredError, InputTypeError
            If either is unknown, or their input types differ.
        LinkError
            If the application has a link already.
        """
        self._admin.change("add_model_links", app_name=app_name, model_names=[model_name])
        self.logger.info("Model %s is now linked to application %s", model_name, app_name)

    def unlink_model_from_app(self, app_name: str, model_name: str) -> None:
        """Stop routing the queries of an application to a model.

        Raises
        ------
        NotRegisteredError, LinkError
        """
        self._admin.change("delete_model_links", app_name=app_name, model_names=[model_name])
        self.logger.info("Model %s is now removed to application %s", model_name, app_name)

    def get_all_apps(self, verbose: bool = False) -> list[Any]:
        """Return the names of all applications, or their descriptions.

        Parameters
        ----------
        verbose : bool
            Return dicts with input_type, default_output, latency_slo_micros, name and linked_models.
        """
        return list(self._admin.ask("get_all_applications", verbose=verbose))

    def get_app_info(self, name: str) -> dict[str, Any] | None:
        """Return the description of an application, or None (with a warning) if there is none."""
        info = self._admin.ask("get_application", name=name)
        if not info:
            self.logger.warning("Application %s is not registered with Clipper", name)
            return None
        return dict(info)

    def get_linked_models(self, app_name: str) -> list[str]:
        """Return the names of the models that an application is linked to: none or one.

        Raises
        ------
        NotRegisteredError
        """
        return list(self._admin.ask("get_linked_models", app_name=app_name))
