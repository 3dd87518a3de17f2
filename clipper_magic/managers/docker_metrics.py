"""What Prometheus scrapes: its configuration, as text, as a file here and inside its container."""

from __future__ import annotations

import json
import secrets
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import requests
from docker.models.containers import Container

from clipper_magic.managers.docker_labels import (
    MANAGEMENT_PORT,
    METRIC_CONFIG,
    QUERY_PORT,
    REPLICA_ID,
    DockerCluster,
    read_replica,
)

QUERY_FRONTEND_PORT = 1337
MANAGEMENT_FRONTEND_PORT = 1338
"""Where the frontends listen inside their containers."""
CONFIG_NAME = "prometheus.yml"
CONFIG_DIR = "/prometheus"
RELOAD_TIMEOUT_S = 5.0
_FILE_PREFIX = "clipper-metrics-"


def render_config(cluster_name: str, frontends: Sequence[str], replicas: Mapping[str, Sequence[str]]) -> str:
    """Return Prometheus' configuration.

    Parameters
    ----------
    cluster_name : str
        Becomes the label ``cluster`` of every series.
    frontends : sequence of str
        Addresses of the frontends, ``host:port``.
    replicas : mapping of str to sequence of str
        Addresses of the replicas by model version, ``"sum-model:1"``.

    Returns
    -------
    str
        YAML. Its texts are written as JSON strings, which YAML reads as they are.
    """
    lines = [
        "# Written by clipper_magic whenever a replica comes or goes.",
        "global:",
        "  scrape_interval: 5s",
        "  evaluation_interval: 5s",
        f"  external_labels: {{cluster: {json.dumps(cluster_name)}}}",
        "scrape_configs:",
        "  - job_name: frontends",
        "    static_configs:",
        f"      - targets: {json.dumps(sorted(frontends))}",
    ]
    if replicas:
        lines += ["  - job_name: replicas", "    static_configs:"]
    for version, addresses in sorted(replicas.items()):
        lines += [
            f"      - targets: {json.dumps(sorted(addresses))}",
            f"        labels: {{model: {json.dumps(version)}}}",
        ]
    return "\n".join(lines) + "\n"


def new_config_path() -> str:
    """Return a path where no file is yet, for people to read the configuration."""
    return str(Path(tempfile.gettempdir(), f"{_FILE_PREFIX}{secrets.token_hex(6)}.yml"))


def remove_config(path: str) -> None:
    """Delete the file at ``path`` if it is one of ours: a label is only a text."""
    if Path(path).name.startswith(_FILE_PREFIX):
        Path(path).unlink(missing_ok=True)


def save_config(text: str, path: str, prometheus: Container) -> None:
    """Write the configuration to ``path`` for people, and into the volume of Prometheus' container.

    The container gets a copy instead of a bind mount: the engine may run on another machine, and need not see this
    one's files.
    """
    # The directory may be another machine's, or gone after a restart of this one.
    with suppress(OSError):
        Path(path).write_text(text, encoding="utf-8")
    data = text.encode()
    archive = BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo(CONFIG_NAME)
        member.size, member.mode = len(data), 0o644
        tar.addfile(member, BytesIO(data))
    prometheus.put_archive(CONFIG_DIR, archive.getvalue())


def reload_config(address: str) -> bool:
    """Have Prometheus at ``host:port`` read its configuration again; return whether it did."""
    try:
        with requests.Session() as session:
            session.trust_env = False
            return session.post(f"http://{address}/-/reload", timeout=RELOAD_TIMEOUT_S).ok
    except requests.RequestException:
        return False


def is_ready(address: str) -> bool:
    """Return whether Prometheus at ``host:port`` serves queries."""
    try:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(f"http://{address}/-/ready", timeout=1.0).ok
    except requests.RequestException:
        return False


def refresh(cluster_name: str, cluster: DockerCluster, host: str, members: Sequence[Container]) -> None:
    """Have Prometheus scrape the frontends and replicas among ``members``; nothing without a Prometheus.

    Parameters
    ----------
    cluster_name : str
    cluster : DockerCluster
    host : str
        Where published ports are reached.
    members : sequence of Container
        All containers of the cluster.
    """
    prometheus = next((each for each in members if METRIC_CONFIG in each.labels), None)
    if prometheus is None:
        return
    inside = {QUERY_PORT: QUERY_FRONTEND_PORT, MANAGEMENT_PORT: MANAGEMENT_FRONTEND_PORT}
    frontends = [f"{each.name}:{port}" for label, port in inside.items() for each in members if label in each.labels]
    replicas: dict[str, list[str]] = {}
    for each in members:
        if REPLICA_ID in each.labels:
            replica = read_replica(each.name, each.labels, cluster.replica_port)
            replicas.setdefault(f"{replica.model_name}:{replica.model_version}", []).append(replica.address)
    save_config(render_config(cluster_name, frontends, replicas), cluster.metric_config, prometheus)
    reload_config(f"{host}:{cluster.metric_port}")
