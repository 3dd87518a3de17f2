"""The Markdown of a run: what was wanted and reached, then every figure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from tests.benchmarks import machine
from tests.benchmarks.figures import Figure, format_value
from tests.benchmarks.install import read_size
from tests.benchmarks.loads import Loads, Step, median_of
from tests.benchmarks.measured_server import OUR_NAME, ServerError, find_server
from tests.benchmarks.records import Record
from tests.benchmarks.wanted import judge
from tests.benchmarks.workloads import TITLES

NOTHING = "–"


def render(records: Sequence[Record]) -> str:
    """Return the report of a run, finished or not."""
    loads = Loads(records)
    parts = [_render_head(records)]
    if loads.targets:
        parts.append("## Beside the peers: wanted and reached\n\n" + render_figures(judge(loads)))
        parts.append(_render_rates(loads))
        parts.append(_render_latencies(loads))
        parts.append(_render_servers(loads))
    for group, figures in group_figures(records).items():
        parts.append(f"## {group}\n\n{render_figures(figures)}")
    left_out = [f"- {record['group']}: {record['reason']}" for record in records if record["kind"] == "left-out"]
    if left_out:
        parts.append("## Left out\n\n" + "\n".join(left_out))
    return "\n\n".join(parts) + "\n"


def group_figures(records: Iterable[Record]) -> dict[str, list[Figure]]:
    """Return the figures of life cycle and experiments by group, in the order of the run."""
    groups: dict[str, list[Figure]] = {}
    for record in records:
        if record["kind"] == "figure":
            groups.setdefault(record["group"], []).append(Figure.from_record(record))
    return groups


def _render_head(records: Sequence[Record]) -> str:
    begins = [record for record in records if record["kind"] == "begin"]
    ended = bool(records) and records[-1]["kind"] == "end"
    lines = ["# Benchmarks", machine.name(begins[0]["machine"])]
    commits = list(dict.fromkeys(record["machine"]["commit"] for record in begins))
    if len(commits) > 1:
        lines.append(f"Resumed: commits {', '.join(commits)}.")
    if not ended:
        lines.append("This run is not complete.")
    lines.append(
        "Medians of interleaved rounds. The load generator shares the machine with the servers, so compare ratios of "
        "one run, not rates of two machines."
    )
    return "\n\n".join(lines)


def render_table(header: Sequence[str], rows: Iterable[Sequence[str]], texts: Collection[int] = (0,)) -> str:
    """Return a Markdown table; the columns in ``texts`` are aligned left, the others are numbers."""
    rule = ["---" if column in texts else "---:" for column in range(len(header))]
    lines = [header, rule, *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def render_figures(figures: Iterable[Figure]) -> str:
    """Return a table of figures beside their bounds."""
    rows = [
        [
            figure.name,
            f"{format_value(figure.value)} {figure.unit}".rstrip(),
            NOTHING if figure.bound is None else f"{figure.bound} {figure.unit}".rstrip(),
            figure.verdict,
            figure.note,
        ]
        for figure in figures
    ]
    return render_table(["figure", "value", "wanted", "reached", "note"], rows, texts=(0, 2, 3, 4))


def _render_rates(loads: Loads) -> str:
    peers = [target for target in loads.targets if target != OUR_NAME]
    rows = []
    for step in loads.steps:
        mine = loads.median(OUR_NAME, step)
        cells = [str(step), NOTHING if mine is None else f"**{mine:,.0f}**"]
        rows.append(cells + [_rate_cell(loads, peer, step) for peer in peers])
    titles = "\n".join(f"- {TITLES[workload]}" for workload in loads.workloads)
    table = render_table(["predictions/s", OUR_NAME, *peers], rows)
    return (
        "## Rates\n\nIn brackets: how many times a peer's rate ours is. Closed loop at c connections; the open loop is "
        f"the highest Poisson rate with p99 under its limit.\n\n{titles}\n\n{table}"
    )


def _rate_cell(loads: Loads, peer: str, step: Step) -> str:
    rate, ratio = loads.median(peer, step), loads.ratio(OUR_NAME, peer, step)
    if rate is None:
        return NOTHING
    return f"{rate:,.0f}" if ratio is None else f"{rate:,.0f} ({format_value(ratio)}x)"


def _render_latencies(loads: Loads) -> str:
    rows = []
    for step in loads.steps:
        cells = [str(step)]
        for target in loads.targets:
            p50, p99 = loads.median(target, step, "p50_ms"), loads.median(target, step, "p99_ms")
            known = p50 is not None and p99 is not None
            cells.append(f"{format_value(p50)} / {format_value(p99)}" if known else NOTHING)  # type: ignore[arg-type]
        rows.append(cells)
    return "## Latencies\n\n" + render_table(["p50 / p99, ms", *loads.targets], rows)


def _render_servers(loads: Loads) -> str:
    header = ["server", "settings", "start, s", "PSS w1, MiB", "CPU ms/request", "failures", "spread", "venv, MiB"]
    rows = []
    for target in loads.targets:
        last = [row for row in loads.pick("closed", target, "w1") if row["cpu_s"] is not None and row["requests"]]
        cpu_ms = [{"value": 1e3 * row["cpu_s"] / row["requests"]} for row in last]
        spread = max((loads.spread(target, step) for step in loads.steps), default=0.0)
        rows.append(
            [
                target,
                _settings(target),
                _cell(median_of(loads.pick("start", target), "seconds")),
                _cell(median_of(loads.pick("memory", target, "w1"), "pss_mib")),
                _cell(median_of(cpu_ms, "value")),
                str(loads.failures(target)),
                f"{spread:.0%}",
                str(read_size(target).get("venv_mib", NOTHING)),
            ]
        )
    note = (
        "Start: from the process to its first answer, median of all workloads. CPU: of the server, median of w1's "
        "steps. Failures: wrong, default and missing answers. Spread: (max - min) / median of the rates over the "
        "rounds, worst step."
    )
    return f"## Servers\n\n{note}\n\n{render_table(header, rows, texts=(0, 1))}"


def _cell(value: float | None) -> str:
    return NOTHING if value is None else format_value(value)


def _settings(target: str) -> str:
    try:
        return find_server(target).spec.settings
    except ServerError:
        return NOTHING
