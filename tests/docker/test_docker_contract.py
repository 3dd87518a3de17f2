"""The contract of container managers, on Docker."""

from contract import ContainerManagerContract
from contract_world import connection, own

__all__ = ["connection", "own"]


class TestDocker(ContainerManagerContract):
    """Every test of the contract."""
