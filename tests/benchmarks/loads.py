"""The records of the loads, and medians over their rounds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks.measured_server import OUR_NAME
from tests.benchmarks.records import Record

OPEN = "open loop"
REFERENCE = "mosec"
ORDER = (
    OUR_NAME,
    REFERENCE,
    "fastapi-uvicorn",
    "gunicorn-flask",
    "litserve",
    "ray-serve",
    "bentoml",
    "mlserver",
    "pytriton",
    "granian-bottle",
    "nginx-static",
)
"""Of the columns and curves; names that are not here come after ours."""


@dataclass(frozen=True)
class Step:
    """A workload at a number of connections, or in the open loop (None)."""

    workload: str
    connections: int | None

    def __str__(self) -> str:
        return f"{self.workload} {OPEN}" if self.connections is None else f"{self.workload} c={self.connections}"


class Loads:
    """What the loads of a run have measured.

    Parameters
    ----------
    records : sequence of records
        Of a whole run; others than those of loads are passed over.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = [record for record in records if "target" in record]

    @property
    def targets(self) -> list[str]:
        """Return the servers, ours first."""
        found = dict.fromkeys(record["target"] for record in self._records)
        known = [name for name in ORDER[1:] if name in found]
        ours = [name for name in found if name not in ORDER[1:]]
        return sorted(ours, key=lambda name: name != OUR_NAME) + known

    @property
    def steps(self) -> list[Step]:
        """Return what was measured, in the order of the tables."""
        closed = {Step(r["workload"], r["connections"]) for r in self._records if r["kind"] == "closed"}
        opened = {Step(r["workload"], None) for r in self._records if r["kind"] == "open"}
        return sorted(closed | opened, key=lambda step: (step.workload, step.connections or 1 << 30))

    @property
    def workloads(self) -> list[str]:
        """Return the workloads, in order."""
        return sorted({record["workload"] for record in self._records})

    def pick(self, kind: str, target: str, workload: str | None = None) -> list[Record]:
        """Return the records of a kind, of one server, of one workload or all."""
        return [
            record
            for record in self._records
            if record["kind"] == kind and record["target"] == target and workload in (None, record["workload"])
        ]

    def at(self, target: str, step: Step) -> list[Record]:
        """Return the records of one server at one step, one a round."""
        if step.connections is None:
            return self.pick("open", target, step.workload)
        rows = self.pick("closed", target, step.workload)
        return [row for row in rows if row["connections"] == step.connections]

    def median(self, target: str, step: Step, field: str = "rate") -> float | None:
        """Return the median of a field over the rounds, None if it was not measured."""
        return median_of(self.at(target, step), field)

    def ratio(self, target: str, peer: str, step: Step) -> float | None:
        """Return the rate of ``target`` by that of ``peer``; infinite if the peer held none."""
        mine, theirs = self.median(target, step), self.median(peer, step)
        if mine is None or theirs is None:
            return None
        return mine / theirs if theirs else float("inf")

    def failures(self, target: str) -> int:
        """Return how many queries of the closed loops had no right answer."""
        return sum(row["bad"] + row["errors"] for row in self.pick("closed", target))

    def spread(self, target: str, step: Step) -> float:
        """Return (max - min) / median of the rates over the rounds."""
        rates = [row["rate"] for row in self.at(target, step)]
        middle = statistics.median(rates) if rates else 0.0
        return (max(rates) - min(rates)) / middle if middle else 0.0


def median_of(rows: Sequence[Record], field: str) -> float | None:
    """Return the median of a field, None if no row has it."""
    values = [row[field] for row in rows if row.get(field) is not None]
    return statistics.median(values) if values else None
