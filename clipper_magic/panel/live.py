"""One live panel: it looks twice a second, shows what it saw, does what its buttons ask for, and freezes at the end."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from IPython.display import display

from clipper_magic.exceptions import ClipperException
from clipper_magic.log import get_logger
from clipper_magic.panel import static
from clipper_magic.panel.board import Board, slo_words
from clipper_magic.panel.figures import Figures, History, app_to_show
from clipper_magic.panel.poller import THREAD_PREFIX, Ticker, not_of_the_panel
from clipper_magic.panel.source import Source, SourceError
from clipper_magic.render import Bundle

if TYPE_CHECKING:
    from clipper_magic.commands.session import Session
    from clipper_magic.connection import ClipperConnection

UNSEEN_S = 30.0
LOOKS_PER_COUNT = 4
"""What is registered, and how many replicas answer, is asked at every fourth look, and at each while it changes."""


def _display(bundle: Bundle, **options: Any) -> None:
    display(bundle, raw=True, **options)  # type: ignore[no-untyped-call]


class Looker:
    """Looks at a cluster and remembers: for every form of the panel.

    Parameters
    ----------
    connection : ClipperConnection
    session : Session
        Its language, at each look.
    backend : str
        The word for it.
    """

    def __init__(self, connection: ClipperConnection, session: Session, backend: str) -> None:
        self.connection = connection
        self.session = session
        self.backend = backend
        self.asked: dict[str, int] = {}
        self.figures = Figures(connection.cm.cluster_name, (), ())
        self.gone = ""
        self.history = History()
        self._source = Source(connection)
        self._status: Mapping[str, Any] = {}
        self._observed: Mapping[str, int] | None = None
        self._looks = 0

    def look(self) -> None:
        """Ask the frontends; a cluster that does not answer is a fact, not an error."""
        try:
            metrics = self._source.metrics()
            if self._looks % LOOKS_PER_COUNT == 0 or self._is_changing():
                self._status, self._observed = self._source.status(), self._source.observed()
        except (SourceError, ClipperException, OSError):
            self.gone = self.session.texts("panel.gone", cluster=self.connection.cm.cluster_name)
            return
        self._looks += 1
        self.gone = ""
        self.figures = self.history.add(self._status, metrics, self._observed, dict(self.asked), time.monotonic())

    def _is_changing(self) -> bool:
        return bool(self.asked) or any(version.requested != version.observed for version in self.figures.versions)

    def still(self, message_id: str = "panel.live", width: int | None = None) -> Bundle:
        """Return what was seen last, standing still; for ``width`` see `static.bundle`."""
        texts = self.session.texts
        slo = slo_words(self.figures, texts)
        asked_lately = [app.name for app in self.figures.apps if self.history.asked_lately(app.name)]
        charts = {name: (self.history.curves(name), *slo[name]) for name in asked_lately}
        title = texts(
            message_id,
            cluster=self.figures.cluster,
            backend=self.backend,
            addr=self.connection.get_query_addr() if self.connection.connected else "",
            time=time.strftime("%H:%M:%S"),
        )
        return static.bundle(title, Board(texts).rows(self.figures), charts, texts, width)

    def close(self) -> None:
        """Close its connections."""
        self._source.close()


class Panel:
    """The live panel of one kernel; each display of it is another view.

    Parameters
    ----------
    looker : Looker
    rate_hz : float
        Looks a second.
    """

    def __init__(self, looker: Looker, rate_hz: float) -> None:
        from clipper_magic.panel.widget import PanelWidget

        self.looker = looker
        self.rate_hz = rate_hz
        self.widget = PanelWidget()
        self.frozen: Bundle | None = None
        self._app, self._chosen = "", False
        self._note, self._failed = "", False
        self._tick = 0
        self._lock = threading.Lock()
        self._displays: list[str] = []
        self._seen_s = time.monotonic()
        self._cell_runs = False
        self._ticker = Ticker(self._look_and_show, 1 / rate_hz)
        self._jobs = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"{THREAD_PREFIX}-work")
        self.widget.on_msg(self._heard)
        looker.look()
        self._show()

    # --- displaying ---

    def _ipython_display_(self) -> None:
        """Show another view; its output also holds HTML and text, for where the widget cannot be shown."""
        if self.frozen is not None:
            _display(self.frozen)
            return
        display_id = uuid.uuid4().hex
        self._displays.append(display_id)
        view, _ = self.widget._repr_mimebundle_() or ({}, {})
        _display({**view, **self.looker.still()}, display_id=display_id)
        self._start()

    def shows(self, connection: ClipperConnection) -> bool:
        """Return whether it is live, and shows the cluster of this connection."""
        return self.frozen is None and self.looker.connection is connection

    def __repr__(self) -> str:
        state = "live" if self.frozen is None else "frozen"
        return f"<panel of cluster {self.looker.figures.cluster}, {state}>"

    def _start(self) -> None:
        self._seen_s = time.monotonic()
        get_logger().addFilter(not_of_the_panel)
        events = self.looker.session.shell.events
        if self._cell_begins not in events.callbacks["pre_run_cell"]:
            events.register("pre_run_cell", self._cell_begins)
            events.register("post_run_cell", self._cell_ends)
            self._cell_runs = True  # the one that shows the panel
        self._ticker.start()

    def _cell_begins(self, _info: object) -> None:
        self._cell_runs = True

    def _cell_ends(self, _result: object) -> None:
        self._cell_runs = False
        self._seen_s = time.monotonic()  # messages of the browser may have waited for the cell

    def freeze(self) -> None:
        """Replace every view by what was seen last, and end the threads; for good."""
        with self._lock:
            if self.frozen is not None:
                return
            self.frozen = self.looker.still("panel.frozen")
        self._ticker.stop()
        self._jobs.shutdown(wait=False, cancel_futures=True)
        for display_id in self._displays:
            _display(self.frozen, display_id=display_id, update=True)
        events = self.looker.session.shell.events
        if self._cell_begins in events.callbacks["pre_run_cell"]:
            events.unregister("pre_run_cell", self._cell_begins)
            events.unregister("post_run_cell", self._cell_ends)
        self.looker.close()
        self.widget.close()
        get_logger().removeFilter(not_of_the_panel)

    # --- looking, in the ticker's thread ---

    def _look_and_show(self) -> bool:
        """Look, show, and tell whether anybody still looks at it."""
        try:
            self.looker.look()
            self._show()
        except Exception as exc:  # a thread of ours never raises: it would do so in a cell of the user's
            self._say(f"{type(exc).__name__}: {exc}", failed=True)
        return self._cell_runs or time.monotonic() - self._seen_s < UNSEEN_S

    def _show(self) -> None:
        texts = self.looker.session.texts
        figures = self.looker.figures
        slo = slo_words(figures, texts)
        self._app = app_to_show(figures, self._app, chosen=self._chosen)
        slo_s, slo_label = slo.get(self._app, (1.0, ""))
        self._tick += 1
        self.widget.show(
            labels=dict(texts.labels("panel")),
            rows=Board(texts).rows(figures),
            series=self.looker.history.curves(self._app),
            meta={
                "cluster": figures.cluster,
                "address": f"http://{self.looker.connection.get_query_addr()} · {self.looker.backend}",
                "lang": texts.language,
                "rate": self.rate_hz,
                "apps": list(slo),
                "app": self._app,
                "slo_s": slo_s,
                "slo_label": slo_label,
                "note": self._note,
                "failed": self._failed,
                "gone": self.looker.gone,
                "tick": self._tick,
            },
        )

    def _say(self, note: str, *, failed: bool = False) -> None:
        self._note, self._failed = note, failed

    # --- what the browser asks for: any thread, even while a cell runs; note it down and return ---

    def _heard(self, _widget: object, message: Mapping[str, Any], _buffers: object) -> None:
        self._seen_s = time.monotonic()
        if self.frozen is not None:
            return
        match message:
            case {"do": "here"}:
                self._ticker.start()
            case {"do": "chart", "app": str(app)}:
                self._app, self._chosen = app, True
            case {"do": "replicas", "key": str(key), "n": int(n)} if n >= 0:
                self.looker.asked[key] = n
                self._jobs.submit(self._work, self._scale, key)
            case {"do": "version", "key": str(key)}:
                self._jobs.submit(self._work, self._make_current, key)
            case {"do": "freeze"}:
                self._jobs.submit(self.looker.session.freeze_panel)

    # --- doing it, in the worker's thread ---

    def _work(self, job: Any, key: str) -> None:
        """Run one job; its outcome, good or bad, is the panel's last line."""
        try:
            job(*key.rpartition(":")[::2])
        except ClipperException as exc:
            from clipper_magic.commands.boundary import one_line

            self._say(one_line(exc, self.looker.session.settings.language), failed=True)
        except Exception as exc:  # see `_look_and_show`
            self._say(f"{type(exc).__name__}: {exc}", failed=True)

    def _scale(self, model: str, version: str) -> None:
        key = f"{model}:{version}"
        wanted = self.looker.asked.get(key)
        if wanted is None:
            return  # a later click was done together with this one
        texts, began_s = self.looker.session.texts, time.monotonic()
        before = self.looker.connection.get_num_replicas(model, version)
        self._say(texts("models.scaling", model=model, version=version, n=wanted))
        try:
            self.looker.connection.set_num_replicas(model, wanted, version)
        finally:
            if self.looker.asked.get(key) == wanted:
                del self.looker.asked[key]
        took = texts.duration(time.monotonic() - began_s)
        self._say(texts("models.scaled", model=model, version=version, n=wanted, before=before, took=took))

    def _make_current(self, model: str, version: str) -> None:
        connection = self.looker.connection
        before = connection.get_current_model_version(model)
        connection.set_model_version(model, version)
        self._say(self.looker.session.texts("models.switched", model=model, version=version, before=before))
