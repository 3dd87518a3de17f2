"""The deployers of frameworks, on local processes."""

from contract import connection
from frameworks_contract import FrameworkContract

__all__ = ["connection"]


class TestLocalFrameworks(FrameworkContract):
    """Every test of the contract."""
