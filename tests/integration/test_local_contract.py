"""The contract of container managers, on local processes."""

from contract import ContainerManagerContract
from contract_world import connection, own

__all__ = ["connection", "own"]


class TestLocal(ContainerManagerContract):
    """Every test of the contract."""
