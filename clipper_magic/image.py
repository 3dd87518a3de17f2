"""Builds images: what goes into a build, and what the builder says while it runs.

Everything that a build needs is in its context, so that it runs without a network. The classic builder's lines
("Step 1/2 : FROM …") go to the caller as they come.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import docker
from docker.errors import APIError, ContainerError, ImageNotFound

from clipper_magic import wheels

KIND_LABEL = "ai.clipper.kind"
PYTHON_LABEL = "ai.clipper.python"
PACKAGES_LABEL = "ai.clipper.packages"

_LOG_LINES = 15

OnLine = Callable[[str], None]


class BuildError(RuntimeError):
    """A build that failed.

    Attributes
    ----------
    step : str
        The step that failed, in the builder's words.
    log : str
        Its last lines of output.
    """

    def __init__(self, step: str, log: str) -> None:
        super().__init__(f"{step} failed: {log}")
        self.step = step
        self.log = log


def build(
    client: docker.DockerClient,
    context: Mapping[str, Path | bytes],
    tag: str,
    *,
    labels: Mapping[str, str],
    arguments: Mapping[str, str] | None = None,
    on_line: OnLine,
) -> None:
    """Build an image without network access.

    Parameters
    ----------
    client : docker.DockerClient
        The engine.
    context : mapping of str to Path or bytes
        Files and folders of the build by their path in it; one is ``Dockerfile``.
    tag : str
        Name of the image. An image that had this name and that nothing uses any more is removed.
    labels : mapping of str to str
        Labels of the image.
    arguments : mapping of str to str, optional
        The Dockerfile's ARGs.
    on_line : callable
        Gets each line that the builder prints.

    Raises
    ------
    BuildError
        With the failing step and its output.
    """
    former = image_id(client, tag)
    with _packed(context) as archive:
        events = client.api.build(
            fileobj=archive,
            custom_context=True,
            tag=tag,
            rm=True,
            forcerm=True,
            decode=True,
            network_mode="none",
            labels=dict(labels),
            buildargs=dict(arguments or {}),
        )
        _follow(events, on_line)
    if former and former != image_id(client, tag):
        _remove_unused(client, former)


def _follow(events: Iterator[Mapping[str, Any]], on_line: OnLine) -> None:
    step = "sending the context"
    lines: list[str] = []
    for event in events:
        if "error" in event:
            raise BuildError(step, "\n".join([*lines[-_LOG_LINES:], str(event["error"]).strip()]))
        for line in str(event.get("stream", "")).splitlines():
            if line.strip():
                lines.append(line)
                on_line(line)
            if line.startswith("Step "):
                step, lines = line.strip(), []


@contextmanager
def _packed(context: Mapping[str, Path | bytes]) -> Iterator[IO[bytes]]:
    """Yield the context as a tar archive, readable for every user and owned by root."""
    with tempfile.TemporaryFile(prefix="clipper-context-") as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name, content in context.items():
                if isinstance(content, bytes):
                    member = tarfile.TarInfo(name)
                    member.size, member.mode = len(content), 0o644
                    tar.addfile(member, BytesIO(content))
                else:
                    tar.add(content, arcname=name, filter=_normalized)
        archive.seek(0)
        yield archive


def _normalized(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if "__pycache__" in Path(member.name).parts:
        return None
    # The user of the container is not the user of the kernel, and temporary directories are private.
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def image_id(client: docker.DockerClient, name: str) -> str | None:
    """Return the id of a local image, or None."""
    try:
        return str(client.images.get(name).id)
    except ImageNotFound:
        return None


def image_labels(client: docker.DockerClient, name: str) -> dict[str, str]:
    """Return the labels of a local image, its own and those of what it was built on."""
    return dict(client.images.get(name).labels)


def _remove_unused(client: docker.DockerClient, image: str) -> None:
    try:
        client.images.remove(image)
    except APIError:  # a container still runs it, or it has another name
        return


def python_of(client: docker.DockerClient, image: str) -> str:
    """Return the minor version of the Python in a local image ("3.11"); empty if it has none."""
    known = image_labels(client, image).get(PYTHON_LABEL)
    if known:
        return known
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        output: bytes = client.containers.run(
            image, ["-c", program], entrypoint="python3", network_mode="none", remove=True, user="10001:10001"
        )
    except (APIError, ContainerError):
        return ""
    return output.decode().strip()


def build_serving_image(client: docker.DockerClient, base: str, architecture: str, on_line: OnLine) -> str:
    """Return the tag of the serving image on ``base``, built unless it exists.

    Parameters
    ----------
    client : docker.DockerClient
        The engine.
    base : str
        A local image with the kernel's minor version of Python.
    architecture : str
        The engine's, ``"x86_64"`` or ``"aarch64"``.
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
    requirements = wheels.pinned(wheels.read_requirements(source / "requirements.txt"))
    context: dict[str, Path | bytes] = {name.name: name for name in sorted(source.glob("*.py"))}
    context |= {name: source / name for name in ("Dockerfile", "requirements.txt")}
    contents = [path.read_bytes() for path in context.values() if isinstance(path, Path)]
    tag = f"clipper_magic/serving:{_digest(*contents, *requirements, image_id(client, base) or base)}"
    if image_id(client, tag):
        return tag
    on_line(f"Building the serving image on {base}")
    with tempfile.TemporaryDirectory(prefix="clipper-site-") as scratch:
        site = Path(scratch, "site")
        _install(requirements, site, architecture, on_line)
        labels = {
            KIND_LABEL: "serving",
            PYTHON_LABEL: wheels.PYTHON_VERSION,
            PACKAGES_LABEL: json.dumps(wheels.installed_in(site)),
        }
        build(client, {**context, "site": site}, tag, labels=labels, arguments={"BASE": base}, on_line=on_line)
    return tag


