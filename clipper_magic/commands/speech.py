"""``help lang``: what can be typed, and in which language the answers come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType, SimpleNamespace

from clipper_magic.commands.grammar import COMMON, Command, Parameter, nearest, usage
from clipper_magic.commands.kinds import text
from clipper_magic.commands.session import Session
from clipper_magic.exceptions import ClipperUsageError
from clipper_magic.messages.catalogue import LANGUAGES
from clipper_magic.told import Word
from clipper_magic.wording import Texts

FAMILIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cluster": ("start", "connect", "status", "panel", "stop", "doctor"),
        "applications": ("register", "unregister", "apps", "app", "link", "unlink", "linked"),
        "deploy": ("clipper_deploy", "deploy", "endpoint", "test", "build", "deploy-image", "register-model"),
        "models": ("models", "model", "version", "rollback", "replicas", "replica"),
        "queries": ("predict", "logs", "metrics", "addr", "conn"),
        "speech": ("help", "lang"),
    }
)
"""The commands by what people want to do, as ``%clipper help`` lists them."""


def lang(session: Session, args: SimpleNamespace) -> str:
    """Return the language of messages; set it when one is given."""
    choices = ("auto", *LANGUAGES)
    if args.language is not None:
        if args.language not in choices:
            raise ClipperUsageError.of("bad-choice", option="lang", value=args.language, choices=", ".join(choices))
        session.settings.lang = args.language
        session.say("help.language")
        return session.said(Word(session.settings.language))
    return session.settings.language


def help_(session: Session, args: SimpleNamespace) -> None:
    """Show every command, or one in full."""
    if args.command is None:
        session.area.say(overview(session.commands, session.texts))
        return
    command = session.commands.get(args.command.lstrip("%"))
    if command is None:
        raise unknown_command(args.command, list(session.commands))
    session.area.say(page(command, session.texts))


def unknown_command(word: str, known: Sequence[str]) -> ClipperUsageError:
    """Return the error for a word that is no command, with the nearest that is."""
    near = nearest(word, known)
    suggestion = f"%clipper {near}" if near else "%clipper help"
    return ClipperUsageError.of("unknown-command", command=word, suggestion=suggestion)


def overview(commands: Mapping[str, Command], texts: Texts) -> str:
    """Return the list of commands, by what people want to do, one a line."""
    titles = {name: command.short_title for name, command in commands.items()}
    width = max(len(title) for title in titles.values())
    lines = [texts("help.title")]
    for family, names in FAMILIES.items():
        lines += ["", texts(f"help.family_{family}")]
        lines += [f"  {titles[name].ljust(width)}  {texts(f'command.{name}')}" for name in names]
    return "\n".join([*lines, "", texts("help.more")])


def page(command: Command, texts: Texts) -> str:
    """Return the usage of a command, what it does, and what each of its parameters means."""
    rows = []
    for parameter in command.parameters + COMMON:
        names = f"{parameter.short}, {parameter.name}" if parameter.short else parameter.name
        group = "option" if parameter.is_option else "argument"
        rows.append((names, texts(f"{group}.{parameter.name.lstrip('-')}")))
    width = max(len(names) for names, _ in rows)
    lines = [usage(command), texts(f"command.{command.name}"), ""]
    return "\n".join(lines + [f"  {names.ljust(width)}  {meaning}" for names, meaning in rows])


COMMANDS = (
    Command("help", help_, (Parameter("COMMAND", text("COMMAND", "command")),)),
    Command("lang", lang, (Parameter("LANGUAGE", text("en|fr|auto", "language")),)),
)
