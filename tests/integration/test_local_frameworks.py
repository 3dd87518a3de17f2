"""The deployers of frameworks, on local processes."""

from contract_world import connection
from frameworks_contract import FrameworkContract

__all__ = ["connection"]


class TestLocalFrameworks(FrameworkContract):
    """Every test of the contract."""
