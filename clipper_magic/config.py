"""Settings of the magics: ``%config Clipper``, the environment, two files, the locale, in this order.

The files are ``clipper_magic.toml`` in the notebook's folder, then the user's own in ``~/.config``.
``%load_ext`` reads nothing: a setting looks at the environment and at the files when it is first asked for.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import traitlets
from traitlets.config import Configurable

from clipper_magic.exceptions import ClipperUsageError
from clipper_magic.managers.choice import BACKENDS
from clipper_magic.messages.catalogue import DEFAULT_LANGUAGE, LANGUAGES
from clipper_magic.wording import Texts

SETTINGS_FILE = "clipper_magic.toml"
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


class Choice(traitlets.Enum[str]):
    """An Enum that lists its choices and checks nothing.

    ``%config`` only logs what a trait refuses and the cell succeeds, so a wrong word is kept here and refused, as an
    error that stops the notebook, where it is used (`Clipper.chosen`).
    """

    def validate(self, obj: Any, value: Any) -> str:
        """Take any word."""
        return str(value)


def settings_files(environ: Mapping[str, str]) -> tuple[Path, Path]:
    """Return the paths of the folder's settings file and of the user's, the stronger first; either may be missing."""
    user = Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Path(SETTINGS_FILE), user / SETTINGS_FILE


def read_settings(path: Path) -> dict[str, Any]:
    """Return the settings of a file, none if it is missing.

    Raises
    ------
    ClipperUsageError
        If it is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ClipperUsageError.of("bad-settings-file", path=str(path), why=str(exc)) from exc


def locale_language(environ: Mapping[str, str]) -> str:
    """Return the language that the locale asks for, English if there is no catalogue for it.

    The kernel cannot see the language of JupyterLab's menus, so the locale of its own process decides.
    """
    words = (environ.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    wished = next((word for word in words if word), "")
    return wished[:2] if wished[:2] in LANGUAGES else DEFAULT_LANGUAGE


def _boolean(value: object) -> bool:
    word = str(value).lower()
    if word not in _TRUE + _FALSE:
        raise ValueError(value)
    return word in _TRUE


def _outside(name: str, convert: Callable[[Any], Any], fallback: object) -> Any:
    """Return the traitlets default of ``name``: environment, then files, then ``fallback``."""

    @traitlets.default(name)
    def value(self: Clipper) -> object:
        for source, found in self.found_outside(name):
            try:
                return convert(found)
            except ValueError:
                raise ClipperUsageError.of("bad-setting", setting=source, value=found) from None
        return fallback

    return value


class Clipper(Configurable):
    """What ``%config Clipper`` shows and sets.

    Parameters
    ----------
    environ : mapping, optional
        The environment; the process's own if absent.
    """

    lang = Choice(("auto", *LANGUAGES)).tag(config=True)
    backend = Choice(BACKENDS).tag(config=True)
    cluster = traitlets.Unicode().tag(config=True)
    panel = Choice(("auto", "widget", "html", "text")).tag(config=True)
    refresh = traitlets.Float().tag(config=True)
    verbose = traitlets.Bool().tag(config=True)
    confirm_stop = traitlets.Bool().tag(config=True)
    timeout = traitlets.Float().tag(config=True)
    debug = traitlets.Bool().tag(config=True)

    _lang = _outside("lang", str, "auto")
    _backend = _outside("backend", str, "auto")
    _cluster = _outside("cluster", str, "default-cluster")
    _panel = _outside("panel", str, "auto")
    _refresh = _outside("refresh", float, 2.0)
    _verbose = _outside("verbose", _boolean, False)
    _confirm_stop = _outside("confirm_stop", _boolean, False)
    _timeout = _outside("timeout", float, 60.0)
    _debug = _outside("debug", _boolean, False)

    def __init__(self, environ: Mapping[str, str] | None = None, **traits: Any) -> None:
        super().__init__(**traits)
        self._environ = os.environ if environ is None else environ

    @classmethod
    def class_get_trait_help(
        cls, trait: traitlets.TraitType[Any, Any], inst: Any = None, helptext: str | None = None
    ) -> str:
        """Return what ``%config Clipper`` shows of a setting, in the language of messages."""
        return super().class_get_trait_help(trait, inst, helptext or Texts(_language(inst))(f"setting.{trait.name}"))

    def chosen(self, name: str) -> str:
        """Return the value of a setting that has choices.

        Raises
        ------
        ClipperUsageError
            If it is none of them.
        """
        value: str = getattr(self, name)
        choices = self.choices(name)
        if value not in choices:
            raise ClipperUsageError.of("bad-choice", option=f"Clipper.{name}", value=value, choices=", ".join(choices))
        return value

    def choices(self, name: str) -> tuple[str, ...]:
        """Return the words that a setting may be."""
        trait: Any = self.traits()[name]
        return tuple(trait.values)

    @property
    def language(self) -> str:
        """The language of messages, ``"en"`` or ``"fr"``."""
        wished = self.chosen("lang")
        return locale_language(self._environ) if wished == "auto" else wished

    def found_outside(self, name: str) -> list[tuple[str, object]]:
        """Return ``(where, value)`` of a setting in the environment and in the files, the strongest first."""
        found: list[tuple[str, object]] = []
        variable = f"CLIPPER_{name.upper()}"
        if self._environ.get(variable):
            found.append((variable, self._environ[variable]))
        for path in settings_files(self._environ):
            settings = read_settings(path)
            if name in settings:
                found.append((f"{path}: {name}", settings[name]))
        return found


def _language(settings: Clipper | None) -> str:
    """Return the language of some settings; the settings may be wrong, and their help must show all the same."""
    try:
        return settings.language if settings else DEFAULT_LANGUAGE
    except ClipperUsageError:
        return DEFAULT_LANGUAGE