def add_packages(
    client: docker.DockerClient, base: str, requirements: Sequence[str], architecture: str, on_line: OnLine
) -> str:
    """Return an image that is ``base`` plus packages, built unless it exists; ``base`` itself if it has them all.

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
    tag = f"clipper_magic/packages:{_digest(*wanted, image_id(client, base) or base)}"
    if image_id(client, tag):
        return tag
    with tempfile.TemporaryDirectory(prefix="clipper-packages-") as scratch:
        packages = Path(scratch, "packages")
        _install(wanted, packages, architecture, on_line)
        wheels.remove_known(packages, known)
        dockerfile = f"FROM {base}\nCOPY packages /model/packages/\n"
        labels = {
            KIND_LABEL: "packages",
            PACKAGES_LABEL: json.dumps(wheels.installed_in(packages) | known),
        }
        build(client, {"Dockerfile": dockerfile.encode(), "packages": packages}, tag, labels=labels, on_line=on_line)
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
    dockerfile = f"FROM {base}\n{copy}\n".encode()
    build(client, {"Dockerfile": dockerfile, inside: model_data_path}, tag, labels=labels, on_line=on_line)


def push(client: docker.DockerClient, tag: str) -> None:
    """Push an image to the registry that its name begins with.

    Raises
    ------
    BuildError
        If the registry refuses it: the engine reports that in its stream and not by its status.
    """
    for event in client.api.push(tag, stream=True, decode=True):
        if "error" in event:
            raise BuildError(f"pushing {tag}", str(event["error"]))


def _install(requirements: Sequence[str], target: Path, architecture: str, on_line: OnLine) -> None:
    command = f"pip install {' '.join(requirements)}"
    on_line(command)
    try:
        wheels.install(requirements, target, architecture)
    except wheels.PipError as err:
        raise BuildError(command, str(err)) from err


def _digest(*parts: bytes | str) -> str:
    digest = hashlib.sha256(wheels.PYTHON_VERSION.encode())
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return f"{wheels.PYTHON_VERSION}-{digest.hexdigest()[:12]}"
