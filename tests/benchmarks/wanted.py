"""What is wanted of the predict path beside its peers, and whether a run has reached it."""

from __future__ import annotations

from dataclasses import dataclass

from tests.benchmarks.figures import Figure, at_least, at_most, format_value
from tests.benchmarks.loads import REFERENCE, Loads, Step
from tests.benchmarks.measured_server import OUR_NAME


@dataclass(frozen=True)
class Ratio:
    """A rate wanted, as a multiple of a peer's; ``aim`` is what would be better still."""

    workload: str
    connections: int | None
    least: float
    aim: float | None = None
    peer: str = REFERENCE

    @property
    def step(self) -> Step:
        """Return where it is measured."""
        return Step(self.workload, self.connections)


RATIOS = (
    Ratio("w1", 1, 8.0),
    Ratio("w1", 16, 4.5),
    Ratio("w1", 64, 1.15, 1.25),
    Ratio("w1", 256, 1.0, 1.25),
    Ratio("w1", None, 1.1, 1.25),
    Ratio("w2", 64, 2.0),
    Ratio("w3", 1, 2.0),
    Ratio("w3", 64, 1.1),
    Ratio("w3", 256, 1.1),
    Ratio("w3", None, 1.2),
    Ratio("w4", 1, 1.2),
    Ratio("w4", 64, 1.1),
    Ratio("w4", 256, 1.15),
    Ratio("w1", 64, 100.0, peer="ray-serve"),
)
P50_MS = 0.45
P50_AIM_PEER = "fastapi-uvicorn"
MEMORY_MIB = 30.0


def judge(loads: Loads) -> list[Figure]:
    """Return the figures that this run can judge: those of ours, and of ours beside the peers that took part."""
    judged = [_judge_ratio(loads, ratio) for ratio in RATIOS]
    judged += [_judge_p50(loads), _judge_memory(loads), _judge_answers(loads)]
    return [figure for figure in judged if figure is not None]


def _judge_ratio(loads: Loads, wanted: Ratio) -> Figure | None:
    value = loads.ratio(OUR_NAME, wanted.peer, wanted.step)
    if value is None:
        return None
    mine, theirs = loads.median(OUR_NAME, wanted.step), loads.median(wanted.peer, wanted.step)
    note = f"{mine:,.0f}/s by {theirs:,.0f}/s"
    if wanted.aim is not None:
        note += f"; aim {wanted.aim:g}: {'yes' if value >= wanted.aim else 'no'}"
    return Figure(f"{wanted.step}, rate by {wanted.peer}'s", value, bound=at_least(wanted.least), note=note)


def _judge_p50(loads: Loads) -> Figure | None:
    step = Step("w1", 1)
    value = loads.median(OUR_NAME, step, "p50_ms")
    if value is None:
        return None
    theirs = loads.median(P50_AIM_PEER, step, "p50_ms")
    note = "" if theirs is None else f"aim, under {P50_AIM_PEER}'s {format_value(theirs)} ms: "
    note += "" if theirs is None else "yes" if value < theirs else "no"
    return Figure(f"{step}, p50", value, "ms", at_most(P50_MS), note)


def _judge_memory(loads: Loads) -> Figure | None:
    mine, theirs = _pss(loads, OUR_NAME), _pss(loads, REFERENCE)
    if mine is None or theirs is None:
        return None
    note = f"{mine:.0f} MiB beside {theirs:.0f} MiB"
    return Figure(f"w1, memory (PSS) beyond {REFERENCE}'s", mine - theirs, "MiB", at_most(MEMORY_MIB), note)


def _judge_answers(loads: Loads) -> Figure | None:
    rows = loads.pick("closed", OUR_NAME)
    if not rows:
        return None
    example = next((row["example"] for row in rows if row["example"]), "")
    total = sum(row["requests"] for row in rows)
    note = f"of {total:,} in all closed loops" + (f"; {example}" if example else "")
    return Figure("wrong, default or missing answers", loads.failures(OUR_NAME), bound=at_most(0), note=note)


def _pss(loads: Loads, target: str) -> float | None:
    rows = [row["pss_mib"] for row in loads.pick("memory", target, "w1")]
    return sorted(rows)[len(rows) // 2] if rows else None
