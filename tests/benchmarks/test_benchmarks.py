"""The benchmarks' own bookkeeping: what is counted as right, resumed runs, the lock, ratios, the report."""

import json
import os
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.benchmarks import lock, open_loop, picture, process_tree, readme, report, workloads
from tests.benchmarks.closed_loop import run_closed_loop
from tests.benchmarks.figures import Figure, at_least, at_most
from tests.benchmarks.load import is_held
from tests.benchmarks.loads import Loads, Step
from tests.benchmarks.measured_server import MeasuredServer, ServerError, find_server
from tests.benchmarks.plan import Options, make_units
from tests.benchmarks.records import OtherRunError, Record, Records, read_records
from tests.benchmarks.run import RESULTS
from tests.benchmarks.served import models
from tests.benchmarks.wanted import judge

MACHINE = {
    "date": "2026-01-01",
    "processor": "a processor",
    "cores": 2,
    "memory_gib": 24,
    "system": "Linux",
    "python": "3.11",
    "commit": "abc",
}
BAD = '"default":true'


# ---- requests and answers


@pytest.mark.parametrize("workload", ["w1", "w2", "w3", "w4"])
def test_models_give_the_answers_that_are_checked(workload: str) -> None:
    samples = workloads.make_samples(workload)
    assert len(samples) == 64
    assert models.load(workload)([sample.row for sample in samples]) == [sample.output for sample in samples]


@pytest.mark.parametrize(
    "text",
    [
        '{"query_id":7,"output":6.5,"default":false}',
        "[6.5]",
        '{"outputs":[{"name":"output","data":[6.5]}]}',
        '{"output":"6.5"}',
    ],
)
def test_answers_are_read_in_every_protocol(text: str) -> None:
    assert workloads.parse_answer(text) == 6.5


@pytest.mark.parametrize("text", ["{}", "[]", '{"error":"x"}'])
def test_an_answer_without_a_prediction_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        workloads.parse_answer(text)


@pytest.mark.parametrize("protocol", ["plain", "batch-of-one", "v2"])
@pytest.mark.parametrize("workload", ["w1", "w2", "w4"])
def test_a_query_knows_the_range_of_its_answers(protocol: str, workload: str) -> None:
    query = workloads.make_query(protocol, workload)
    assert query.body.count(workloads.MARK) == 1
    for digits in ("000000000", "500000001", "999999999"):
        body = json.loads(query.body.replace(workloads.MARK, digits))
        row = body["inputs"][0]["data"] if protocol == "v2" else body["input"]
        row = row[0] if protocol == "batch-of-one" else row
        assert query.low <= sum(row) <= query.high


# ---- load generators, against a server whose answers are known


class _Script(BaseHTTPRequestHandler):
    """Answers in turn: right, default, wrong, refused."""

    protocol_version = "HTTP/1.1"
    turn = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).turn += 1
        status, body = [
            (200, '{"output":12.5,"default":false}'),
            (200, '{"output":12.5,"default":true}'),
            (200, '{"output":99,"default":false}'),
            (503, '{"error":"overloaded"}'),
        ][type(self).turn % 4]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def scripted_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Script)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/x/predict"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_closed_loop_counts_only_right_answers(scripted_url: str) -> None:
    query = workloads.Query(f'{{"input": [12.{workloads.MARK}]}}', workloads.make_query("plain", "w1").pattern, 12, 13)
    loop = run_closed_loop(scripted_url, query, connections=1, seconds=1, bad=BAD)
    assert loop.requests > 8
    assert loop.bad == pytest.approx(loop.requests * 3 / 4, abs=2)
    assert loop.errors == 0
    assert loop.failures == loop.bad
    assert "output" in loop.example or "error" in loop.example


def test_open_loop_tells_the_kinds_of_answers_apart(scripted_url: str) -> None:
    load = open_loop.OpenLoad(scripted_url, f'{{"input": [12.{workloads.MARK}]}}', 200.0, 0.5, 4, BAD)
    loop = open_loop.run_open_loop(load)
    assert loop.errors == 0
    assert loop.answered == pytest.approx(100, abs=40)
    assert loop.default == pytest.approx(loop.answered / 4, abs=2)
    assert loop.refused == pytest.approx(loop.answered / 4, abs=2)
    assert not is_held(loop, limit_ms=1e9)


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", False),
    ],
)
def test_a_response_is_whole_or_not(data: bytes, whole: bool) -> None:
    assert open_loop.is_whole(data) is whole


