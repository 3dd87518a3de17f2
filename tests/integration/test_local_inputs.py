"""JSON values, records, images and metrics of model functions, on local processes."""

from __future__ import annotations

import subprocess

import pytest
from contract_world import connection
from inputs_contract import InputsContract, ReplicaMetrics

from clipper_magic import ClipperConnection
from clipper_magic.container_manager import Replica

__all__ = ["connection"]


@pytest.fixture
def replica_metrics() -> ReplicaMetrics:
    def get(_: ClipperConnection, replica: Replica) -> str:
        socket = replica.address.removeprefix("unix:")
        command = ["curl", "-sS", "--unix-socket", socket, "-H", "Accept: text/plain", "http://replica/metrics"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    return get


class TestLocalInputs(InputsContract):
    """Every test of the contract."""
