"""What a container may not do: write, reach out, see the others, use more than it was given."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import DockerBackend
from contract_world import feature_sum, output, serve
from requirements import require

from clipper_magic import ClipperConnection
from clipper_magic.container_manager import Role
from clipper_magic.exceptions import ReplicaStartError
from clipper_magic.managers.docker_images import PYTHON, DockerImages
from clipper_magic.managers.health import is_listening
from clipper_magic.managers.waiting import wait_for

PATIENCE_S = 60.0


def looks_around(xs: Any) -> list[str]:
    """Report what the container lets a model do."""
    import json
    import os
    import pathlib
    import socket

    def refused(action: Any) -> str:
        try:
            action()
        except OSError as err:
            return type(err).__name__
        return ""

    status = dict(
        line.split(":\t") for line in pathlib.Path("/proc/self/status").read_text().splitlines() if ":\t" in line
    )
    facts = {
        "user": os.getuid(),
        "capabilities": int(status["CapEff"], 16) | int(status["CapBnd"], 16),
        "no_new_privileges": status["NoNewPrivs"],
        "seccomp": status["Seccomp"],
        "root": refused(lambda: pathlib.Path("/opt/clipper/x").write_text("x")),
        "model": refused(lambda: pathlib.Path("/model/x").write_text("x")),
        "tmp": refused(lambda: pathlib.Path("/tmp/x").write_text("x")),
        "redis": refused(lambda: socket.getaddrinfo(os.environ["REDIS_NAME"], 6379)),
        "frontend": refused(lambda: socket.getaddrinfo(os.environ["CLIPPER_IP"], 1337)),
        "environment": sorted(name for name in os.environ if name.startswith("CLIPPER")),
    }
    return [json.dumps(facts)] * len(xs)


def opens_a_connection(xs: Any) -> list[str]:
    """Say whether the address in the input (four numbers and a port) can be reached."""

    def attempt(x: Any) -> str:
        if not x.any():
            return "warm-up"
        try:
            socket.create_connection((".".join(str(int(n)) for n in x[:4]), int(x[4])), 2.0).close()
        except OSError:
            return "unreachable"
        return "reached"

    return [attempt(x) for x in xs]


def takes_too_much_memory(xs: Any) -> list[str]:
    hoard = b"x" * 400_000_000
    return [str(len(hoard))] * len(xs)


def test_model_is_locked_in(connect: Callable[..., ClipperConnection], backend: DockerBackend) -> None:
    extra: dict[str, Any] = {"environment": {}}
    connection = connect(extra_container_kwargs=extra, with_metrics=False)
    connection.start_clipper()
    (redis,) = (each for each in backend.members(connection.cm.cluster_name) if each.name.startswith("redis"))
    connection.cm.extra_container_kwargs["environment"]["REDIS_NAME"] = redis.name
    serve(connection, "curious", looks_around)

    facts = output(connection, "curious", [1.0])

    assert (facts["user"], facts["capabilities"]) == (10001, 0)
    assert (facts["no_new_privileges"], facts["seccomp"]) == ("1", "2")
    assert (facts["root"], facts["model"], facts["tmp"]) == ("OSError", "OSError", "")
    assert (facts["redis"], facts["frontend"]) == ("gaierror", "")
    assert facts["environment"] == [
        "CLIPPER_INPUT_TYPE",
        "CLIPPER_IP",
        "CLIPPER_MODEL_NAME",
        "CLIPPER_MODEL_PATH",
        "CLIPPER_MODEL_VERSION",
    ]


@pytest.mark.parametrize(("allow_network", "expected"), [(False, "unreachable"), (True, "reached")])
def test_model_reaches_the_outside_only_by_option(
    connect: Callable[..., ClipperConnection],
    backend: DockerBackend,
    outside: tuple[str, int],
    allow_network: bool,
    expected: str,
) -> None:
    first = connect(allow_network=allow_network, with_metrics=False)
    first.start_clipper()
    # Another interpreter deploys, and does not know of the option: what counts is how the cluster was started.
    connection = connect(cluster_name=first.cm.cluster_name)
    connection.connect()
    assert connection.cm.allows_network() is allow_network
    serve(connection, "traveller", opens_a_connection)

    address = [float(number) for number in outside[0].split(".")]

    assert output(connection, "traveller", [*address, float(outside[1])]) == expected
    (replica,) = backend.members(first.cm.cluster_name, Role.MODEL_REPLICA)
    assert bool(replica.attrs["HostConfig"]["Dns"]) is not allow_network


@pytest.fixture
def outside(backend: DockerBackend, session_token: str) -> Iterator[tuple[str, int]]:
    """A host beyond this machine: a server in a network namespace, joined to the machine by a cable of its own.

    The engine keeps its own networks apart whatever their options are, so a container in one of them proves nothing.
    """
    tools = [tool for tool in ("ip", "nsenter") if shutil.which(tool) is None]
    require("docker", os.geteuid() == 0 and not tools, f"a network namespace needs root and {tools}")
    image = DockerImages(backend.client, session_token, "", {}, lambda line: None).ensure(PYTHON)
    program = "import socket\nserver = socket.create_server(('', 8000))\nwhile True: server.accept()[0].close()"
    command = ["python3", "-c", program]
    server = backend.client.containers.run(image, command, detach=True, init=True, network_mode="none")
    try:
        server.reload()
        pid = str(server.attrs["State"]["Pid"])
        cable, inside = f"clp{session_token}"[:14], ["nsenter", "-t", pid, "-n"]
        for line in (
            ["ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", pid],
            ["ip", "addr", "add", "198.51.100.1/30", "dev", cable],
            ["ip", "link", "set", cable, "up"],
            [*inside, "ip", "addr", "add", "198.51.100.2/30", "dev", "eth0"],
            [*inside, "ip", "link", "set", "eth0", "up"],
            [*inside, "ip", "route", "add", "default", "via", "198.51.100.1"],
        ):
            subprocess.run(line, check=True, capture_output=True)
        assert wait_for(lambda: is_listening("198.51.100.2:8000"), PATIENCE_S)
        yield "198.51.100.2", 8000
    finally:
        server.remove(force=True)  # and with its namespace, the cable


def test_ports_are_published_on_the_loopback_interface_only(cluster: ClipperConnection, backend: DockerBackend) -> None:
    published = {}
    for member in backend.members(cluster.cm.cluster_name):
        for inside, bindings in member.attrs["NetworkSettings"]["Ports"].items():
            published[inside] = [binding["HostIp"] for binding in bindings or []]

    assert published["1337/tcp"] == published["1338/tcp"] == published["9090/tcp"] == ["127.0.0.1"]
    assert {ip for ips in published.values() for ip in ips} == {"127.0.0.1"}


def test_every_container_is_locked_down(cluster: ClipperConnection, backend: DockerBackend) -> None:
    serve(cluster, "locked")
    for member in backend.members(cluster.cm.cluster_name):
        host = member.attrs["HostConfig"]
        assert (host["ReadonlyRootfs"], host["CapDrop"], host["PidsLimit"]) == (True, ["ALL"], 512), member.name
        assert host["SecurityOpt"] == ["no-new-privileges"]
        assert member.attrs["Config"]["User"] not in ("", "0", "root"), member.name
        assert host["RestartPolicy"]["Name"] == "always"


def test_limits_hold_and_are_named_when_they_kill(
    connect: Callable[..., ClipperConnection], backend: DockerBackend
) -> None:
    connection = connect(memory_limit="200m", cpu_limit=1.5, with_metrics=False)
    connection.start_clipper()

    with pytest.raises(ReplicaStartError, match="used more memory than its limit") as caught:
        serve(connection, "greedy", takes_too_much_memory)

    assert caught.value.fields["exit_code"] == 137
    serve(connection, "modest", feature_sum)
    # Whoever connects later need not name the limits again.
    later = ClipperConnection(backend.manager(connection.cm.cluster_name))
    later.connect()
    later.set_num_replicas("modest", 2)
    replicas = backend.members(connection.cm.cluster_name, Role.MODEL_REPLICA)
    assert [replica.attrs["HostConfig"]["NanoCpus"] for replica in replicas] == [1_500_000_000] * 2
    assert [replica.attrs["HostConfig"]["Memory"] for replica in replicas] == [200 * 1024 * 1024] * 2
