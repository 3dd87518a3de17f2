"""What every container manager must do. One class; each backend's tests only provide the fixture ``backend``.

A test that needs to know which backend it runs on is a mistake in the design.
"""

from contract_answers import AnswerContract
from contract_clusters import ClusterContract
from contract_deployments import DeploymentContract
from contract_versions import VersionContract


class ContainerManagerContract(ClusterContract, DeploymentContract, VersionContract, AnswerContract):
    """The contract. Subclass it where the fixtures ``backend``, ``connection`` and ``own`` are at hand."""
