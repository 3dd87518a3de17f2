"""``build deploy-image``: the two halves of a deployment, for model directories made elsewhere."""

from __future__ import annotations

from types import SimpleNamespace

from clipper_magic.commands import lookup
from clipper_magic.commands.deploy import if_deployment_interrupted
from clipper_magic.commands.grammar import Command, Parameter
from clipper_magic.commands.kinds import LIST, MODEL_VERSION, number, text
from clipper_magic.commands.models import BATCH_SIZE, wanted_version
from clipper_magic.commands.session import Session
from clipper_magic.names import check_input_type
from clipper_magic.render import Info
from clipper_magic.told import Word


def build(session: Session, args: SimpleNamespace) -> str:
    """``build_model``: the image's name."""
    model, version = wanted_version(args.name)
    connection = session.connected()
    session.doing("images.building", model=model, version=version)
    with session.if_interrupted(lambda: session.texts("images.interrupted", model=model, version=version)):
        image = connection.build_model(model, version, args.dir, args.base_image, args.registry, args.pkgs)
    session.say("images.built", image=image, took=session.elapsed())
    return session.said(Word(image))


def deploy_image(session: Session, args: SimpleNamespace) -> Info:
    """``deploy_model``: serve an image that was built."""
    model, version = wanted_version(args.name)
    connection = session.connected()
    input_type = check_input_type(args.input_type)
    session.doing("deploy.running", model=model, version=version)
    with if_deployment_interrupted(session, connection, model, version):
        connection.deploy_model(model, version, input_type, args.image, args.labels, args.replicas, args.batch_size)
    ready = session.texts("deploy.replicas_ready", n=connection.get_num_replicas(model, version))
    session.say("deploy.done", model=model, version=version, facts=ready, took=session.elapsed())
    return session.said(Info(lookup.known_version(connection, model, version)))


_NAME = Parameter("NAME", MODEL_VERSION, required=True)

COMMANDS = (
    Command(
        "build",
        build,
        (
            _NAME,
            Parameter("DIR", text("DIR", "path"), required=True),
            Parameter("--base-image", text("IMAGE"), default="default"),
            Parameter("--registry", text("R")),
            Parameter("--pkgs", LIST),
        ),
        usage="NAME:V DIR [--base-image IMAGE] [--registry R] [--pkgs A,B]",
    ),
    Command(
        "deploy-image",
        deploy_image,
        (
            _NAME,
            Parameter("IMAGE", text("IMAGE"), required=True),
            Parameter("--input-type", text("T", "input_type"), required=True),
            Parameter("--labels", LIST),
            Parameter("--replicas", number(0), default=1),
            BATCH_SIZE,
        ),
        usage="NAME:V IMAGE --input-type T [--labels A,B] [--replicas N] [--batch-size N]",
    ),
)
