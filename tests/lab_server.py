"""A JupyterLab of this environment, and one of its notebooks in headless Chromium."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat

from clipper_magic.managers.waiting import wait_for

START_TIMEOUT_S = 90.0
PATIENCE_MS = 60_000
CHROMIUM_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")


class Lab:
    """A running JupyterLab server.

    Attributes
    ----------
    folder : Path
        Where its notebooks are.
    """

    def __init__(self, folder: Path, port: int, token: str) -> None:
        self.folder = folder
        self._address = f"http://127.0.0.1:{port}"
        self._token = token

    def answers(self) -> bool:
        """Return whether the server is up."""
        try:
            with urllib.request.urlopen(f"{self._address}/api?token={self._token}", timeout=2) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    def url(self, name: str) -> str:
        """Return the address of a notebook, alone on its page."""
        return f"{self._address}/doc/tree/{name}?token={self._token}"

    def write(self, name: str, cells: Sequence[str]) -> Path:
        """Write a notebook of code cells."""
        kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata={"kernelspec": kernel}
        )
        path = self.folder / name
        nbformat.write(notebook, path)
        return path


@contextmanager
def lab_server(folder: Path, port: int, environ: Mapping[str, str]) -> Iterator[Lab]:
    """Run JupyterLab in ``folder``, with settings of its own."""
    notebooks = folder / "notebooks"
    notebooks.mkdir()
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CLIPPER_", "LC_", "LANG"))}
    places = {
        "HOME": folder,
        "JUPYTER_CONFIG_DIR": folder / "config",
        "JUPYTER_DATA_DIR": folder / "data",
        "JUPYTERLAB_SETTINGS_DIR": folder / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": folder / "workspaces",
        "IPYTHONDIR": folder / "ipython",
    }
    token = secrets.token_hex(8)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={notebooks}"]
    command += ["--ServerApp.ip=127.0.0.1", f"--IdentityProvider.token={token}"]
    env = {**kept, "LC_ALL": "C.UTF-8", **{name: str(place) for name, place in places.items()}, **environ}
    with (folder / "lab.log").open("w") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    lab = Lab(notebooks, port, token)
    try:
        assert wait_for(lab.answers, START_TIMEOUT_S, 0.2), (folder / "lab.log").read_text()
        yield lab
    finally:
        process.terminate()
        process.wait(30)


class Notebook:
    """A notebook open in the browser.

    Parameters
    ----------
    page : playwright.sync_api.Page
    path : Path
        The notebook's file.
    """

    def __init__(self, page: Any, path: Path) -> None:
        self.page = page
        self.path = path
        self.panel = page.locator(".clipper-panel").first

    def open(self, url: str) -> None:
        """Load the page; wait for its kernel. A load that the machine's changing networks broke is repeated."""
        for attempt in range(5):
            try:
                self.page.goto(url, timeout=PATIENCE_MS)
                self.wait_for_kernel(PATIENCE_MS / 4)
            except Exception:
                if attempt == 4:
                    raise
            else:
                return

    def wait_for_kernel(self, timeout_ms: float = PATIENCE_MS) -> None:
        """Wait until the kernel is there and idle."""
        self.page.wait_for_selector(
            '.jp-Notebook-ExecutionIndicator[data-status="idle"]', state="attached", timeout=timeout_ms
        )
        self.page.wait_for_function(
            "window.jupyterapp?.shell.currentWidget?.context?.sessionContext?.session?.kernel?.status === 'idle'",
            timeout=timeout_ms,
        )

    def command(self, name: str, **arguments: object) -> None:
        """Run one of JupyterLab's commands."""
        self.page.evaluate("([name, args]) => window.jupyterapp.commands.execute(name, args)", [name, arguments])

    def run_all(self) -> None:
        """Run every cell; return when the last is done."""
        self.command("notebook:run-all-cells")
        self.wait_for_kernel()

    def restart(self) -> None:
        """Restart the kernel, as the menu does after its question."""
        self.page.evaluate("window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel.restart()")
        self.wait_for_kernel()

    def execute(self, code: str) -> None:
        """Run code in the kernel without a cell, not waiting for its end."""
        self.page.evaluate(
            "code => { window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel"
            ".requestExecute({code, silent: false}); }",
            code,
        )

    def save(self) -> None:
        """Save the notebook."""
        self.page.evaluate("window.jupyterapp.shell.currentWidget.context.save()")

    def looks(self) -> int:
        """Return how often the kernel has refreshed the panel."""
        return int(self.panel.evaluate("element => Number(element.dataset.looks)"))

    def wait_for_looks(self, more: int) -> None:
        """Wait for that many further refreshes."""
        wanted = self.looks() + more
        self.page.wait_for_function(
            "n => Number(document.querySelector('.clipper-panel').dataset.looks) >= n", arg=wanted, timeout=PATIENCE_MS
        )
