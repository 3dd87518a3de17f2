"""``stop``: models, versions, or the whole cluster."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from clipper_magic.commands import backends, lookup
from clipper_magic.commands.cluster import counts
from clipper_magic.commands.grammar import Command, Parameter
from clipper_magic.commands.kinds import FLAG, text
from clipper_magic.commands.session import Session
from clipper_magic.exceptions import ClipperException, ClipperUsageError, NoClusterError
from clipper_magic.managers.choice import manager
from clipper_magic.render import Names

if TYPE_CHECKING:
    from clipper_magic.connection import ClipperConnection
    from clipper_magic.container_manager import ContainerManager


def stop(session: Session, args: SimpleNamespace) -> Names | None:
    """``stop_models``, ``stop_versioned_models``, ``stop_inactive_model_versions``, … by what the line names."""
    chosen = [bool(args.all), bool(args.models), bool(args.names)]
    if sum(chosen) > 1 or (args.inactive and not args.names):
        raise ClipperUsageError.of("one-of", first="--all, --models", second="NAME…")
    if args.all:
        return _stop_all(session, args)
    connection = session.connected()
    if args.models:
        stopped = connection.get_all_models()
        connection.stop_all_model_containers()
    elif args.names:
        stopped = _stop_named(connection, args.names, inactive=args.inactive)
    else:
        session.say("stop.forms")
        return None
    left = set(connection.get_all_models())
    stopped = [name for name in stopped if name not in left]
    session.say("stop.models" if stopped else "stop.nothing_of", names=", ".join(stopped))
    return session.said(Names(stopped))


def _stop_named(connection: ClipperConnection, wanted: list[str], *, inactive: bool) -> list[str]:
    """Stop models and versions; return everything that may have stopped."""
    models = [name for name in wanted if ":" not in name]
    versions: dict[str, list[str]] = {}
    for name in wanted:
        model, _, version = name.partition(":")
        if version:
            lookup.known_version(connection, model, version)
            versions.setdefault(model, []).append(version)
        else:
            lookup.known_model(connection, model)
    before = connection.get_all_models()
    if models and inactive:
        connection.stop_inactive_model_versions(models)
    elif models:
        connection.stop_models(models)
    if versions:
        connection.stop_versioned_models(versions)
    return before


def _stop_all(session: Session, args: SimpleNamespace) -> Names:
    backend, cluster, timeout = session.settings.chosen("backend"), session.settings.cluster, session.settings.timeout
    try:
        connection = backends.find(backend, cluster, timeout)
    except NoClusterError:
        return _clear_away(session, args, backend, cluster)
    running = _counts_or_none(connection)
    if session.settings.confirm_stop and not _confirmed(session, running):
        session.say("stop.kept")
        return session.said(Names())
    session.doing("stop.running", cluster=cluster)
    session.freeze_panel()
    with session.if_interrupted(lambda: session.texts("stop.interrupted", cluster=cluster)):
        report = connection.cm.stop_all(graceful=not args.force)
    connection.connected = False
    connection.logger.info("Stopped all Clipper cluster and all model containers")
    session.connection = None
    if args.images:
        _remove_images(connection.cm)
    left = _what_is_left(session, connection.cm)
    services = len(report.stopped) - running["replicas"]
    session.say("stop.all", replicas=running["replicas"], services=services, left=left)
    return session.said(Names(report.stopped))


def _remove_images(stopped: ContainerManager) -> int:
    """Remove the images of a stopped cluster's models; return how many there were."""
    images = stopped.list_images()
    for image in images:
        stopped.remove_image(image)
    return len(images)


def _what_is_left(session: Session, stopped: ContainerManager) -> str:
    """Return what to say of a stopped cluster's state and of the images of its models."""
    kept, images = stopped.keeps_state(), len(stopped.list_images())
    if not kept and not images:
        return session.texts("stop.nothing_left")
    left = session.texts("stop.state_kept" if kept else "stop.state_forgotten")
    return " ".join([left, session.texts("stop.images_left", n=images)]) if images else left


def _clear_away(session: Session, args: SimpleNamespace, backend: str, cluster: str) -> Names:
    """Remove what a crash may have left of a cluster that does not answer; with ``--images`` what a stop left, too."""
    session.freeze_panel()
    session.connection = None
    managers = [manager(kind, cluster) for kind in backends.kinds(backend)]
    stopped = [name for each in managers for name in each.stop_all().stopped]
    images = sum(_remove_images(each) for each in managers) if args.images else 0
    if stopped or not images:
        session.say("stop.cleared" if stopped else "stop.nothing", n=len(stopped))
    if images:
        session.say("stop.images_removed", n=images)
    if any(each.keeps_state() for each in managers):
        session.say("stop.state_kept")
    return session.said(Names(stopped))


def _counts_or_none(connection: ClipperConnection) -> dict[str, int]:
    """Return what would stop; a cluster whose management frontend is gone can still be stopped."""
    try:
        return counts(connection)
    except ClipperException:
        return {"apps": 0, "models": 0, "replicas": 0}


def _confirmed(session: Session, running: dict[str, Any]) -> bool:
    answer = input(session.texts("stop.confirm", cluster=session.settings.cluster, **running))
    return answer.strip().lower() in session.texts("stop.yes").split()


COMMANDS = (
    Command(
        "stop",
        stop,
        (
            Parameter("NAMES", text("NAME[:V]", "model_version"), repeats=True),
            Parameter("--inactive", FLAG),
            Parameter("--models", FLAG),
            Parameter("--all", FLAG),
            Parameter("--force", FLAG),
            Parameter("--images", FLAG),
        ),
        usage="--all [--force] [--images] | --models | [--inactive] NAME[:V]…",
    ),
)
