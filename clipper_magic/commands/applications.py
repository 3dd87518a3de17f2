"""``register unregister apps app link unlink linked``: applications and what they ask."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from clipper_magic.commands import lookup
from clipper_magic.commands.grammar import Command, Parameter
from clipper_magic.commands.kinds import APP, DURATION, FLAG, MODEL, number, text
from clipper_magic.commands.session import Session
from clipper_magic.exceptions import AlreadyRegisteredError, ClipperUsageError
from clipper_magic.names import check_input_type
from clipper_magic.render import Info, Names, Records

if TYPE_CHECKING:
    from clipper_magic.connection import ClipperConnection

INPUT_TYPE = text("T", "input_type")
MAX_SLO_MICROS = 2**31 - 1


def register(session: Session, args: SimpleNamespace) -> Info:
    """``register_application``; the same application again changes nothing."""
    slo_micros = _slo_micros(args)
    wanted = {
        "input_type": check_input_type(args.input_type),
        "default_output": args.default_output,
        "latency_slo_micros": slo_micros,
    }
    connection = session.connected()
    existing = app_or_none(connection, args.app)
    if existing is None:
        connection.register_application(args.app, wanted["input_type"], args.default_output, slo_micros)
    else:
        differences = [
            f"{key}: {existing[key]!r} → {value!r}" for key, value in wanted.items() if existing[key] != value
        ]
        if differences:
            raise AlreadyRegisteredError.of("app-differs", app=args.app, difference=", ".join(differences))
    texts = session.texts
    session.say(
        "apps.unchanged" if existing else "apps.registered",
        app=args.app,
        input_type=wanted["input_type"],
        default=texts.quoted(args.default_output),
        slo=texts.duration(slo_micros / 1e6),
    )
    return session.said(Info(lookup.known_app(connection, args.app)))


def _slo_micros(args: SimpleNamespace) -> int:
    if (args.slo is None) == (args.slo_micros is None):
        raise ClipperUsageError.of("one-of", first="--slo", second="--slo-micros")
    slo_micros = int(args.slo_micros if args.slo is None else args.slo)
    if not 0 < slo_micros <= MAX_SLO_MICROS:
        raise ClipperUsageError.of(
            "bad-number",
            option="--slo",
            value=f"{slo_micros} µs",
            expected=f"1–{MAX_SLO_MICROS} µs",
        )
    return slo_micros


def app_or_none(connection: ClipperConnection, app: str) -> dict[str, Any] | None:
    """Return an application's dict, or None; unlike ``get_app_info`` it warns nobody."""
    found = [info for info in connection.get_all_apps(verbose=True) if info["name"] == app]
    return found[0] if found else None


def unregister(session: Session, args: SimpleNamespace) -> None:
    """``unregister_application``."""
    connection = session.connected()
    lookup.known_app(connection, args.app)
    connection.unregister_application(args.app)
    session.say("apps.unregistered", app=args.app)


def apps(session: Session, args: SimpleNamespace) -> Names | Records:
    """``get_all_apps``."""
    found = session.connected().get_all_apps(verbose=args.verbose)
    return Records(found) if args.verbose else Names(found)


def app_info(session: Session, args: SimpleNamespace) -> Info:
    """``get_app_info``; an unknown application is an error here."""
    return Info(lookup.known_app(session.connected(), args.app))


def link(session: Session, args: SimpleNamespace) -> None:
    """``link_model_to_app``; the same link again changes nothing."""
    connection = session.connected()
    linked_now = lookup.known_app(connection, args.app)["linked_models"]
    if args.model not in linked_now:
        lookup.known_model(connection, args.model)
        connection.link_model_to_app(args.app, args.model)
    session.say("apps.link_unchanged" if args.model in linked_now else "apps.linked", app=args.app, model=args.model)


def unlink(session: Session, args: SimpleNamespace) -> None:
    """``unlink_model_from_app``."""
    connection = session.connected()
    lookup.known_app(connection, args.app)
    lookup.known_model(connection, args.model)
    connection.unlink_model_from_app(args.app, args.model)
    session.say("apps.unlinked", app=args.app, model=args.model)


def linked(session: Session, args: SimpleNamespace) -> Names:
    """``get_linked_models``."""
    connection = session.connected()
    lookup.known_app(connection, args.app)
    return Names(connection.get_linked_models(args.app))


_APP = Parameter("APP", APP, required=True)
_MODEL = Parameter("MODEL", MODEL, required=True)
VERBOSE = Parameter("--verbose", FLAG, short="-v")

COMMANDS = (
    Command(
        "register",
        register,
        (
            Parameter("APP", text("APP"), required=True),
            Parameter("--input-type", INPUT_TYPE, required=True),
            Parameter("--default-output", text("S"), required=True),
            Parameter("--slo", DURATION),
            Parameter("--slo-micros", number(1, MAX_SLO_MICROS)),
        ),
        usage="APP --input-type T --default-output S (--slo 100ms | --slo-micros N)",
    ),
    Command("unregister", unregister, (_APP,)),
    Command("apps", apps, (VERBOSE,)),
    Command("app", app_info, (_APP,)),
    Command("link", link, (_APP, _MODEL)),
    Command("unlink", unlink, (_APP, _MODEL)),
    Command("linked", linked, (_APP,)),
)
