"""Builds images: what goes into a build, and what the builder says while it runs.

Everything that a build needs is in its context, so that it runs without a network. The classic builder's lines
("Step 1/2 : FROM …") go to the caller as they come.
"""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import docker
from docker.errors import APIError, ImageNotFound

KIND_LABEL = "ai.clipper.kind"
PYTHON_LABEL = "ai.clipper.python"
PACKAGES_LABEL = "ai.clipper.packages"

_LOG_LINES = 15
_SENDING = "sending the context"

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
        try:
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
            with closing(events):  # the engine ends a build whose client goes away
                _follow(events, on_line)
        except APIError as err:  # refused before the first step
            raise BuildError(_SENDING, str(err.explanation or err)) from err
    if former and former != image_id(client, tag):
        _remove_unused(client, former)


def _follow(events: Iterator[Mapping[str, Any]], on_line: OnLine) -> None:
    step = _SENDING
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
        try:
            _pack(context, archive)
        except OSError as err:
            raise BuildError("packing the context", str(err)) from err
        archive.seek(0)
        yield archive


def _pack(context: Mapping[str, Path | bytes], archive: IO[bytes]) -> None:
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in context.items():
            if isinstance(content, bytes):
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(content), 0o644
                tar.addfile(member, BytesIO(content))
            else:
                tar.add(content, arcname=name, filter=_normalized)


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
    """Return the full version of the Python in a local image ("3.11.2"); empty if it has none."""
    known = image_labels(client, image).get(PYTHON_LABEL)
    if known:
        return known
    program = "import platform; print(platform.python_version())"
    container = client.containers.create(
        image, ["-c", program], entrypoint="python3", network_mode="none", user="10001:10001"
    )
    try:
        container.start()
        answered = container.wait()["StatusCode"] == 0
        return container.logs(stderr=False).decode().strip() if answered else ""
    except APIError:  # it has no such program
        return ""
    finally:
        container.remove(force=True)


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