# ---- servers and their processes

PEER = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        import json
        row = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
        body = json.dumps({"output": sum(row)}).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer.request_queue_size = 128
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def make_peer(directory: Path, code: str) -> MeasuredServer:
    (directory / "server.py").write_text(code)
    (directory / "peer.json").write_text(json.dumps({"cmd": ["{bin}/python", "server.py"], "path": "/{workload}"}))
    return MeasuredServer("some-peer", directory)


def test_a_server_is_started_checked_watched_and_stopped(tmp_path: Path) -> None:
    server = make_peer(tmp_path, PEER)
    assert (server.start("w1") or 0.0) > 0
    try:
        assert server.url.endswith("/w1")
        server.check("w1")
        memory = server.measure_memory()
        assert memory.processes == 1
        assert 0 < memory.pss_mib <= memory.rss_mib
        assert server.measure_cpu_s() > 0
    finally:
        server.stop()
    assert server.measure_memory().processes == 0


def test_a_wrong_answer_is_found(tmp_path: Path) -> None:
    server = make_peer(tmp_path, PEER.replace("sum(row)", "sum(row) + (row[0] == 7.25)"))
    server.start("w1")
    try:
        with pytest.raises(ServerError, match="wanted"):
            server.check("w1")
    finally:
        server.stop()


def test_a_server_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    server = make_peer(tmp_path, "raise SystemExit('no such model')")
    with pytest.raises(ServerError, match="no such model"):
        server.start("w1")


def test_processes_are_found_by_their_tag_even_in_another_session() -> None:
    tag = uuid.uuid4().hex
    child = "import sys; sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", child],
        stdin=subprocess.PIPE,
        env={**os.environ, "SOME_TAG": tag},
        start_new_session=True,
    ) as process:
        assert process.pid in process_tree.find_tree(f"SOME_TAG={tag}")
        assert os.getpid() not in process_tree.find_tree(f"SOME_TAG={tag}")
        process_tree.end_tree(f"SOME_TAG={tag}", process.pid)
        assert not process_tree.is_alive(process.pid)


# ---- runs


def test_an_unfinished_run_goes_on_without_what_was_cut_off(tmp_path: Path) -> None:
    path, header = tmp_path / "records.jsonl", {"machine": MACHINE, "options": {"rounds": 1}}
    first = Records(path)
    assert first.open(header) is False
    first.add("a", [Figure(name, 1.0, "s").to_record("Start") for name in ("local", "Docker")])
    with path.open("a") as file:
        file.write('{"unit": "b", "kind": "fig')

    second = Records(path)
    assert second.open(header) is True
    assert second.done >= {"a"}
    assert "b" not in second.done
    assert [record["kind"] for record in second.all] == ["begin", "figure", "figure", "begin"]

    with pytest.raises(OtherRunError):
        Records(path).open({**header, "options": {"rounds": 2}})

    second.end()
    third = Records(path)
    assert third.open({**header, "options": {"rounds": 2}}) is False
    assert third.done == {""}


