"""What the images hold: the serving image, the packages of a model, the model itself."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import docker

from clipper_magic import wheels
from clipper_magic.image import (
    KIND_LABEL,
    PACKAGES_LABEL,
    PYTHON_LABEL,
    BuildError,
    OnLine,
    build,
    image_id,
    image_labels,
)
from clipper_magic.wheels import Platform

_COMPILE = "python3 -m compileall -qq -j 0 --invalidation-mode unchecked-hash"
RUNTIME_FOLDER = "/opt/clipper/site"
MODEL_FOLDER = "/model/packages"
"""Where ``serving_image`` finds its own packages, and those of a model."""


def build_serving_image(client: docker.DockerClient, base: str, platform: Platform, on_line: OnLine) -> str:
    """Return the tag of the serving image on ``base``, built unless it exists.

    Parameters
    ----------
    client : docker.DockerClient
        The engine.
    base : str
        A local image with the kernel's minor version of Python.
    platform : Platform
        The base's Python and the engine's architecture.
    on_line : callable
        Gets what is being done, line by line.

    Notes
    -----
    The tag is a hash of everything that goes in (code, Dockerfile, versions, base), so it never is out of date.

    Raises
    ------
    BuildError
        With the failing step.
    """
    source = Path(str(files("serving_image")))
    requirements = wheels.read_requirements(source / "requirements.txt")
    runtime = add_packages(client, base, requirements, platform, on_line, RUNTIME_FOLDER)
    context: dict[str, Path | bytes] = {path.name: path for path in sorted(source.glob("*.py"))}
    context |= {name: source / name for name in ("Dockerfile", "requirements.txt")}
    contents = [path.read_bytes() for path in context.values() if isinstance(path, Path)]
    tag = f"clipper_magic/serving:{_digest(*contents, image_id(client, runtime) or runtime)}"
    if not image_id(client, tag):
        on_line(f"Building the serving image on {base}")
        labels = {KIND_LABEL: "serving"}
        build(client, context, tag, labels=labels, arguments={"BASE": runtime}, on_line=on_line)
    return tag


def add_packages(
    client: docker.DockerClient,
    base: str,
    requirements: Sequence[str],
    platform: Platform,
    on_line: OnLine,
    folder: str = MODEL_FOLDER,
) -> str:
    """Return an image that is ``base`` plus packages, built unless it exists; ``base`` itself if it has them all.

    Parameters
    ----------
    client, base, platform, on_line
        As in `build_serving_image`.
    requirements : sequence of str
        Bare names and lower bounds mean the kernel's versions.
    folder : str
        Where the packages go, in the image.

    Raises
    ------
    BuildError
        With pip's output.
    """
    known: dict[str, str] = json.loads(image_labels(client, base).get(PACKAGES_LABEL, "{}"))
    have = {f"{name}=={version}" for name, version in known.items()}
    wanted = [line for line in wheels.pinned(requirements) if line not in have]
    if not wanted:
        return base
    tag = f"clipper_magic/packages:{_digest(*wanted, folder, image_id(client, base) or base)}"
    if image_id(client, tag):
        return tag
    with tempfile.TemporaryDirectory(prefix="clipper-packages-") as scratch:
        packages = Path(scratch, "packages")
        _install(wanted, packages, platform, on_line)
        wheels.remove_known(packages, known)
        labels = {
            KIND_LABEL: "packages" if folder == MODEL_FOLDER else "runtime",
            PYTHON_LABEL: platform.python,
            PACKAGES_LABEL: json.dumps(wheels.installed_in(packages) | known),
        }
        # Root byte-compiles; the user that the serving image ends with runs. A package may have files for a newer
        # Python, which this one cannot compile and never imports: as for pip, that is no error.
        steps = (f"FROM {base}", "USER root", f"COPY packages {folder}/", f"RUN {_COMPILE} {folder} || true")
        dockerfile = "\n".join([*steps, "USER 10001:10001" if folder == MODEL_FOLDER else ""]).encode()
        build(client, {"Dockerfile": dockerfile, "packages": packages}, tag, labels=labels, on_line=on_line)
    return tag


def build_model_image(
    client: docker.DockerClient,
    base: str,
    model_data_path: Path,
    tag: str,
    labels: Mapping[str, str],
    on_line: OnLine,
) -> None:
    """Build the image of one model version: ``base`` and the model's directory as ``/model/``.

    Raises
    ------
    BuildError
        With the failing step.
    """
    # The folder keeps its path inside the context, so that the builder's lines name the folder that the user knows.
    inside = str(model_data_path.resolve()).lstrip("/")
    copy = f"COPY {json.dumps(['/' + inside, '/model/'])}" if " " in inside else f"COPY /{inside} /model/"
    # Labelled first: whatever an interrupted build leaves is known to be the cluster's.
    label = "LABEL " + " ".join(f"{json.dumps(key)}={json.dumps(value)}" for key, value in labels.items())
    dockerfile = f"FROM {base}\n{label}\n{copy}\n".encode()
    build(client, {"Dockerfile": dockerfile, inside: model_data_path}, tag, labels={}, on_line=on_line)


def _install(requirements: Sequence[str], target: Path, platform: Platform, on_line: OnLine) -> None:
    command = f"pip install {' '.join(requirements)}"
    on_line(command)
    try:
        wheels.install(requirements, target, platform)
    except wheels.PipError as err:
        raise BuildError(command, str(err)) from err


def _digest(*parts: bytes | str) -> str:
    digest = hashlib.sha256(wheels.PYTHON_VERSION.encode())
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return f"{wheels.PYTHON_VERSION}-{digest.hexdigest()[:12]}"
