"""The deployers of frameworks, in containers: their packages are installed into the images."""

from contract_world import connection
from frameworks_contract import FrameworkContract

__all__ = ["connection"]


class TestDockerFrameworks(FrameworkContract):
    """Every test of the contract."""
