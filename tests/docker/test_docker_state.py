"""What outlives ``stop_all``, on Docker."""

from state_contract import StateContract, connect, own_state_home

__all__ = ["connect", "own_state_home"]


class TestDocker(StateContract):
    """Every test of the contract."""
