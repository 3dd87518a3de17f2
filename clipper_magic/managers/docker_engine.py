"""The Docker engine: reaching it, and saying plainly why it cannot be reached."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import docker
import requests
import urllib3.exceptions
from docker.errors import APIError, DockerException

from clipper_magic.exceptions import BackendError, DockerUnavailableError

UNIX_PREFIX = "unix://"
DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
CONNECT_TIMEOUT_S = 60.0
# One connection for each container that is worked on at the same time.
POOL_SIZE = 32

_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}


def connect_engine(timeout_s: float = CONNECT_TIMEOUT_S) -> docker.DockerClient:
    """Return a client of the engine that DOCKER_HOST names, else of the one on this machine.

    Parameters
    ----------
    timeout_s : float
        How long any one request to the engine may take.

    Raises
    ------
    DockerUnavailableError
        Not installed, not running and not permitted are three different ones.
    """
    try:
        _knock(os.environ.get("DOCKER_HOST") or DEFAULT_ADDRESS, timeout_s)
        client = docker.from_env(timeout=timeout_s, max_pool_size=POOL_SIZE)
    except (DockerException, OSError) as err:
        raise unavailable(err) from err
    try:
        client.ping()
    except (DockerException, requests.RequestException, urllib3.exceptions.HTTPError) as err:
        client.close()
        raise unavailable(err) from err
    return client


def _knock(address: str, timeout_s: float) -> None:
    """Raise OSError if nobody listens on a unix socket: the client would leave a socket open when it fails."""
    if address.startswith(UNIX_PREFIX):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(timeout_s)
            probe.connect(address.removeprefix(UNIX_PREFIX))


def unavailable(error: BaseException) -> DockerUnavailableError:
    """Return the error that tells why the engine cannot be used, from what the client raised."""
    causes = list(_causes(error))
    for kind, code in ((PermissionError, "docker-permission"), (ConnectionRefusedError, "docker-stopped")):
        for cause in causes:
            if isinstance(cause, kind):
                return DockerUnavailableError.of(code, reason=_words(cause))
    for cause in causes:
        if isinstance(cause, FileNotFoundError):  # the engine removes its socket when it ends
            installed = shutil.which("dockerd") or shutil.which("docker")
            code = "docker-stopped" if installed else "docker-not-installed"
            return DockerUnavailableError.of(code, reason=_words(cause))
    return DockerUnavailableError.of("docker-unavailable", reason=_words(causes[-1]))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what led to it; urllib3 and requests keep the first cause only in ``args``."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        cause = waiting.pop(0)
        if isinstance(cause, tuple):
            waiting.extend(cause)
        elif isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            waiting.extend([*cause.args, cause.__cause__, cause.__context__])


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    return (str(error) or type(error).__name__).rstrip(".")


@contextmanager
def engine_errors() -> Iterator[None]:
    """Turn what the client raises into errors of ours.

    Raises
    ------
    DockerUnavailableError
        If the engine went away.
    BackendError
        With the engine's own words, if it refused.
    """
    try:
        yield
    except APIError as err:
        raise BackendError.of("docker-refused", reason=(err.explanation or str(err)).rstrip(".")) from err
    except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as err:
        raise unavailable(err) from err


def architecture(client: docker.DockerClient) -> str:
    """Return the engine's processor architecture in Python's words, such as ``"x86_64"``."""
    name = str(client.version()["Arch"])
    return _ARCHITECTURES.get(name, name)
