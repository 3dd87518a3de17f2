"""``panel``: the cluster at a glance, live where the front-end can, else as it is at this moment."""

from __future__ import annotations

import shutil
import sys
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING

from clipper_magic.commands import backends
from clipper_magic.commands.grammar import Command, Parameter
from clipper_magic.commands.kinds import FLAG, RATE
from clipper_magic.commands.session import Session
from clipper_magic.render import Still

if TYPE_CHECKING:
    from clipper_magic.panel.live import Panel

SLOWEST_HZ, FASTEST_HZ = 0.2, 10.0


def panel(session: Session, args: SimpleNamespace) -> Panel | Still:
    """Show the panel; a second one is another view of the first."""
    connection = session.connected()
    form = "html" if args.freeze else _form(session)
    from clipper_magic.panel.live import Looker, Panel

    if session.panel is not None and not session.panel.shows(connection):
        session.freeze_panel()
    if session.panel is not None and args.freeze:
        last: Panel = session.panel
        session.freeze_panel()
        return Still(last.frozen or {}, html=True)
    if form == "widget" and session.panel is not None:
        live: Panel = session.panel
        return live
    looker = Looker(connection, session, backends.kind_of(connection.cm))
    if form == "widget":
        rate_hz = args.rate or session.settings.refresh
        session.panel = Panel(looker, min(max(rate_hz, SLOWEST_HZ), FASTEST_HZ))
        return session.panel  # type: ignore[no-any-return]
    looker.look()
    looker.close()
    width = None if session.in_kernel else shutil.get_terminal_size().columns
    return Still(looker.still(width=width), html=form == "html")


def _form(session: Session) -> str:
    """Return "widget", "html" or "text": what was asked for, or the best that works."""
    wanted = session.settings.chosen("panel")
    if wanted in ("html", "text"):
        return wanted
    if not session.in_kernel:
        return "text"
    if "google.colab" in sys.modules and wanted == "auto":
        return "html"  # updates from a thread do not show there
    try:
        import_module("clipper_magic.panel.widget")
    except ImportError:
        session.say("panel.install")
        return "html"
    return "widget"


COMMANDS = (Command("panel", panel, (Parameter("--freeze", FLAG), Parameter("--rate", RATE))),)
