"""In a notebook's kernel: log lines in the cell, cells' source lines in a replica's tracebacks."""

from __future__ import annotations

from collections.abc import Callable

import nbformat
import pytest
from contract_world import LONG_SLO_MICROS
from leftovers import directories_with, processes_with
from nbclient import NotebookClient

from clipper_magic import LocalContainerManager

SETUP = """
from clipper_magic import ClipperConnection, LocalContainerManager
from clipper_magic.deployers import python as python_deployer
connection = ClipperConnection(LocalContainerManager({name!r}, {query}, {management}))
connection.start_clipper()
"""
MODEL = """
def reciprocal(xs):
    return [str(1 / int(x[0])) for x in xs]  # a line of this cell
"""
USE = """
import requests
python_deployer.create_endpoint(connection, "reciprocal", "doubles", reciprocal, slo_micros={slo})
answer = requests.post(f"http://{{connection.get_query_addr()}}/reciprocal/predict", json={{"input": [0.0]}}).json()
replica = connection.cm.list_replicas()[0].replica
print(answer["default_explanation"])
print(connection.cm.tail_log(replica))
"""


@pytest.fixture
def cluster_name(new_cluster_name: Callable[[], str]) -> object:
    name = new_cluster_name()
    yield name
    LocalContainerManager(name).stop_all()
    assert [*processes_with(name), *directories_with(name)] == []


def text_of(cell: nbformat.NotebookNode, stream: str) -> str:
    return "".join(output.text for output in cell.outputs if output.get("name") == stream)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the notebook machinery's event loops
def test_a_notebook(cluster_name: str, free_port: Callable[[], int]) -> None:
    setup = SETUP.format(name=cluster_name, query=free_port(), management=free_port())
    cells = [nbformat.v4.new_code_cell(text) for text in (setup, MODEL, USE.format(slo=LONG_SLO_MICROS))]
    notebook = nbformat.v4.new_notebook(cells=cells)

    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()

    assert f"[{cluster_name}] Clipper is running" in text_of(notebook.cells[0], "stderr")
    assert text_of(notebook.cells[0], "stdout") == ""
    assert "Done deploying model reciprocal:1." in text_of(notebook.cells[2], "stderr")
    output = text_of(notebook.cells[2], "stdout")
    assert output.startswith("Model reciprocal:1 raised ZeroDivisionError: division by zero")
    assert "return [str(1 / int(x[0])) for x in xs]  # a line of this cell" in output