def test_two_runs_never_overlap(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock.hold(path), pytest.raises(lock.BusyError, match=str(os.getpid())), lock.hold(path):
        pass
    with lock.hold(path):
        pass


def test_units_are_unique_and_the_order_turns() -> None:
    servers = [find_server(name) for name in ("mosec", "litserve", "granian-bottle")]
    units = make_units(Options(parts=("load",), rounds=2), servers)
    names = [unit.name for unit in units]
    assert len(set(names)) == len(names)
    assert names[:3] == ["load/0/w1/mosec", "load/0/w1/litserve", "load/0/w1/granian-bottle"]
    assert names[len(names) // 2] == "load/1/w1/litserve"
    assert not any(name.endswith("w3/granian-bottle") for name in names)


# ---- figures and the report


@pytest.mark.parametrize(
    ("figure", "verdict"),
    [
        (Figure("x", 0.95, bound=at_least(0.95)), "yes"),
        (Figure("x", 0.94, bound=at_least(0.95)), "no"),
        (Figure("x", 2.0, "s", at_most(2.0)), "yes"),
        (Figure("x", 2.1, "s", at_most(2.0)), "no"),
        (Figure("x", 2.1, "s"), "–"),
    ],
)
def test_a_figure_is_judged_by_its_bound(figure: Figure, verdict: str) -> None:
    assert figure.verdict == verdict
    assert Figure.from_record(figure.to_record("group")) == figure


def closed(target: str, rate: float, connections: int = 64, round_: int = 0, bad: int = 0) -> Record:
    return {
        "kind": "closed",
        "unit": f"load/{round_}/w1/{target}",
        "target": target,
        "workload": "w1",
        "connections": connections,
        "rate": rate,
        "p50_ms": 1.0,
        "p99_ms": 2.0,
        "requests": 1000,
        "bad": bad,
        "errors": 0,
        "example": "",
        "cpu_s": 1.0,
        "other_cores": 0.0,
    }


def test_ratios_are_of_medians_and_judged() -> None:
    records = [closed("ours", rate, round_=i) for i, rate in enumerate([100.0, 120.0, 500.0])]
    records += [closed("mosec", rate, round_=i) for i, rate in enumerate([90.0, 100.0, 110.0])]
    loads = Loads(records)
    assert loads.targets == ["ours", "mosec"]
    assert loads.ratio("ours", "mosec", Step("w1", 64)) == pytest.approx(1.2)
    judged = {figure.name: figure for figure in judge(loads)}
    wanted = judged["w1 c=64, rate by mosec's"]
    assert wanted.verdict == "yes"
    assert "aim 1.25: no" in wanted.note


def test_a_default_answer_is_a_failure_that_the_report_shows() -> None:
    loads = Loads([closed("ours", 100.0, bad=3)])
    judged = {figure.name: figure.verdict for figure in judge(loads)}
    assert judged["wrong, default or missing answers"] == "no"


def test_the_report_names_the_machine_and_has_every_figure(tmp_path: Path) -> None:
    records: list[Record] = [
        {"kind": "begin", "unit": "", "machine": MACHINE, "options": {}},
        closed("ours", 120.0),
        closed("mosec", 100.0),
        {"unit": "experiment/x", **Figure("goodput", 0.97, bound=at_least(0.9)).to_record("Overload")},
        {"unit": "experiment/y", "kind": "left-out", "group": "Docker", "reason": "no Docker engine answers"},
    ]
    text = report.render(records)
    assert "2 cores (a processor)" in text
    assert "This run is not complete." in text
    assert "| w1 c=64 | **120** | 100 (1.20x) |" in text
    assert "| goodput | 0.970 | at least 0.9 | yes |" in text
    assert "- Docker: no Docker engine answers" in text
    assert "not complete" not in report.render([*records, {"kind": "end", "unit": ""}])


def test_the_readme_has_the_figures_of_the_last_full_run(tmp_path: Path) -> None:
    records = read_records(RESULTS / "records.jsonl")
    assert readme.render(records) in readme.PATH.read_text()


def test_the_figures_in_a_readme_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"before\n{readme.BEGIN}old\n{readme.END}after\n")
    records = [{"kind": "begin", "unit": "", "machine": MACHINE, "options": {}}, closed("ours", 1234.0)]
    readme.update(records, path)
    assert "| w1 c=64 | **1,234** |" in path.read_text()
    assert "old" not in path.read_text() and path.read_text().endswith(f"{readme.END}after\n")


def test_the_picture_is_drawn_for_both_grounds(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    records = [closed(target, 100.0 * c, c) for target in ("ours", "mosec") for c in (1, 16)]
    paths = picture.draw(records, tmp_path)
    assert [path.name for path in paths] == ["throughput-light.svg", "throughput-dark.svg"]
    assert all(path.read_text().startswith("<?xml") for path in paths)
    assert picture.draw([], tmp_path) == []
