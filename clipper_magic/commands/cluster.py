"""``start connect conn status``: the cluster as a whole."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from clipper_magic.commands import backends
from clipper_magic.commands.grammar import Command, Parameter
from clipper_magic.commands.kinds import FLAG, choice, number, text
from clipper_magic.commands.session import Session
from clipper_magic.container_manager import DEFAULT_PREDICTION_CACHE_SIZE_BYTES
from clipper_magic.exceptions import ClipperUsageError, NoClusterError
from clipper_magic.managers.choice import BACKENDS, choose, manager
from clipper_magic.render import Checks, Info

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
    session.say("start.already", cluster=cluster, **counts(connection))
    if args.keep_state and not connection.cm.keeps_state():
        session.say("start.not_kept", cluster=cluster)
    if ignored := _without_effect(connection.cm, args):
        options = session.texts.listing([f"`{option}`" for option in ignored])
        session.say("start.own_settings", cluster=cluster, options=options, n=len(ignored))
    return _cluster_info(session)


def _without_effect(running: ContainerManager, args: SimpleNamespace) -> list[str]:
    """Return the options of the line that a cluster which runs already does not have, or may not have."""

    def elsewhere(port: int | None, address: str) -> bool:
        return port is not None and address.rpartition(":")[2] != str(port)

    differs = {
        "--query-port": elsewhere(args.query_port, running.get_query_addr()),
        "--management-port": elsewhere(args.management_port, running.get_admin_addr()),
        "--cache-size": args.cache_size != DEFAULT_PREDICTION_CACHE_SIZE_BYTES,
        "--frontends": args.frontends != 1,
        "--allow-network": args.allow_network and not running.allows_network(),
        "--base-image": args.base_image is not None,
    }
    return [option for option, ignored in differs.items() if ignored]


def _start_new(session: Session, args: SimpleNamespace, backend: str, cluster: str) -> Info:
    from clipper_magic.connection import ClipperConnection

    kind, docker_missing = choose(backend)
    options = _manager_options(args, kind)
    if docker_missing:
        session.say("start.no_docker")
    session.doing("start.running", cluster=cluster)
    connection = ClipperConnection(manager(kind, cluster, ready_timeout_s=session.settings.timeout, **options))
    had_state = connection.cm.keeps_state()

    def became() -> str:
        return session.texts("start.interrupted_late" if connection.connected else "start.interrupted", cluster=cluster)

    with session.if_interrupted(became):
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
        session.say("start.taken_up", **counts(connection))
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
    session.say("start.connected", cluster=cluster, **counts(session.connection))
    return _cluster_info(session)


def _choose_cluster(session: Session, args: SimpleNamespace) -> str:
    if args.cluster:
        session.settings.cluster = args.cluster
    return session.settings.cluster


def counts(connection: ClipperConnection) -> dict[str, int]:
    """Return how many applications, models and replicas there are."""
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
    found = counts(connection)
    query = connection.get_query_addr()
    checks = Checks(
        cluster={
            "ok": True,
            "message": texts(
                "status.cluster",
                cluster=connection.cm.cluster_name,
                backend=backends.kind_of(connection.cm),
                addr=query,
                **found,
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
)
