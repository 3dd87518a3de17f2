"""One JupyterLab, one browser and one cluster for all tests that look at a screen."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from lab_server import CHROMIUM_FLAGS, Lab, Notebook, lab_server
from requirements import require

from clipper_magic import ClipperConnection, LocalContainerManager
from clipper_magic.deployers import python as python_deployer

WIDE = {"width": 1200, "height": 900}


def slow_sum(xs: Any) -> list[str]:
    """Take a few milliseconds, so that there is a latency to draw."""
    import numpy as np

    np.sort(np.random.default_rng(0).random(50_000))
    return [str(sum(x)) for x in xs]


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the path of Chromium; skip, or fail, where something is missing."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    missing = [name for name in ("jupyterlab", "playwright", "anywidget") if find_spec(name) is None]
    require("browser", path is not None and not missing, f"missing: {', '.join(missing) or 'chromium'}")
    return str(path)


@pytest.fixture(scope="session")
def cluster(
    chromium: str, new_cluster_name: Callable[[], str], free_port: Callable[[], int]
) -> Iterator[ClipperConnection]:
    """A cluster with two applications, and two versions of the model of one of them."""
    connection = ClipperConnection(LocalContainerManager(new_cluster_name(), free_port(), free_port()))
    connection.start_clipper()
    try:
        connection.register_application("hello-world", "doubles", "-1.0", 20_000_000)
        connection.register_application("lonely", "strings", "none", 100_000)
        for version in (1, 2):
            python_deployer.deploy_python_closure(connection, "sum-model", version, "doubles", slow_sum)
        connection.link_model_to_app("hello-world", "sum-model")
        yield connection
    finally:
        connection.stop_all()


@pytest.fixture(scope="session")
def lab(
    cluster: ClipperConnection, tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[Lab]:
    environ = {"CLIPPER_BACKEND": "local", "CLIPPER_CLUSTER": cluster.cm.cluster_name}
    with lab_server(tmp_path_factory.mktemp("lab"), free_port(), environ) as server:
        yield server


# Not for the whole session: while Playwright is open, its event loop runs in this thread, and no other one can.
@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_FLAGS))
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def open_page(lab: Lab, browser: Any) -> Callable[..., Notebook]:
    """Return a function that opens a notebook of some cells, or one that exists, on a page of its own."""
    names = (f"notebook-{number}.ipynb" for number in count())

    def open_(*cells: str, name: str = "") -> Notebook:
        file = name or next(names)
        if not name:
            lab.write(file, cells)
        notebook = Notebook(browser.new_page(viewport=WIDE), lab.folder / file)
        notebook.open(lab.url(file))
        return notebook

    return open_


@pytest.fixture
def open_notebook(open_page: Callable[..., Notebook]) -> Iterator[Callable[..., Notebook]]:
    """The same for one test: the pages close at its end."""
    opened: list[Notebook] = []

    def open_(*cells: str, name: str = "") -> Notebook:
        opened.append(open_page(*cells, name=name))
        return opened[-1]

    yield open_
    for notebook in opened:
        notebook.page.close()


def show_panel(notebook: Notebook) -> Notebook:
    """Run a notebook whose last cell shows the panel; wait for its rows."""
    notebook.run_all()
    notebook.panel.locator("tbody tr").first.wait_for()
    return notebook


PANEL_CELLS = ("%load_ext clipper_magic", "%clipper panel")


@pytest.fixture(scope="module")
def lasting_panel(open_page: Callable[..., Notebook]) -> Notebook:
    return show_panel(open_page(*PANEL_CELLS))


@pytest.fixture
def panel(lasting_panel: Notebook, cluster: ClipperConnection) -> Iterator[Notebook]:
    """A panel that many tests share: version 2 is current, each version has one replica, the words are English."""
    yield lasting_panel
    lasting_panel.page.set_viewport_size(WIDE)
    lasting_panel.execute("%clipper lang en;")
    reset(cluster)


@pytest.fixture
def own_panel(open_notebook: Callable[..., Notebook], cluster: ClipperConnection) -> Iterator[Notebook]:
    """A panel for a test after which it is no longer the same."""
    yield show_panel(open_notebook(*PANEL_CELLS))
    reset(cluster)


def reset(cluster: ClipperConnection) -> None:
    """Bring the cluster back to how the tests find it."""
    cluster.set_model_version("sum-model", 2)
    for version in (1, 2):
        cluster.set_num_replicas("sum-model", 1, version)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go, for people to look at."""
    return tmp_path_factory.mktemp("pictures")
