"""The README's pictures of the panel, of a real cluster under load: ``python -m tests.panel_pictures``."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import sync_playwright

from clipper_magic import ClipperConnection, LocalContainerManager
from clipper_magic.deployers import python as python_deployer
from clipper_magic.managers.ports import find_free_port
from tests.lab_server import CHROMIUM_FLAGS, Notebook, lab_server

FOLDER = Path(__file__).parent.parent / "notebooks" / "pictures"
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
MINUTE = 124  # refreshes
LAB_PORT = 8890
SCALE = 1.5
MARGIN = 8
VIEW = {"width": 1200, "height": 900}


def work(xs: Any) -> list[str]:
    """Take a millisecond or so, so that there is a latency to draw."""
    import numpy as np

    np.sort(np.random.default_rng(0).random(10_000))
    return [str(sum(x)) for x in xs]


@contextmanager
def own_directory() -> Iterator[Path]:
    """Give a directory, in which the cluster lives as well: whatever else runs on this machine keeps its own."""
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_RUNTIME_DIR"] = name
        yield Path(name)


@contextmanager
def running() -> Iterator[ClipperConnection]:
    """Run a cluster of two applications."""
    connection = ClipperConnection(LocalContainerManager("default-cluster"))
    connection.start_clipper()
    try:
        for app, model, slo_micros in (("hello-world", "sum-model", 100_000), ("iris", "iris-tree", 20_000)):
            connection.register_application(app, "doubles", "-1.0", slo_micros)
            python_deployer.deploy_python_closure(connection, model, 1, "doubles", work)
            connection.link_model_to_app(app, model)
        python_deployer.deploy_python_closure(connection, "sum-model", 2, "doubles", work, num_replicas=3)
        yield connection
    finally:
        connection.stop_all()


@contextmanager
def asking(connection: ClipperConnection) -> Iterator[None]:
    """Ask both applications, in waves, until the block ends."""
    over = threading.Event()

    def ask(app: str, rate: float, calm_rate: float) -> None:
        with requests.Session() as http:
            while not over.wait(1 / (calm_rate if int(time.monotonic() / 15) % 2 else rate)):
                url = f"http://{connection.get_query_addr()}/{app}/predict"
                http.post(url, json={"input": [random.random()]}, timeout=10)

    threads = [threading.Thread(target=ask, args=args) for args in (("hello-world", 200, 40), ("iris", 12, 12))]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def main() -> None:
    """Write both pictures."""
    with (
        own_directory() as folder,
        running() as connection,
        lab_server(folder, find_free_port(LAB_PORT), {"CLIPPER_BACKEND": "local"}) as lab,
        sync_playwright() as playwright,
        asking(connection),
    ):
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_FLAGS))
        page = browser.new_page(viewport=VIEW, device_scale_factor=SCALE)
        notebook = Notebook(page, lab.write("panel.ipynb", ["%load_ext clipper_magic", "%clipper panel"]))
        notebook.open(lab.url("panel.ipynb"))
        notebook.run_all()
        notebook.wait_for_looks(2)
        for _ in range(4):
            notebook.wait_for_looks(MINUTE // 4)
        for name, theme in THEMES.items():
            notebook.command("apputils:change-theme", theme=theme)
            light = str(name == "light").lower()
            page.wait_for_function("light => document.body.dataset.jpThemeLight === light", arg=light)
            notebook.wait_for_looks(4)
            box = notebook.panel.bounding_box()
            clip = {"x": box["x"] - MARGIN, "y": box["y"] - MARGIN / 2, "width": box["width"] + MARGIN}
            page.screenshot(path=FOLDER / f"panel-{name}.png", clip={**clip, "height": box["height"]})
        browser.close()


if __name__ == "__main__":
    main()
