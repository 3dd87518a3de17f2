"""The picture of a run: throughput and p99 against the number of connections, one column a workload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.loads import Loads
from tests.benchmarks.measured_server import OUR_NAME
from tests.benchmarks.records import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHORT_TITLES = {
    "w1": "w1: sum of 10 doubles",
    "w2": "w2: sum of 1,000 doubles",
    "w3": "w3: random forest",
    "w4": "w4: 10 ms a batch",
}
FIELDS = {"rate": "predictions/s", "p99_ms": "p99, ms"}
MARKERS = "osD^vP*XhH<"


@dataclass(frozen=True)
class Theme:
    """Colours of a picture. Each picture has its own ground, so either can be read anywhere.

    Colours of the curves: Okabe and Ito's, which the colour-blind tell apart; lighter on the dark ground.
    """

    name: str
    ground: str
    ink: str
    grid: str
    ours: str
    others: tuple[str, ...]


THEMES = (
    Theme(
        "light",
        "#ffffff",
        "#1f2328",
        "#d8dee4",
        "#d55e00",
        ("#0072b2", "#009e73", "#a3508a", "#6b6b6b", "#8a6d00", "#2f9bd6", "#5b4bb3", "#3b7a57", "#999999", "#444444"),
    ),
    Theme(
        "dark",
        "#0d1117",
        "#e6edf3",
        "#30363d",
        "#ff9248",
        ("#56b4e9", "#2fc79b", "#e39ccb", "#b0b0b0", "#e6c33c", "#9fd4f5", "#a99cf0", "#8fd3ae", "#d0d0d0", "#888888"),
    ),
)


def draw(records: Sequence[Record], directory: Path) -> list[Path]:
    """Draw the picture in each theme; return the files, none if there was no load.

    Files: ``throughput-light.svg`` and ``throughput-dark.svg``.
    """
    loads = Loads(records)
    return [_draw(loads, theme, directory / f"throughput-{theme.name}.svg") for theme in THEMES if loads.workloads]


def _draw(loads: Loads, theme: Theme, path: Path) -> Path:
    import matplotlib as mpl

    # A context: the settings of whoever imports this stay as they are.
    with mpl.rc_context({"svg.hashsalt": "clipper_magic", "font.size": 9, "font.family": "sans-serif"}):
        from matplotlib.figure import Figure

        columns = loads.workloads
        figure = Figure(figsize=(3.0 * max(2, len(columns)), 5.6), facecolor=theme.ground, layout="constrained")
        axes = figure.subplots(len(FIELDS), len(columns), squeeze=False, sharex=True, sharey="row")
        for column, workload in enumerate(columns):
            axes[0][column].set_title(SHORT_TITLES[workload], color=theme.ink, fontsize=10)
            for row, field in enumerate(FIELDS):
                _draw_panel(axes[row][column], loads, workload, field, theme)
            axes[-1][column].set_xlabel("connections", color=theme.ink)
        for row, label in enumerate(FIELDS.values()):
            axes[row][0].set_ylabel(label, color=theme.ink)
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(
            handles[::-1],
            labels[::-1],
            loc="outside lower center",
            ncols=6,
            frameon=False,
            labelcolor=theme.ink,
            fontsize=9,
        )
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    return path


def _draw_panel(axes: Axes, loads: Loads, workload: str, field: str, theme: Theme) -> None:
    axes.set_facecolor(theme.ground)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    ticks = sorted({step.connections for step in loads.steps if step.connections})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}" if value < 1000 else f"{value / 1000:,g}k")
    axes.grid(True, color=theme.grid, linewidth=0.7)
    axes.tick_params(colors=theme.ink, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    others = [target for target in loads.targets if target != OUR_NAME]
    for target in reversed(loads.targets):  # ours last, on top
        points = _points(loads, target, workload, field)
        mine = target == OUR_NAME
        index = 0 if mine else others.index(target)
        style: dict[str, Any] = {
            "color": theme.ours if mine else theme.others[index % len(theme.others)],
            "linewidth": 2.6 if mine else 1.3,
            "marker": "o" if mine else MARKERS[1 + index % (len(MARKERS) - 1)],
            "markersize": 5 if mine else 4,
        }
        axes.plot(
            *zip(*points, strict=True) if points else ([], []), label="clipper_magic" if mine else target, **style
        )


def _points(loads: Loads, target: str, workload: str, field: str) -> list[tuple[int, float]]:
    """Return (connections, median) of a server's closed loops."""
    points = []
    for step in loads.steps:
        value = loads.median(target, step, field) if step.workload == workload else None
        if step.connections is not None and value:
            points.append((step.connections, value))
    return points
