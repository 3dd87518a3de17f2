"""What every verb needs: a manager, a logger, and a cluster that is connected."""

from __future__ import annotations

from clipper_magic.admin_client import AdminClient
from clipper_magic.container_manager import ContainerManager
from clipper_magic.exceptions import UnconnectedException
from clipper_magic.log import ClusterLogger, get_cluster_logger


class Connected:
    """A connection to a cluster, made or not yet.

    Parameters
    ----------
    container_manager : ContainerManager
    """

    def __init__(self, container_manager: ContainerManager) -> None:
        self.cm = container_manager
        self.connected = False
        self.logger: ClusterLogger = get_cluster_logger(container_manager.cluster_name)

    def _require_connected(self) -> None:
        if not self.connected:
            raise UnconnectedException

    @property
    def _admin(self) -> AdminClient:
        """The management frontend of the cluster; raises ``UnconnectedException`` if there is none."""
        self._require_connected()
        return AdminClient(self.cm.get_admin_addr(), self.logger)
