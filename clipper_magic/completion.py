"""Tab in ``%clipper``: commands, options, choices, and the names that the cluster knows at this moment.

A matcher of IPython's second version sees the whole line, so it also works in ``apps = %clipper ap``, and may keep
Python's keywords out.
"""

from __future__ import annotations

import http.client
import json
import re
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from IPython.core.completer import SimpleCompletion, context_matcher

from clipper_magic.commands.grammar import Command, Parameter
from clipper_magic.commands.session import Session
from clipper_magic.commands.tokens import Token, tokenize
from clipper_magic.exceptions import ClipperException
from clipper_magic.managers.health import read_health
from clipper_magic.messages.catalogue import LANGUAGES
from serving_image.input_types import INPUT_TYPES

MATCHER_ID = "clipper_magic"
NAMES_TIMEOUT_S = 0.5

_LINE = re.compile(r"\s*(?:[\w.,\[\]'\" ]+=\s*)?%clipper\s+(?P<rest>.*)", re.DOTALL)
_CELL = re.compile(r"\s*%%clipper_deploy\s+(?P<rest>[^\n]*)")
_FIXED: Mapping[str, Sequence[str]] = {"input_type": INPUT_TYPES, "language": ("auto", *LANGUAGES)}

Names = Callable[[str, Sequence[str]], Sequence[str]]
"""From what a parameter completes, and the words before it, to the names on offer."""


def suggest(rest: str, commands: Mapping[str, Command], names: Names) -> tuple[str, list[str]]:
    """Return what is being typed after ``%clipper``, and what it may become.

    Parameters
    ----------
    rest : str
        The line after ``%clipper``, up to the cursor.
    commands : mapping of str to Command
    names : callable
        See `Names`.
    """
    words, fragment = _words(rest)
    line_commands = [name for name, command in commands.items() if command.is_line]
    if not words:
        return fragment, _starting(fragment, line_commands)
    command = commands.get(words[0].text)
    if command is None or not command.is_line:
        return fragment, []
    return fragment, suggest_parameter(command, words[1:], fragment, names, line_commands)


def suggest_parameter(
    command: Command, words: Sequence[Token], fragment: str, names: Names, commands: Sequence[str]
) -> list[str]:
    """Return what ``fragment`` may become, as an option, or as the value that is due after ``words``."""
    options = {name: p for p in command.options for name in (p.name, p.short) if name}
    last = options.get(words[-1].raw) if words else None
    if last is not None and not last.is_flag:
        return _starting(fragment, _values(last, words, names, commands))
    if fragment.startswith("-"):
        used = {word.raw for word in words}
        return _starting(fragment, [p.name for p in command.options if p.name not in used])
    due = _due(command, words, options)
    found = _starting(fragment, _values(due, words, names, commands)) if due else []
    if not fragment and not found:
        return [p.name for p in command.options]
    return found


def _due(command: Command, words: Sequence[Token], options: Mapping[str, Parameter]) -> Parameter | None:
    """Return the argument whose turn it is after ``words``."""
    places = list(command.arguments)
    value_of_option = False
    for word in words:
        if value_of_option:
            value_of_option = False
        elif word.is_option:
            option = options.get(word.raw)
            value_of_option = option is not None and not option.is_flag
        elif places and not places[0].repeats:
            places.pop(0)
    return places[0] if places else None


def _values(parameter: Parameter, words: Sequence[Token], names: Names, commands: Sequence[str]) -> Sequence[str]:
    kind = parameter.kind
    if kind.choices:
        return kind.choices
    if kind.completes == "command":
        return commands
    return _FIXED.get(kind.completes) or names(kind.completes, [word.text for word in words])


def _words(rest: str) -> tuple[list[Token], str]:
    """Return the finished words of a line, and the one that is being typed (empty after a blank)."""
    tokens = tokenize(rest, lenient=True)
    if tokens and tokens[-1].end == len(rest):
        return tokens[:-1], tokens[-1].raw
    return tokens, ""


