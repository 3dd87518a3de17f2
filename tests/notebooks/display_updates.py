"""A pytest plugin that lets nbval see an updated display as it is at the end, like every front end and nbclient do.

nbval keeps the first state of a display and ignores its updates, so a finished command would be compared with its
progress bar. ``pytest -p tests.notebooks.display_updates --nbval …``
"""

from __future__ import annotations

from typing import Any

import pytest
from nbformat import NotebookNode, from_dict
from nbval.kernel import RunningKernel


class Displays:
    """The displays of one kernel, by id.

    Notes
    -----
    nbval keeps the ``data`` node of a message in its list of outputs: what is changed in the node changes the output.
    """

    def __init__(self) -> None:
        self._nodes: dict[str, NotebookNode] = {}

    def observe(self, message: dict[str, Any]) -> None:
        """Remember the node of a new display, or bring the nodes of an updated one up to date."""
        content = message["content"]
        display_id = content.get("transient", {}).get("display_id")
        if display_id is None or message["msg_type"] not in ("display_data", "update_display_data"):
            return
        if message["msg_type"] == "display_data":
            content["data"] = self._nodes[display_id] = from_dict(content["data"])
            return
        node = self._nodes[display_id]
        node.clear()
        node.update(content["data"])
        # Told already: to nbval this is now one of the messages that it skips.
        message["msg_type"] = "comm_display_update"


def pytest_configure(config: pytest.Config) -> None:
    """Show every message of every kernel to its displays before nbval does anything with it."""
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    get_message = RunningKernel.get_message

    def observed(kernel: RunningKernel, *args: Any, **options: Any) -> dict[str, Any]:
        message: dict[str, Any] = get_message(kernel, *args, **options)
        if not hasattr(kernel, "displays"):
            kernel.displays = Displays()
        kernel.displays.observe(message)
        return message

    patch.setattr(RunningKernel, "get_message", observed)
