"""What the live panel costs its kernel: CPU a refresh, and what is left behind by five minutes of refreshes."""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.clusters import running
from tests.benchmarks.comparison import Effort
from tests.benchmarks.experiments.models import make_sum
from tests.benchmarks.figures import Figure, at_most
from tests.kernels import Kernel, kernel

TITLE = "Panel (2 refreshes a second)"
APPLICATIONS = 3
SECONDS_FACTOR = 10  # a refresh costs a millisecond or so: it takes many to tell
FIVE_MINUTES = 600  # refreshes

READ = """
import comm, gc, os, threading, time
def cpu_during(seconds):
    before = time.process_time()
    threading.Event().wait(seconds)
    return time.process_time() - before
def left_behind():
    gc.collect()
    comms, files = len(comm.get_comm_manager().comms), len(os.listdir("/dev/fd"))
    return threading.active_count(), comms, files, len(gc.get_objects())
"""
REFRESH = """
panel._ticker.stop()
def refresh(times):
    for _ in range(times):
        panel._look_and_show()
refresh(20)
before = left_behind()
refresh({times})
[now - then for then, now in zip(before, left_behind())]
"""


def measure(effort: Effort) -> list[Figure]:
    """Return the kernel's CPU a refresh beyond an idle kernel's, and the growth over five minutes of refreshes."""
    seconds = SECONDS_FACTOR * effort.seconds
    with running("panel") as cluster, notebook(cluster.name) as made:
        for number in range(APPLICATIONS):
            cluster.serve(f"sum-{number}", make_sum())
        idle_s = float(made.ok(f"{READ}\ncpu_during({seconds})").value)
        made.ok("panel = %clipper panel --rate 2\npanel")
        made.ok("cpu_during(2)")
        cell = f"first = panel._tick\nspent = cpu_during({seconds})\nspent, panel._tick - first"
        busy_s, refreshes = ast.literal_eval(made.ok(cell).value)
        grown = ast.literal_eval(made.ok(REFRESH.format(times=FIVE_MINUTES)).value)
    idle_ms = idle_s / seconds * 1e3
    note = f"{refreshes} refreshes of {APPLICATIONS} applications; an idle kernel uses {idle_ms:.1f} ms a second"
    cost_ms = (busy_s - idle_s) / refreshes * 1e3
    names = ("threads", "comms", "open files")
    return [
        Figure("CPU of the kernel a refresh", cost_ms, "ms", at_most(2.0), note),
        *(
            Figure(f"{name} more after {FIVE_MINUTES} refreshes", more, bound=at_most(0))
            for name, more in zip(names, grown, strict=False)
        ),
        Figure("objects more a refresh", grown[-1] / FIVE_MINUTES, bound=at_most(0.1)),
    ]


@contextmanager
def notebook(cluster_name: str) -> Iterator[Kernel]:
    """Run a kernel that knows the cluster."""
    with tempfile.TemporaryDirectory() as directory:
        environ = {"CLIPPER_BACKEND": "local", "CLIPPER_CLUSTER": cluster_name}
        with kernel(Path(directory), **environ) as made:
            made.ok("%load_ext clipper_magic")
            yield made
