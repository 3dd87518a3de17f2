"""Networks: one for the frontends, with published ports, and one for models, without a way out."""

from __future__ import annotations

from collections.abc import Mapping

import docker
from docker.errors import APIError, NotFound
from docker.models.networks import Network

from clipper_magic.managers.docker_labels import selector

MADE_BY_CLIPPER = "ai.clipper.network"


class Networks:
    """The two networks of a cluster.

    Redis is in the frontends' network only, so that a model reaches the query frontend and nothing else.

    Parameters
    ----------
    client : docker.DockerClient
        The engine.
    cluster_name : str
        Owner of the models' network.
    frontends : str
        Name of the frontends' network. Clusters share it, and it may be one of the user's.
    labels : mapping of str to str
        The cluster's.
    """

    def __init__(
        self, client: docker.DockerClient, cluster_name: str, frontends: str, labels: Mapping[str, str]
    ) -> None:
        self._client = client
        self._cluster_name = cluster_name
        self._labels = dict(labels)
        self.frontends = frontends
        self.models = f"{frontends}-models-{cluster_name}"

    def ensure(self, allow_network: bool) -> None:
        """Make both networks unless they exist.

        Parameters
        ----------
        allow_network : bool
            Give models a way out of their network.
        """
        if not self._find(self.frontends):
            self._create(self.frontends, {MADE_BY_CLIPPER: "frontends"})
        if not self._find(self.models):
            self._create(self.models, self._labels, internal=not allow_network)

    def has_way_out(self) -> bool:
        """Return whether models may open connections to the outside: as the cluster was started."""
        return any(not network.attrs["Internal"] for network in self._find(self.models))

    def remove(self) -> None:
        """Remove the models' network, and the frontends' if Clipper made it and no other cluster is in it."""
        for network in self._client.networks.list(filters=selector(self._cluster_name)):
            _remove(network)
        for network in self._find(self.frontends):
            if MADE_BY_CLIPPER in (network.attrs["Labels"] or {}):
                _remove(network)

    def _find(self, name: str) -> list[Network]:
        return [network for network in self._client.networks.list(names=[name]) if network.name == name]

    def _create(self, name: str, labels: Mapping[str, str], internal: bool = False) -> None:
        try:
            self._client.networks.create(
                name, driver="bridge", labels=dict(labels), internal=internal, check_duplicate=True
            )
        except APIError as err:
            if err.status_code != 409:  # another cluster made it at this moment
                raise


def _remove(network: Network) -> None:
    try:
        network.remove()
    except NotFound:
        return
    except APIError as err:
        if err.status_code not in (403, 409):  # containers are in it: another cluster's, or the user's
            raise
