"""Run the benchmarks: ``python -m tests.benchmarks.run``, ``--quick`` for three minutes without peers.

A run that was cut off goes on where it stopped when it is started again with the same options.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from tests.benchmarks import lock, machine, picture, readme, report
from tests.benchmarks.closed_loop import WrkMissingError, require_wrk
from tests.benchmarks.install import install_all, list_peers
from tests.benchmarks.measured_server import OUR_DIRECTORY, OUR_NAME, MeasuredServer, ServerError, find_server
from tests.benchmarks.plan import LOAD, PARTS, QUICK, Options, Unit, make_units, options_record
from tests.benchmarks.records import OtherRunError, Records

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
DEFAULT_PEERS = ("mosec", "ray-serve", "fastapi-uvicorn", "gunicorn-flask", "litserve")
QUICK_LIMIT_MINUTES = 3.0
FULL_LIMIT_MINUTES = 180.0


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.run", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three minutes, no peers; results in results/quick")
    parser.add_argument(
        "--peers", help=f"comma-separated, installed if they are not; 'none'. There are: {', '.join(list_peers())}"
    )
    parser.add_argument(
        "--target", action="append", default=[], metavar="NAME=DIR|URL", help=f"beside {OUR_NAME}; repeatable"
    )
    parser.add_argument("--only", help=f"comma-separated parts; results in results/part. {', '.join(PARTS)}")
    parser.add_argument("--workloads", help="comma-separated, of w1,w2,w3,w4")
    parser.add_argument("--seconds", type=int, help="of each closed-loop step")
    parser.add_argument("--rounds", type=int, help="of the loads")
    parser.add_argument("--patience", type=float, help="seconds that each step waits for a quiet machine")
    parser.add_argument("--minutes", type=float, help="begin nothing new after so many; a later run goes on")
    parser.add_argument("--fresh", action="store_true", help="begin anew, even if an unfinished run could go on")
    parser.add_argument("--out", type=Path, help="directory of the results")
    parser.add_argument("--lock", type=Path, default=lock.DEFAULT_PATH, help="held, so that two runs never overlap")
    parser.add_argument("--report", action="store_true", help="only write the report and the picture again")
    arguments = parser.parse_args(words)
    for option, allowed in (("only", PARTS), ("peers", (*list_peers(), "none"))):
        if unknown := set(_split(getattr(arguments, option))) - set(allowed):
            parser.error(f"--{option}: unknown: {', '.join(sorted(unknown))}; there are {', '.join(allowed)}")
    return arguments


def _split(text: str | None) -> tuple[str, ...]:
    return tuple(filter(None, (text or "").split(",")))


def make_options(arguments: argparse.Namespace) -> Options:
    """Return what the command line asks for, as options of a run."""
    options = QUICK if arguments.quick else Options(peers=DEFAULT_PEERS)
    changes: dict[str, Any] = {
        "peers": tuple(name for name in _split(arguments.peers) if name != "none") if arguments.peers else None,
        "parts": _split(arguments.only) or None,
        "workloads": _split(arguments.workloads) or None,
        "seconds": arguments.seconds,
        "rounds": arguments.rounds,
        "patience_s": arguments.patience,
    }
    return replace(options, **{name: value for name, value in changes.items() if value is not None})


def choose_directory(arguments: argparse.Namespace) -> Path:
    """Return where the results go: only a whole run writes where the README looks."""
    if arguments.out:
        return Path(arguments.out)
    if arguments.quick:
        return RESULTS / "quick"
    return RESULTS / "part" if arguments.only or arguments.workloads else RESULTS


def find_servers(options: Options, targets: Sequence[str]) -> list[MeasuredServer]:
    """Return the servers to load: ours, those on the command line, and the peers that can be installed."""
    if LOAD not in options.parts:
        return []
    servers = [MeasuredServer(*target.split("=", 1)) for target in targets]
    if not any(server.name == OUR_NAME for server in servers):
        servers.insert(0, MeasuredServer(OUR_NAME, OUR_DIRECTORY))
    return servers + [find_server(name) for name in install_all(options.peers)]


@dataclass
class Tally:
    """How a run has ended."""

    failed: int = 0
    postponed: int = 0

    @property
    def is_complete(self) -> bool:
        """Tell whether every unit was done."""
        return not self.failed and not self.postponed


def do_units(units: Sequence[Unit], records: Records, minutes: float, begin_s: float) -> Tally:
    """Do the units that are not done, as long as there is time; a failing one does not stop the others."""
    tally = Tally()
    todo = [unit for unit in units if unit.name not in records.done]
    for number, unit in enumerate(todo, 1):
        left_s = 60 * minutes - (time.monotonic() - begin_s)
        if left_s < unit.seconds:
            tally.postponed += 1
            continue
        print(f"[{number}/{len(todo)}] {unit.title} ({unit.name})", flush=True)
        try:
            records.add(unit.name, unit.work())
        except Exception as error:
            tally.failed += 1
            print(f"  FAILED: {error}", flush=True)
            traceback.print_exc()
    return tally


def write_report(records: Records, directory: Path) -> None:
    """Write ``report.md`` and the picture, and say where; of a whole run, the figures in the README too."""
    text = report.render(records.all)
    path = directory / "report.md"
    path.write_text(text)
    print(f"\n{text}\n{path}", flush=True)
    if directory == RESULTS:
        readme.update(records.all)
    for drawn in picture.draw(records.all, directory):
        print(drawn, flush=True)


def run(arguments: argparse.Namespace) -> int:
    """Measure; return the exit status: 0 if everything that was asked for was measured."""
    options, directory = make_options(arguments), choose_directory(arguments)
    records = Records(directory / "records.jsonl")
    if arguments.report:
        records.load()
        write_report(records, directory)
        return 0
    begin_s = time.monotonic()
    require_wrk()
    with lock.hold(arguments.lock):
        units = make_units(options, find_servers(options, arguments.target))
        header = {"machine": machine.describe(), "options": options_record(options)}
        if records.open(header, fresh=arguments.fresh or arguments.quick):
            print(f"going on with the run in {records.path}", flush=True)
        limit = QUICK_LIMIT_MINUTES if arguments.quick else FULL_LIMIT_MINUTES
        tally = do_units(units, records, arguments.minutes or limit, begin_s)
        if tally.is_complete:
            records.end()
    write_report(records, directory)
    if not tally.is_complete:
        hint = "" if arguments.quick else " Run again to go on."
        print(f"\n{tally.failed} failed, {tally.postponed} left for lack of time.{hint}", flush=True)
    return 0 if not tally.failed else 1


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def main() -> int:
    """Run what the command line asks for."""
    signal.signal(signal.SIGTERM, _end)  # as an exception, so that every server and cluster is stopped
    try:
        return run(parse_arguments())
    except (WrkMissingError, lock.BusyError, OtherRunError, ServerError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
