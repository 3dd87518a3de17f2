"""Real Jupyter kernels for tests: run cells, see their outputs, interrupt, restart."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

CELL_TIMEOUT_S = 90.0


class Ran(NamedTuple):
    """What a cell did.

    Attributes
    ----------
    status : str
        "ok", "error" or "aborted".
    outputs : list of dict
        As a notebook would store them: an updated display has its last content.
    """

    status: str
    outputs: list[dict[str, Any]]

    @property
    def text(self) -> str:
        """All that is shown as plain text."""
        return "\n".join(_text(output) for output in self.outputs)

    @property
    def value(self) -> str:
        """The text of the cell's value."""
        return "".join(_text(output) for output in self.outputs if output["output_type"] == "execute_result")

    @property
    def html(self) -> str:
        return "".join(str(output.get("data", {}).get("text/html", "")) for output in self.outputs)


def _text(output: Mapping[str, Any]) -> str:
    if output["output_type"] == "stream":
        return str(output["text"])
    if output["output_type"] == "error":
        return "\n".join(output["traceback"])
    return str(output["data"].get("text/plain", ""))


class Kernel:
    """One kernel, as a notebook uses it."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager = manager
        self.client = client

    def run(self, code: str, on_output: Callable[[dict[str, Any]], None] | None = None) -> Ran:
        """Run a cell; ``on_output`` sees each message of its outputs as it comes."""
        outputs: list[dict[str, Any]] = []
        by_id: dict[str, dict[str, Any]] = {}

        def hook(message: dict[str, Any]) -> None:
            kind, content = message["msg_type"], message["content"]
            display_id = content.get("transient", {}).get("display_id")
            if kind == "update_display_data":
                by_id.get(display_id, {})["data"] = content["data"]  # it may be an output of another cell
            elif kind in ("display_data", "execute_result", "stream", "error"):
                output = {"output_type": kind, **content}
                outputs.append(output)
                if display_id:
                    by_id[display_id] = output
            if on_output is not None:
                on_output(message)

        reply = self.client.execute_interactive(code, timeout=CELL_TIMEOUT_S, output_hook=hook, allow_stdin=False)
        return Ran(reply["content"]["status"], outputs)

    def ok(self, code: str) -> Ran:
        """Run a cell that must not fail."""
        ran = self.run(code)
        assert ran.status == "ok", ran.text
        return ran

    def restart(self) -> None:
        self.manager.restart_kernel(now=False)
        self.client.wait_for_ready(timeout=CELL_TIMEOUT_S)

    def interrupt(self) -> None:
        self.manager.interrupt_kernel()


@contextmanager
def kernel(directory: Path, **environ: str) -> Iterator[Kernel]:
    """A kernel of this interpreter, in a directory of its own."""
    manager = KernelManager(kernel_name="python3")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CLIPPER_", "LC_", "LANG"))}
    manager.start_kernel(cwd=str(directory), env={**kept, "LC_ALL": "C.UTF-8", **environ})
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=CELL_TIMEOUT_S)
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
