"""Two or more arrangements measured in turn, so that a slow minute of the machine hits each of them alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.benchmarks import machine
from tests.benchmarks.closed_loop import ClosedLoop


@dataclass(frozen=True)
class Effort:
    """How thoroughly an experiment measures.

    Attributes
    ----------
    seconds : int
        Of each step.
    rounds : int
        Each arrangement is measured once a round.
    patience_s : float
        How long each step waits for a quiet machine.
    """

    seconds: int = 3
    rounds: int = 3
    patience_s: float = 30.0


@dataclass(frozen=True)
class Outcome:
    """The medians of an arrangement; ``failures`` counts queries without a right answer, in all rounds."""

    rate: float
    p50_ms: float
    p99_ms: float
    failures: int
    example: str = ""

    @property
    def note(self) -> str:
        """Return what a reader must know: nothing, if every answer was right."""
        return f"{self.failures} queries without a right answer: {self.example}" if self.failures else ""

    def by(self, other: Outcome) -> float:
        """Return this rate as a multiple of another's."""
        return self.rate / other.rate if other.rate else float("inf")


def compare(arrangements: Mapping[str, Callable[[int], ClosedLoop]], effort: Effort) -> dict[str, Outcome]:
    """Measure every arrangement once a round, in an order that turns; return their medians.

    Parameters
    ----------
    arrangements : mapping
        Name to a function that runs a closed loop for so many seconds. Each runs once, unrecorded, to warm up.
    """
    names = list(arrangements)
    loops: dict[str, list[ClosedLoop]] = {name: [] for name in names}
    for name in names:
        arrangements[name](1)
    for round_ in range(effort.rounds):
        turn = round_ % len(names)
        for name in names[turn:] + names[:turn]:
            machine.wait_until_quiet(effort.patience_s)
            loops[name].append(arrangements[name](effort.seconds))
    return {name: summarise(loops[name]) for name in names}


def summarise(loops: list[ClosedLoop]) -> Outcome:
    """Return the medians of several closed loops."""
    return Outcome(
        rate=statistics.median(loop.rate for loop in loops),
        p50_ms=statistics.median(loop.p50_ms for loop in loops),
        p99_ms=statistics.median(loop.p99_ms for loop in loops),
        failures=sum(loop.failures for loop in loops),
        example=next((loop.example for loop in loops if loop.example), ""),
    )


def join_notes(*notes: str) -> str:
    """Return the notes that are not empty, as one."""
    return "; ".join(note for note in notes if note)
