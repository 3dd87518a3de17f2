"""``models model version rollback replicas replica``: what serves, in which version, how many times."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from clipper_magic.commands import lookup
from clipper_magic.commands.applications import VERBOSE
from clipper_magic.commands.grammar import Command, Parameter
from clipper_magic.commands.kinds import LIST, MODEL, MODEL_VERSION, number, text
from clipper_magic.commands.session import Session
from clipper_magic.exceptions import ClipperUsageError, NotRegisteredError
from clipper_magic.names import check_input_type
from clipper_magic.render import Info, Names, Records
from clipper_magic.told import Count


def models(session: Session, args: SimpleNamespace) -> Names | Records:
    """``get_all_models``."""
    found = session.connected().get_all_models(verbose=args.verbose)
    return Records(found) if args.verbose else Names(found)


def model_info(session: Session, args: SimpleNamespace) -> Info:
    """``get_model_info``, of the current version unless another is named."""
    return Info(lookup.known_version(session.connected(), *args.name))


def version(session: Session, args: SimpleNamespace) -> str | Info:
    """``get_current_model_version``, or ``set_model_version`` when a version is given."""
    connection = session.connected()
    current = str(lookup.known_version(connection, args.model, None)["model_version"])
    if args.version is None:
        return current
    lookup.known_version(connection, args.model, args.version)
    return _switch(session, args.model, current, args.version, args.replicas)


def rollback(session: Session, args: SimpleNamespace) -> Info:
    """``set_model_version`` to the version that was registered before the current one."""
    connection = session.connected()
    current = str(lookup.known_version(connection, args.model, None)["model_version"])
    registered = [info["model_version"] for info in lookup.known_model(connection, args.model)]
    place = registered.index(current)
    if place == 0:
        raise NotRegisteredError.of("no-earlier-version", model=args.model, version=current)
    return _switch(session, args.model, current, registered[place - 1], None, back=True)


def _switch(session: Session, model: str, old: str, new: str, replicas: int | None, *, back: bool = False) -> Info:
    connection = session.connected()
    connection.set_model_version(model, new, replicas)
    message = "models.rolled_back" if back else "models.same_version" if old == new else "models.switched"
    session.say(message, model=model, version=new, before=old)
    if connection.get_num_replicas(model, new) == 0:
        session.say("models.no_replica", model=model, version=new)
    return session.said(Info(lookup.known_version(connection, model, new)))


def replicas(session: Session, args: SimpleNamespace) -> Names | int:
    """``get_all_model_replicas``, ``get_num_replicas`` or ``set_num_replicas``."""
    connection = session.connected()
    if args.name is None:
        return Names(connection.get_all_model_replicas())
    model, wanted = args.name
    model_version = str(lookup.known_version(connection, model, wanted)["model_version"])
    before = connection.get_num_replicas(model, model_version)
    if args.n is None:
        return before
    fields: dict[str, Any] = {"model": model, "version": model_version, "n": args.n, "before": before}
    if args.n != before:
        session.doing("models.scaling", **fields)

        def became() -> str:
            now = connection.get_num_replicas(model, model_version)
            return session.texts("models.scale_interrupted", **{**fields, "n": now})

        with session.if_interrupted(became):
            connection.set_num_replicas(model, args.n, model_version)
        session.say("models.scaled", **fields, took=session.elapsed())
    else:
        session.say("models.scale_unchanged", **fields)
    return session.said(Count(connection.get_num_replicas(model, model_version)))


def replica_info(session: Session, args: SimpleNamespace) -> Info:
    """``get_model_replica_info``."""
    connection = session.connected()
    model, wanted = args.name
    model_version = str(lookup.known_version(connection, model, wanted)["model_version"])
    for info in connection.get_all_model_replicas(verbose=True):
        place = (info["model_name"], info["model_version"], info["model_replica_id"])
        if place == (model, model_version, args.id):
            return Info(info)
    raise NotRegisteredError.of("no-replica", model=model, version=model_version, replica_id=args.id)


def register_model(session: Session, args: SimpleNamespace) -> Info:
    """``register_model``: a version that the cluster knows and does not run itself."""
    model, model_version = wanted_version(args.name)
    connection = session.connected()
    connection.register_model(
        model,
        model_version,
        check_input_type(args.input_type),
        image=args.image,
        labels=args.labels,
        batch_size=args.batch_size,
    )
    session.say("models.registered", model=model, version=model_version)
    return session.said(Info(lookup.known_version(connection, model, model_version)))


def wanted_version(name: tuple[str, str | None]) -> tuple[str, str]:
    """Return a model's name and version; a missing version is a usage error."""
    model, model_version = name
    if model_version is None:
        raise ClipperUsageError.of("version-needed", model=model)
    return model, model_version


NAME = Parameter("NAME", MODEL_VERSION, required=True)
_MODEL = Parameter("MODEL", MODEL, required=True)
INPUT_TYPE = Parameter("--input-type", text("T", "input_type"))
BATCH_SIZE = Parameter("--batch-size", number(-1), default=-1)

COMMANDS = (
    Command("models", models, (VERBOSE,)),
    Command("model", model_info, (NAME,), usage="NAME[:V]"),
    Command(
        "version",
        version,
        (_MODEL, Parameter("VERSION", text("V", "version")), Parameter("--replicas", number(0))),
    ),
    Command("rollback", rollback, (_MODEL,)),
    Command(
        "replicas",
        replicas,
        (Parameter("NAME", MODEL_VERSION), Parameter("N", number(0))),
        usage="[NAME[:V] [N]]",
    ),
    Command("replica", replica_info, (NAME, Parameter("ID", number(0), required=True)), usage="NAME[:V] ID"),
    Command(
        "register-model",
        register_model,
        (
            NAME,
            Parameter("--input-type", text("T", "input_type"), required=True),
            Parameter("--image", text("IMAGE")),
            Parameter("--labels", LIST),
            BATCH_SIZE,
        ),
        usage="NAME:V --input-type T [--image IMAGE] [--labels A,B] [--batch-size N]",
    ),
)
