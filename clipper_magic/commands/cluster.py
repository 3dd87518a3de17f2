"""``start connect conn status stop``: the cluster as a whole."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from clipper_magic.commands import backends, lookup
from clipper_magic.commands.grammar import Command, Parameter
from clipper_magic.commands.kinds import FLAG, choice, number, text
from clipper_magic.commands.session import Session
from clipper_magic.container_manager import DEFAULT_PREDICTION_CACHE_SIZE_BYTES, NO_CONTAINER
from clipper_magic.exceptions import ClipperException, ClipperUsageError, NoClusterError
from clipper_magic.managers.choice import BACKENDS, choose, manager
from clipper_magic.render import Checks, Info, Names

if TYPE_CHECKING:
    from clipper_magic.connection import ClipperConnection
    from clipper_magic.container_manager import ContainerManager

LARGEST_PORT = 65_535


def start(session: Session, args: SimpleNamespace) -> Info:
    """``start_clipper``; a cluster that runs already is connected to."""
    cluster = _choose_cluster(session, args)
    backend = args.backend or session.settings.chosen("backend")
    try:
        connection = backends.find(backend, cluster, session.settings.timeout)
    except NoClusterError:
        return _start_new(session, args, backend, cluster)
    session.connection = connection
    session.say("start.already", cluster=cluster, **_counts(connection))
    if args.keep_state and not connection.cm.keeps_state():
        session.say("start.not_kept", cluster=cluster)
    return _cluster_info(session)


def _start_new(session: Session, args: SimpleNamespace, backend: str, cluster: str) -> Info:
    from clipper_magic.connection import ClipperConnection

    kind, docker_missing = choose(backend)
    options = _manager_options(args, kind)
    if docker_missing:
        session.say("start.no_docker")
    session.doing("start.running", cluster=cluster)
    connection = ClipperConnection(manager(kind, cluster, ready_timeout_s=session.settings.timeout, **options))
    had_state = connection.cm.keeps_state()
    connection.start_clipper(
        cache_size=args.cache_size,
        qf_http_thread_pool_size=args.http_threads,
        num_frontend_replicas=args.frontends,
    )
    session.connection = connection
    query = connection.get_query_addr()
    wished = args.query_port or backends.DEFAULT_QUERY_PORT
    if query.rpartition(":")[2] != str(wished):
        session.say("start.other_port", wished=wished, port=query.rpartition(":")[2])
    session.say("start.done", addr=query, cluster=cluster, backend=kind, took=session.elapsed())
    _tell_state(session, keep=args.keep_state, had=had_state)
    return _cluster_info(session)


def _manager_options(args: SimpleNamespace, kind: str) -> dict[str, Any]:
    """Return the container manager's arguments that the line gives; refuse what the backend cannot do."""
    options = {"clipper_query_port": args.query_port, "clipper_management_port": args.management_port}
    options |= {"keep_state": args.keep_state or None, "base_image": args.base_image}
    if kind == "docker":
        options["allow_network"] = args.allow_network or None
    elif args.base_image is not None:
        raise ClipperUsageError.of("docker-only", option="--base-image")
    # Local processes may open connections in any case: --allow-network asks for what is so.
    return {name: value for name, value in options.items() if value is not None}


def _tell_state(session: Session, *, keep: bool, had: bool) -> None:
    """Say what became of what the last cluster of this name kept, and what will become of this one's."""
    connection = session.connected()
    if had and not keep:
        session.say("start.forgot")
    elif had:
        session.say("start.taken_up", **_counts(connection))
        served = {name.rpartition(":")[0] for name in connection.get_all_model_replicas()}
        for info in connection.get_all_models(verbose=True):
            model, version = info["model_name"], info["model_version"]
            if info["is_current_version"] and f"{model}:{version}" not in served:
                session.say("models.no_replica", model=model, version=version)
    elif keep:
        session.say("start.keeps")


def connect(session: Session, args: SimpleNamespace) -> Info:
    """``connect``."""
    cluster = _choose_cluster(session, args)
    session.connection = backends.find(session.settings.chosen("backend"), cluster, session.settings.timeout)
    session.say("start.connected", cluster=cluster, **_counts(session.connection))
    return _cluster_info(session)


def _choose_cluster(session: Session, args: SimpleNamespace) -> str:
    if args.cluster:
        session.settings.cluster = args.cluster
    return session.settings.cluster


def _counts(connection: ClipperConnection) -> dict[str, int]:
    return {
        "apps": len(connection.get_all_apps()),
        "models": len({name.rpartition(":")[0] for name in connection.get_all_models()}),
        "replicas": len(connection.get_all_model_replicas()),
    }


