"""The figures in the README: the block between two marks, written from the records of the last full run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks import machine
from tests.benchmarks.loads import Loads, Step
from tests.benchmarks.measured_server import OUR_NAME
from tests.benchmarks.records import Record
from tests.benchmarks.report import NOTHING, render_table
from tests.benchmarks.workloads import TITLES

PATH = Path(__file__).resolve().parents[2] / "README.md"
BEGIN, END = "<!-- figures of the last full run: begin -->\n", "<!-- figures of the last full run: end -->\n"
STEPS = (
    *(Step("w1", connections) for connections in (1, 16, 64, 256, None)),
    *(Step(workload, 64) for workload in ("w2", "w3", "w4")),
)


def render(records: Sequence[Record]) -> str:
    """Return the block: the machine, and the rates beside the peers'."""
    loads = Loads(records)
    rows = [[str(step), *(_rate(loads, target, step) for target in loads.targets)] for step in STEPS]
    titles = "; ".join(TITLES[workload] for workload in loads.workloads)
    begun = next(record for record in records if record["kind"] == "begin")
    return (
        f"{render_table(['predictions/s', *loads.targets], rows)}\n\n"
        f"{titles}. Medians of interleaved rounds on {machine.name(begun['machine'])}\n"
    )


def _rate(loads: Loads, target: str, step: Step) -> str:
    rate = loads.median(target, step)
    if rate is None:
        return NOTHING
    return f"**{rate:,.0f}**" if target == OUR_NAME else f"{rate:,.0f}"


def update(records: Sequence[Record], path: Path = PATH) -> None:
    """Replace the block in the README.

    Raises
    ------
    ValueError
        If the marks are not there.
    """
    text = path.read_text()
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    path.write_text(text[:begin] + render(records) + text[end:])
