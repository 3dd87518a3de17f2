"""``deploy endpoint`` and ``%%clipper_deploy``: a function becomes a model that serves."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from clipper_magic.commands import applications, cells, lookup
from clipper_magic.commands.checks import AS_DATAFRAME, check_here
from clipper_magic.commands.grammar import Command, Parameter
from clipper_magic.commands.inputs import as_function_gets_it, inputs_of
from clipper_magic.commands.kinds import APP, DURATION, FLAG, FUNCTION, JSON, LIST, MODEL_VERSION, number, text
from clipper_magic.commands.models import BATCH_SIZE, INPUT_TYPE
from clipper_magic.commands.session import Session
from clipper_magic.content_hash import content_label, content_of
from clipper_magic.exceptions import AlreadyRegisteredError, ClipperUsageError, LinkError
from clipper_magic.names import check_input_type
from clipper_magic.render import Info

if TYPE_CHECKING:
    from clipper_magic.connection import ClipperConnection

ENDPOINT_DEFAULT_OUTPUT = "None"
ENDPOINT_SLO_MICROS = 3_000_000


@dataclass(frozen=True)
class _Plan:
    """What a deploy would do, found out before anything is built."""

    model: str
    version: str
    input_type: str
    content: str
    known: dict[str, Any] | None
    before: str | None


def deploy_cell(session: Session, args: SimpleNamespace) -> Info:
    """``%%clipper_deploy``: run the cell, deploy the function that it defines."""
    __tracebackhide__ = True
    defined = cells.run_cell(session.shell, args.cell)
    args.func = cells.choose_function(defined, args.func)
    return deploy(session, args)


def deploy(session: Session, args: SimpleNamespace) -> Info:
    """``deployers.python.deploy_python_closure``; the same content again builds nothing."""
    __tracebackhide__ = True
    function = cells.find_function(session.shell, args.func)
    connection = session.connected()
    plan = _plan(connection, args, function)
    if args.example is not None:
        _, typed = inputs_of(args.example, plan.input_type)
        args.example = as_function_gets_it(typed, plan.input_type)
    if args.check is not None:
        check_here(session, connection, args, function, plan.input_type)
    if plan.known is None:
        _build_and_deploy(session, connection, args, function, plan)
    else:
        _use_again(session, connection, args, plan)
    return session.said(Info(lookup.known_version(connection, plan.model, plan.version)))


def _plan(connection: ClipperConnection, args: SimpleNamespace, function: Callable[..., Any]) -> _Plan:
    model, wanted = args.name
    versions = [info for info in connection.get_all_models(verbose=True) if info["model_name"] == model]
    current = next((info for info in versions if info["is_current_version"]), None)
    app = lookup.known_app(connection, args.app) if args.app else None
    if app and app["linked_models"] not in ([], [model]):
        raise LinkError.of("app-has-model", app=args.app, model=app["linked_models"][0])
    if args.input_type:
        input_type = check_input_type(args.input_type)
    elif app or current:
        input_type = str((app or current or {})["input_type"])
    else:
        raise ClipperUsageError.of("input-type-needed", model=model)
    settings = [args.pkgs, args.base_image, args.batch_size, args.as_dataframe]
    settings += ["no packages detected"] if args.no_detect else []
    content = content_label(function, input_type, *settings)
    same = [info for info in versions if content and content_of(info["labels"]) == content]
    if wanted is not None:
        existing = next((info for info in versions if info["model_version"] == wanted), None)
        if existing and existing not in same:
            raise AlreadyRegisteredError.of("version-is-immutable", model=model, version=wanted)
        known, version = existing, wanted
    else:
        known = same[-1] if same else None
        version = known["model_version"] if known else _next_version(versions)
    before = current["model_version"] if current else None
    return _Plan(model, version, input_type, content, known, before)


def _next_version(versions: list[dict[str, Any]]) -> str:
    numbers = [int(info["model_version"]) for info in versions if info["model_version"].isdigit()]
    return str(max(numbers, default=0) + 1)


def _build_and_deploy(
    session: Session,
    connection: ClipperConnection,
    args: SimpleNamespace,
    function: Callable[..., Any],
    plan: _Plan,
) -> None:
    from clipper_magic.deployers import python

    session.doing("deploy.running", model=plan.model, version=plan.version)
    with if_deployment_interrupted(session, connection, plan.model, plan.version):
        python.deploy_python_closure(
            connection,
            plan.model,
            plan.version,
            plan.input_type,
            function,
            base_image=args.base_image,
            labels=[*(args.labels or []), *([plan.content] if plan.content else [])],
            registry=args.registry,
            num_replicas=args.replicas,
            batch_size=args.batch_size,
            pkgs_to_install=args.pkgs,
            example=args.example,
            as_dataframe=args.as_dataframe,
            detect_packages=not args.no_detect,
        )
        linked = _link(connection, args.app, plan.model)
    _say_deployed(session, connection, args, plan, linked)


def if_deployment_interrupted(
    session: Session, connection: ClipperConnection, model: str, version: str
) -> AbstractContextManager[None]:
    """Let a Ctrl-C in the block tell whether the version is deployed: it may have come at the very end."""

    def became() -> str:
        deployed = f"{model}:{version}" in connection.get_all_models()
        return session.texts(
            "deploy.interrupted_late" if deployed else "deploy.interrupted", model=model, version=version
        )

    return session.if_interrupted(became)


def _link(connection: ClipperConnection, app: str | None, model: str) -> bool:
    """Link the model to the application that ``--app`` names; return whether that was new."""
    if app is None or model in lookup.known_app(connection, app)["linked_models"]:
        return False
    connection.link_model_to_app(app, model)
    return True


def _say_deployed(
    session: Session, connection: ClipperConnection, args: SimpleNamespace, plan: _Plan, linked: bool
) -> None:
    texts = session.texts
    if found := session.area.packages:
        python = "{}.{}".format(*sys.version_info)
        session.say("deploy.packages", n=len(found), packages=", ".join(found), python=python)
    facts = [texts("deploy.replicas_ready", n=connection.get_num_replicas(plan.model, plan.version))]
    if linked:
        facts.append(texts("deploy.linked", app=args.app))
    if plan.before is not None:
        facts.append(texts("deploy.before", model=plan.model, version=plan.before))
    session.say(
        "deploy.done",
        model=plan.model,
        version=plan.version,
        facts=", ".join(facts),
        took=session.elapsed(),
    )


def _use_again(session: Session, connection: ClipperConnection, args: SimpleNamespace, plan: _Plan) -> None:
    """Leave a version that has this content as it is; make it current, and as many, as the line asks for."""
    fields = {"model": plan.model, "version": plan.version}
    if plan.before == plan.version:
        session.say("deploy.unchanged", **fields)
    else:
        connection.set_model_version(plan.model, plan.version)
        session.say("deploy.current_again", **fields, before=plan.before)
    if connection.get_num_replicas(plan.model, plan.version) < args.replicas:
        connection.set_num_replicas(plan.model, args.replicas, plan.version)
        session.say("deploy.topped_up", **fields, n=args.replicas)
    if _link(connection, args.app, plan.model):
        session.say("apps.linked", app=args.app, model=plan.model)


def endpoint(session: Session, args: SimpleNamespace) -> Info:
    """``deployers.python.create_endpoint``: an application and a model of the same name, linked."""
    __tracebackhide__ = True
    name, _ = args.name
    connection = session.connected()
    slo_micros = ENDPOINT_SLO_MICROS if args.slo is None and args.slo_micros is None else args.slo_micros
    values = {**vars(args), "app": name, "slo_micros": slo_micros}
    if args.input_type is None:
        raise ClipperUsageError.of("input-type-needed", model=name)
    cells.find_function(session.shell, args.func)  # before anything is registered
    is_new = applications.app_or_none(connection, name) is None
    applications.register(session, SimpleNamespace(**values))
    try:
        deploy(session, SimpleNamespace(**values))
    except BaseException:
        if is_new:
            connection.unregister_application(name)
        raise
    return session.said(Info(lookup.known_app(connection, name)))


_NAME = Parameter("NAME", MODEL_VERSION, required=True)

_DEPLOYING = (
    INPUT_TYPE,
    Parameter("--replicas", number(0), default=1),
    BATCH_SIZE,
    Parameter("--pkgs", LIST),
    Parameter("--no-detect", FLAG),
    Parameter("--base-image", text("IMAGE"), default="default"),
    Parameter("--labels", LIST),
    Parameter("--registry", text("R")),
    Parameter("--check", JSON),
    Parameter("--example", JSON),
    AS_DATAFRAME,
)

DEPLOY_CELL = Command(
    "clipper_deploy",
    deploy_cell,
    (_NAME, Parameter("--func", FUNCTION), Parameter("--app", APP), *_DEPLOYING),
    magic="%%clipper_deploy",
)

COMMANDS = (
    Command(
        "deploy",
        deploy,
        (_NAME, Parameter("--func", FUNCTION, required=True), Parameter("--app", APP), *_DEPLOYING),
    ),
    Command(
        "endpoint",
        endpoint,
        (
            _NAME,
            Parameter("--func", FUNCTION, required=True),
            Parameter("--default-output", text("S"), default=ENDPOINT_DEFAULT_OUTPUT),
            Parameter("--slo", DURATION),
            Parameter("--slo-micros", number(1, applications.MAX_SLO_MICROS)),
            *_DEPLOYING,
        ),
    ),
)
