"""JSON values, records, images and metrics of model functions, in containers."""

from __future__ import annotations

import pytest
from contract_world import connection
from inputs_contract import InputsContract, ReplicaMetrics

from clipper_magic import ClipperConnection
from clipper_magic.container_manager import Replica, Role

__all__ = ["connection"]

ASK = """
import sys
from urllib.request import Request, urlopen
request = Request(f"http://127.0.0.1:{sys.argv[1]}/metrics", headers={"Accept": "text/plain"})
sys.stdout.write(urlopen(request).read().decode())
"""


@pytest.fixture
def replica_metrics(backend) -> ReplicaMetrics:
    def get(connection: ClipperConnection, replica: Replica) -> str:
        host, _, port = replica.address.partition(":")
        members = backend.members(connection.cm.cluster_name, Role.MODEL_REPLICA)
        (container,) = [member for member in members if member.name == host]
        answer: bytes = container.exec_run(["python3", "-c", ASK, port]).output
        return answer.decode()

    return get


class TestDockerInputs(InputsContract):
    """Every test of the contract."""
