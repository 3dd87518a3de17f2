"""What a run measures, in which order: a list of units, each done once and written when it is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.benchmarks import experiments
from tests.benchmarks.clusters import LeftOutError, require_docker
from tests.benchmarks.comparison import Effort
from tests.benchmarks.figures import Figure
from tests.benchmarks.lifecycle import measure_frontend_start, measure_lifecycle
from tests.benchmarks.load import LoadOptions, measure_load
from tests.benchmarks.loads import REFERENCE
from tests.benchmarks.measured_server import OUR_NAME, MeasuredServer
from tests.benchmarks.records import Record

LIFECYCLE, LOAD = "lifecycle", "load"
PARTS = (LIFECYCLE, LOAD, *experiments.NAMES)
EVERY_ROUND = (OUR_NAME, REFERENCE)
"""Servers whose open loop is searched in every round; the others' in the first, as a search takes its time."""


@dataclass(frozen=True)
class Options:
    """What to measure, and how thoroughly. Two runs with equal options measure the same."""

    parts: tuple[str, ...] = PARTS
    peers: tuple[str, ...] = ()
    workloads: tuple[str, ...] = ("w1", "w2", "w3", "w4")
    open_workloads: tuple[str, ...] = ("w1", "w3")
    connections: tuple[int, ...] = (1, 16, 64, 256)
    rounds: int = 3
    seconds: int = 5
    warm_up_s: int = 2
    open_steps: int = 6
    open_seconds: int = 3
    patience_s: float = 30.0
    tries: int = 3
    lives: int = 5
    backends: tuple[str, ...] = ("local", "docker")
    effort_seconds: int = 3
    effort_rounds: int = 3

    @property
    def effort(self) -> Effort:
        """Return the effort of the experiments."""
        return Effort(self.effort_seconds, self.effort_rounds, self.patience_s)


QUICK = Options(
    parts=(LIFECYCLE, LOAD, "overload", "batching"),
    open_workloads=("w1",),
    rounds=1,
    seconds=2,
    warm_up_s=1,
    open_steps=4,
    open_seconds=2,
    patience_s=1.0,
    tries=1,
    lives=3,
    backends=("local",),
    effort_seconds=1,
    effort_rounds=1,
)
"""Three minutes, no peers."""


@dataclass(frozen=True)
class Unit:
    """What is measured in one piece.

    Attributes
    ----------
    name : str
        Unique in a run.
    title : str
        The heading that its figures stand under.
    work : callable
        Measures, and returns the records.
    seconds : float
        What it takes on a quiet machine, roughly: it is not begun with less time left.
    """

    name: str
    title: str
    work: Callable[[], Sequence[Record]]
    seconds: float = 10.0


def make_units(options: Options, servers: Sequence[MeasuredServer]) -> list[Unit]:
    """Return the units of a run, in order: life cycle, loads in interleaved rounds, experiments."""
    units: list[Unit] = []
    if LIFECYCLE in options.parts:
        units += _lifecycle_units(options)
    if LOAD in options.parts:
        units += _load_units(options, servers)
    for name in experiments.NAMES:
        if name in options.parts:
            experiment = experiments.find(name)
            units.append(
                _figure_unit(f"experiment/{name}", experiment.TITLE, partial(experiment.measure, options.effort))
            )
    return units


def _lifecycle_units(options: Options) -> list[Unit]:
    units = [
        _figure_unit(
            "lifecycle/frontend", "Query frontend", partial(measure_frontend_start, options.lives), options.lives
        )
    ]
    for backend in options.backends:
        title = f"Life cycle, {backend} backend"
        units.append(_figure_unit(f"lifecycle/{backend}", title, partial(_measure_lifecycle, backend, options.lives)))
    return units


def _measure_lifecycle(backend: str, lives: int) -> list[Figure]:
    if backend == "docker":
        require_docker()
    return measure_lifecycle(backend, lives)


def _figure_unit(name: str, title: str, measure: Callable[[], list[Figure]], seconds: float = 15.0) -> Unit:
    def work() -> list[Record]:
        try:
            figures = measure()
        except LeftOutError as reason:
            print(f"  left out: {reason}", flush=True)
            return [{"kind": "left-out", "group": title, "reason": str(reason)}]
        for figure in figures:
            print(f"  {figure}", flush=True)
        return [figure.to_record(title) for figure in figures]

    return Unit(name, title, work, seconds)


def _load_units(options: Options, servers: Sequence[MeasuredServer]) -> list[Unit]:
    """Return the loads: each server once a round, in an order that turns, so that none is always the first."""
    units = []
    for round_ in range(options.rounds):
        turn = round_ % max(1, len(servers))
        for workload in options.workloads:
            for server in [*servers[turn:], *servers[:turn]]:
                if server.spec.limit and workload in ("w3", "w4"):
                    continue  # a limit line has no model
                name = f"load/{round_}/{workload}/{server.name}"
                load = make_load_options(options, server.name, workload, round_)
                work = partial(measure_load, server, workload, load, _say)
                units.append(Unit(name, f"Load {workload}, round {round_ + 1}", work, _estimate_s(load)))
    return units


def make_load_options(options: Options, server: str, workload: str, round_: int) -> LoadOptions:
    """Return how one server is loaded with one workload in one round."""
    searched = workload in options.open_workloads and (round_ == 0 or server in EVERY_ROUND)
    return LoadOptions(
        connections=options.connections,
        seconds=options.seconds,
        warm_up_s=options.warm_up_s,
        open_steps=options.open_steps if searched else 0,
        open_seconds=options.open_seconds,
        patience_s=options.patience_s,
        tries=options.tries,
    )


def _estimate_s(load: LoadOptions) -> float:
    steps = len(load.connections) * (load.seconds + 0.5) + load.open_steps * (load.open_seconds + 1)
    return 5.0 + load.warm_up_s + steps


def _say(text: str) -> None:
    print(f"  {text}", flush=True)


def options_record(options: Options) -> dict[str, Any]:
    """Return the options as they stand in a file of records."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(options).items()}
