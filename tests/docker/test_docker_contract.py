"""The contract of container managers, on Docker."""

from contract import ContainerManagerContract, connection, own

__all__ = ["connection", "own"]


class TestDocker(ContainerManagerContract):
    """Every test of the contract."""
