"""The panel in the browser: one anywidget. The only file that needs ipywidgets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets

_HERE = Path(__file__).parent
_SCRIPTS = ("dom.js", "table.js", "chart.js", "panel.js")


class PanelWidget(anywidget.AnyWidget):
    """What the kernel and the browser share.

    Attributes
    ----------
    labels : dict
        Words of the language.
    rows : list of dict
        From `Board.rows`.
    meta : dict
        Everything that is one thing: cluster, language, which application the chart shows, the last message; and a
        count of looks, which tells the browser that the kernel lives.
    series : bytes
        Curves of the chart's application: four times 120 little-endian float32.
    """

    _esm = "\n".join((_HERE / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    _css = _HERE / "panel.css"

    labels = traitlets.Dict().tag(sync=True)
    rows: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    meta = traitlets.Dict().tag(sync=True)
    series = traitlets.Bytes().tag(sync=True)

    def show(self, **traits: Any) -> None:
        """Set traits in one message.

        Notes
        -----
        A browser with subshells names one for its messages, so that they are heard even while a cell runs. But
        ipykernel 7 sends them to the shell that wrote to this widget last, the busy one, if it remembers one.
        """
        with self.hold_sync():
            for name, value in traits.items():
                setattr(self, name, value)
        if hasattr(self.comm, "_reply_subshell_id"):
            del self.comm._reply_subshell_id