def _starting(fragment: str, words: Sequence[str]) -> list[str]:
    return [word for word in words if word.startswith(fragment)]


class LiveNames:
    """The names of one notebook's cluster and namespace; quick, and silent when nobody answers."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def __call__(self, what: str, words: Sequence[str]) -> Sequence[str]:
        """Return the names of a kind; see `Names`."""
        if what == "app":
            return [app["name"] for app in self._status().get("applications", ())]
        models = {m["model_name"]: m for m in self._status().get("models", ())} if "model" in what else {}
        if what == "model":
            return list(models)
        if what == "model_version":
            with_version = [f"{name}:{v['model_version']}" for name, m in models.items() for v in m["versions"]]
            return [*models, *with_version]
        if what == "version":
            return [
                v["model_version"]
                for m in self._status().get("models", ())
                if m["model_name"] in words
                for v in m["versions"]
            ]
        return self._functions() if what == "function" else []

    def _functions(self) -> list[str]:
        namespace = self.session.shell.user_ns
        return [
            name
            for name, value in namespace.items()
            if isinstance(value, types.FunctionType) and not name.startswith("_")
        ]

    def _address(self) -> str:
        """Return where the management frontend is; empty if there is none that can be found at once."""
        connection = self.session.connection
        if connection is not None and connection.connected:
            return connection.cm.get_admin_addr()
        try:
            settings = self.session.settings
            return "" if settings.chosen("backend") == "docker" else _running_here(settings.cluster)
        except (ClipperException, OSError):
            return ""

    def _status(self) -> dict[str, Any]:
        """Ask the management frontend, once and briefly: a Tab must never hang."""
        host, _, port = self._address().rpartition(":")
        if not host:
            return {}
        link = http.client.HTTPConnection(host, int(port), timeout=NAMES_TIMEOUT_S)
        try:
            link.request("POST", "/admin/get_status", b"{}", {"Content-Type": "application/json"})
            found = json.loads(link.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError):
            return {}
        finally:
            link.close()
        return found if isinstance(found, dict) else {}


def _running_here(cluster: str) -> str:
    """Return where the management frontend of a cluster of local processes is: a look into its directory, no more."""
    from clipper_magic.managers.cluster_directory import ClusterDirectory

    record = ClusterDirectory.locate(cluster).read_record()
    if record is None:
        return ""
    address = f"127.0.0.1:{record.management_port}"
    health = read_health(address, NAMES_TIMEOUT_S)
    return address if health and health.get("cluster_id") == record.cluster_id else ""


def install(shell: Any, session: Session) -> None:
    """Add the matcher to a shell's completer."""
    names = LiveNames(session)

    @context_matcher(identifier=MATCHER_ID)  # type: ignore[untyped-decorator]
    def matcher(context: Any) -> dict[str, Any]:
        fragment, words = _suggest_in(context, session.commands, names)
        if fragment is None:
            return {"completions": []}
        found = [SimpleCompletion(word, type="magic") for word in words]
        return {"completions": found, "matched_fragment": fragment, "ordered": True, "suppress": True}

    if shell.Completer is not None:
        shell.Completer.custom_matchers.append(matcher)


def uninstall(shell: Any) -> None:
    """Take the matcher out again."""
    if shell.Completer is not None:
        matchers = shell.Completer.custom_matchers
        matchers[:] = [m for m in matchers if getattr(m, "matcher_identifier", "") != MATCHER_ID]


def _suggest_in(context: Any, commands: Mapping[str, Command], names: Names) -> tuple[str | None, list[str]]:
    """Return what is typed and what it may become; None if the cursor is in no line of ours."""
    line = context.text_until_cursor
    cell = _CELL.fullmatch(line) if context.cursor_line == 0 else None
    if cell:
        words, fragment = _words(cell["rest"])
        command = commands["clipper_deploy"]
        return fragment, suggest_parameter(command, words, fragment, names, ())
    found = _LINE.fullmatch(line)
    return suggest(found["rest"], commands, names) if found else (None, [])
