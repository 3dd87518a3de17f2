"""The kernel's handle on a cluster: Clipper's admin API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests

from clipper_magic import __registry__, __version__
from clipper_magic.container_manager import DEFAULT_PREDICTION_CACHE_SIZE_BYTES, ClusterOptions, Role
from clipper_magic.exceptions import ClipperException, FrontendUnreachableError, InvalidArgumentError
from clipper_magic.local_check import try_predict_function
from clipper_magic.verbs.applications import ApplicationVerbs
from clipper_magic.verbs.models import ModelVerbs

CLIPPER_TEMP_DIR = "/tmp/clipper"
DEFAULT_LABEL: tuple[str, ...] = ()
METRICS_TIMEOUT_S = 5.0


class ClipperConnection(ApplicationVerbs, ModelVerbs):
    """Connects to a cluster, or starts one, and manages what it serves.

    Every method but ``start_clipper``, ``connect``, ``build_model``, ``stop_all`` and ``test_predict_function``
    raises ``UnconnectedException`` before one of the first two has been called.

    Parameters
    ----------
    container_manager : ContainerManager
        What runs the cluster, such as ``LocalContainerManager()`` or ``DockerContainerManager()``.

    Attributes
    ----------
    cm : ContainerManager
    connected : bool

    Examples
    --------
    >>> from clipper_magic import ClipperConnection, LocalContainerManager
    >>> clipper_conn = ClipperConnection(LocalContainerManager())
    >>> clipper_conn.connected
    False
    """

    def start_clipper(
        self,
        query_frontend_image: str = f"{__registry__}/query_frontend:{__version__}",
        mgmt_frontend_image: str = f"{__registry__}/management_frontend:{__version__}",
        frontend_exporter_image: str = f"{__registry__}/frontend-exporter:{__version__}",
        cache_size: int = DEFAULT_PREDICTION_CACHE_SIZE_BYTES,
        qf_http_thread_pool_size: int = 1,
        qf_http_timeout_request: int = 5,
        qf_http_timeout_content: int = 300,
        num_frontend_replicas: int = 1,
    ) -> None:
        """Start a cluster and connect to it; returns when it answers.

        Parameters
        ----------
        query_frontend_image, mgmt_frontend_image, frontend_exporter_image : str
            For backends that run images.
        cache_size : int
            Prediction cache of each query frontend, in bytes; 0 or 1 switches it off.
        qf_http_thread_pool_size, qf_http_timeout_request, qf_http_timeout_content : int
            Accepted as Clipper does; the frontends run on one event loop.
        num_frontend_replicas : int, >= 1
            Query frontends behind the query port.

        Raises
        ------
        ClusterExistsError
            If a cluster of this name runs: ``connect()`` to it.
        BackendError
        """
        if isinstance(num_frontend_replicas, bool) or num_frontend_replicas < 1:
            value, expected = repr(num_frontend_replicas), "an int, 1 or more"
            raise InvalidArgumentError.of(
                "bad-argument", argument="num_frontend_replicas", value=value, expected=expected
            )
        options = ClusterOptions(
            cache_size_bytes=cache_size,
            num_frontend_replicas=num_frontend_replicas,
            query_frontend_image=query_frontend_image,
            mgmt_frontend_image=mgmt_frontend_image,
            frontend_exporter_image=frontend_exporter_image,
            http_thread_pool_size=qf_http_thread_pool_size,
            http_timeout_request_s=qf_http_timeout_request,
            http_timeout_content_s=qf_http_timeout_content,
        )
        try:
            self.cm.start_clipper(options)
        except ClipperException as err:
            self.logger.warning("Error starting Clipper: %s", err.msg)
            raise
        self.connected = True
        self._restore_replicas()
        self.logger.info("Clipper is running")

    def connect(self) -> None:
        """Connect to the running cluster of the manager's name.

        Raises
        ------
        NoClusterError
            If none runs.
        """
        self.cm.connect()
        self.connected = True
        self.logger.info("Successfully connected to Clipper cluster at %s", self.cm.get_query_addr())

    def get_clipper_logs(self, logging_dir: str = "clipper_logs/") -> list[str]:
        """Write the log of each process or container into a directory, which is made if needed.

        Returns
        -------
        list of str
            The files, overwritten if they existed.
        """
        self._require_connected()
        if not Path(logging_dir).exists():
            Path(logging_dir).mkdir(parents=True)
            self.logger.info("Created logging directory: %s", logging_dir)
        return self.cm.get_logs(str(logging_dir))

    def inspect_instance(self) -> dict[str, Any]:
        """Return the metrics of the query frontend: counters, ratio_counters, meters and histograms.

        Raises
        ------
        FrontendUnreachableError
        """
        self._require_connected()
        address = self.cm.get_query_addr()
        try:
            with requests.Session() as session:
                session.trust_env = False
                response = session.get(f"http://{address}/metrics", timeout=METRICS_TIMEOUT_S)
            response.raise_for_status()
            return dict(response.json())
        except requests.RequestException as err:
            role = str(Role.QUERY_FRONTEND)
            raise FrontendUnreachableError.of(
                "frontend-unreachable", role=role, address=address, reason=str(err)
            ) from err

    def get_query_addr(self) -> str:
        """Return ``host:port`` where applications answer."""
        self._require_connected()
        return self.cm.get_query_addr()

    def get_metric_addr(self) -> str:
        """Return ``host:port`` where metrics are collected."""
        self._require_connected()
        return self.cm.get_metric_addr()

    def stop_all(self, graceful: bool = True) -> None:
        """Stop every process or container of the cluster; works unconnected.

        Parameters
        ----------
        graceful : bool
            Let requests in flight finish, else end at once.
        """
        self.cm.stop_all(graceful=graceful)
        self.connected = False
        self.logger.info("Stopped all Clipper cluster and all model containers")

    def test_predict_function(self, query: Mapping[str, Any], func: Callable[[Any], Any], input_type: str) -> Any:
        """Call a model function as a replica would, without deploying it.

        Parameters
        ----------
        query : mapping
            ``{"input": …}`` or ``{"input_batch": […]}``, as sent to the REST endpoint (bytes as ``bytes``).
        func : callable
            The model function.
        input_type : str

        Returns
        -------
        object
            What ``func`` returns for the batch, or (as Clipper does) a text: "Invalid input type or JSON key",
            "Invalid input type", "Function does not properly serialize and reload".
        """
        return try_predict_function(query, func, input_type)
