"""Start or stop a real cluster of ours that serves one workload: ``python cluster.py start|stop``.

The harness gives $PORT, $PORT2 and $WORKLOAD, and has the directory of ``models`` on the path.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import models

from clipper_magic import ClipperConnection, LocalContainerManager
from clipper_magic.deployers import python as python_deployer

SLO_MICROS = 1_000_000
DEFAULT_OUTPUT = "-1.0"


def make_model(workload: str) -> models.Model:
    """Return the workload's model, with numpy where the others' have lists: an input here is a row of an array."""
    batch_s = models.SLOW_BATCH_S

    def sums(batch: Any) -> list[float]:
        return list(batch.sum(axis=1).tolist())

    def slow(batch: Any) -> list[float]:
        time.sleep(batch_s)
        return list(batch.sum(axis=1).tolist())

    if workload == "w3":
        return models.make_forest()
    return slow if workload == "w4" else sums


def start(manager: LocalContainerManager, workload: str) -> None:
    """Start the cluster, and serve the workload under its name."""
    connection = ClipperConnection(manager)
    connection.start_clipper()
    if connection.get_query_addr() != f"127.0.0.1:{models.PORT}":
        sys.exit(f"port {models.PORT} is taken")
    connection.register_application(workload, "doubles", DEFAULT_OUTPUT, SLO_MICROS)
    model = make_model(workload)
    python_deployer.deploy_python_closure(connection, workload, 1, "doubles", model, batch_size=models.MAX_BATCH)
    connection.link_model_to_app(workload, workload)


def main() -> None:
    """Do what the command line says."""
    manager = LocalContainerManager(f"bench-target-{models.PORT}", models.PORT, models.PORT2)
    if sys.argv[1:] == ["start"]:
        start(manager, models.WORKLOAD)
    else:
        manager.stop_all(graceful=False)


if __name__ == "__main__":
    main()