def _cluster_info(session: Session) -> Info:
    connection = session.connected()
    info = Info(
        cluster=connection.cm.cluster_name,
        backend=backends.kind_of(connection.cm),
        query_addr=connection.get_query_addr(),
        admin_addr=connection.cm.get_admin_addr(),
        metric_addr=connection.get_metric_addr(),
    )
    return session.said(info)


def conn(session: Session, args: SimpleNamespace) -> ClipperConnection:
    """Return the `ClipperConnection`: the whole Python API."""
    return session.connected()


def status(session: Session, args: SimpleNamespace) -> Checks:
    """Tell what runs: the frontends, and each model version's replicas, asked for and seen."""
    connection = session.connected()
    texts = session.texts
    counts = _counts(connection)
    query = connection.get_query_addr()
    checks = Checks(
        cluster={
            "ok": True,
            "message": texts(
                "status.cluster",
                cluster=connection.cm.cluster_name,
                backend=backends.kind_of(connection.cm),
                addr=query,
                **counts,
            ),
        }
    )
    listed = connection.get_all_model_replicas()
    for info in connection.get_all_models(verbose=True):
        model, version = info["model_name"], info["model_version"]
        wanted = sum(name.startswith(f"{model}:{version}:") for name in listed)
        ready = connection.get_num_replicas(model, version)
        message = "status.current" if info["is_current_version"] else "status.version"
        fields = {"model": model, "version": version, "ready": ready, "wanted": wanted}
        checks[f"{model}:{version}"] = {"ok": ready >= wanted, "message": texts(message, **fields), **fields}
    return checks


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
        return _clear_away(session, backend, cluster)
    counts = _counts_or_none(connection)
    if session.settings.confirm_stop and not _confirmed(session, counts):
        session.say("stop.kept")
        return session.said(Names())
    images = _images(connection) if connection.cm.images_outlive_cluster else []
    session.doing("stop.running", cluster=cluster)
    session.freeze_panel()
    report = connection.cm.stop_all(graceful=not args.force)
    connection.connected = False
    connection.logger.info("Stopped all Clipper cluster and all model containers")
    session.connection = None
    if args.images:
        for image in images:
            connection.cm.remove_image(image)
    left = _what_is_left(session, connection.cm, 0 if args.images else len(images))
    services = len(report.stopped) - counts["replicas"]
    session.say("stop.all", replicas=counts["replicas"], services=services, left=left)
    return session.said(Names(report.stopped))


def _what_is_left(session: Session, stopped: ContainerManager, images: int) -> str:
    """Return what to say of a stopped cluster's state and of the images of its models."""
    kept = stopped.keeps_state()
    if not kept and not images:
        return session.texts("stop.nothing_left")
    left = session.texts("stop.state_kept" if kept else "stop.state_forgotten")
    return " ".join([left, session.texts("stop.images_left", n=images)]) if images else left


def _clear_away(session: Session, backend: str, cluster: str) -> Names:
    """Remove what a crash may have left of a cluster that does not answer."""
    session.freeze_panel()
    session.connection = None
    managers = [manager(kind, cluster) for kind in backends.kinds(backend)]
    stopped = [name for each in managers for name in each.stop_all().stopped]
    session.say("stop.cleared" if stopped else "stop.nothing", n=len(stopped))
    if any(each.keeps_state() for each in managers):
        session.say("stop.state_kept")
    return session.said(Names(stopped))


def _counts_or_none(connection: ClipperConnection) -> dict[str, int]:
    """Return what would stop; a cluster whose management frontend is gone can still be stopped."""
    try:
        return _counts(connection)
    except ClipperException:
        return {"apps": 0, "models": 0, "replicas": 0}


def _images(connection: ClipperConnection) -> list[str]:
    try:
        found = {info["container_name"] for info in connection.get_all_models(verbose=True)}
    except ClipperException:
        return []
    return sorted(found - {NO_CONTAINER, ""})


def _confirmed(session: Session, counts: dict[str, Any]) -> bool:
    answer = input(session.texts("stop.confirm", cluster=session.settings.cluster, **counts))
    return answer.strip().lower() in session.texts("stop.yes").split()


_CLUSTER = Parameter("--cluster", text("N"))

COMMANDS = (
    Command(
        "start",
        start,
        (
            _CLUSTER,
            Parameter("--backend", choice(*BACKENDS)),
            Parameter("--query-port", number(1, LARGEST_PORT)),
            Parameter("--management-port", number(1, LARGEST_PORT)),
            Parameter("--cache-size", number(0), default=DEFAULT_PREDICTION_CACHE_SIZE_BYTES),
            Parameter("--frontends", number(1), default=1),
            Parameter("--http-threads", number(1), default=1),
            Parameter("--keep-state", FLAG),
            Parameter("--allow-network", FLAG),
            Parameter("--base-image", text("IMAGE")),
        ),
    ),
    Command("connect", connect, (_CLUSTER,)),
    Command("conn", conn),
    Command("status", status),
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
