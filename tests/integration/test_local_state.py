"""What outlives ``stop_all``, on local processes."""

from state_contract import StateContract, connect, own_state_home

__all__ = ["connect", "own_state_home"]


class TestLocal(StateContract):
    """Every test of the contract."""
