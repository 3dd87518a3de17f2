"""The cluster under measurement: ``python cluster.py up`` or ``down``.

PORT and PORT2 are its ports, ``served/models.py`` (on the path) has its model.
"""

from __future__ import annotations

import sys
from typing import Any

import models

from clipper_magic import ClipperConnection, LocalContainerManager
from clipper_magic.deployers import python as python_deployer

NAME = "bench"
SLO_MICROS = 10_000_000  # the timeout of the peers


def up(connection: ClipperConnection) -> None:
    """Start a cluster, deploy the workload's model and link it."""
    predict = models.load()

    def predict_rows(xs: Any) -> Any:
        # The cluster gives its models numpy arrays: what a forest takes, while a sum is faster over Python's floats.
        return predict(xs if models.WORKLOAD == "w3" else xs.tolist())

    connection.start_clipper()
    connection.register_application(NAME, "doubles", "-1.0", SLO_MICROS)
    python_deployer.deploy_python_closure(connection, NAME, 1, "doubles", predict_rows, batch_size=models.MAX_BATCH)
    connection.link_model_to_app(NAME, NAME)


def main() -> None:
    """Do what the command line says."""
    connection = ClipperConnection(LocalContainerManager(f"bench-{models.PORT}", models.PORT, models.PORT2))
    if sys.argv[1] == "up":
        up(connection)
    else:
        connection.stop_all()


if __name__ == "__main__":
    main()
