"""What is Docker's own: labels, networks, hardening, ports, logs, clean-up."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest
import requests
from conftest import DockerBackend
from contract_world import feature_sum, output, post, serve
from requirements import require

from clipper_magic import ClipperConnection
from clipper_magic.container_manager import CLIPPER_DOCKER_LABEL, ModelSpec, Role
from clipper_magic.deployers import python as python_deployer
from clipper_magic.exceptions import BackendError, ClusterStartError, ImageBuildError, ReplicaStartError
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
    import socket

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


@pytest.fixture(scope="module")
def cluster(backend: DockerBackend, new_cluster_name: Callable[[], str]) -> Iterator[ClipperConnection]:
    started = ClipperConnection(backend.manager(new_cluster_name()))
    started.start_clipper()
    yield started
    started.stop_all()


@pytest.fixture
def connect(backend: DockerBackend, new_cluster_name: Callable[[], str]) -> Iterator[Callable[..., ClipperConnection]]:
    """Return a function that returns connections with clusters of their own, stopped afterwards."""
    made: list[ClipperConnection] = []

    def new(**options: Any) -> ClipperConnection:
        made.append(ClipperConnection(backend.manager(options.pop("cluster_name", new_cluster_name()), **options)))
        return made[-1]

    yield new
    for connection in made:
        connection.stop_all(graceful=False)


# --- identity ---


def test_names_and_labels_are_clippers(cluster: ClipperConnection, backend: DockerBackend) -> None:
    serve(cluster, "labelled")
    name = cluster.cm.cluster_name

    members = {re.sub(r"-\d+$", "", member.name): member for member in backend.members(name)}

    assert {"redis", "mgmt_frontend", "query_frontend", "metric_frontend", "labelled_1"} <= set(members)
    assert {member.labels["ai.clipper.container.label"] for member in members.values()} == {name}
    query, management = members["query_frontend"].labels, members["mgmt_frontend"].labels
    assert cluster.get_query_addr() == f"localhost:{query['ai.clipper.query_frontend.query.port']}"
    assert cluster.cm.get_admin_addr() == f"localhost:{management['ai.clipper.management.port']}"
    assert (query["ai.clipper.query_frontend.label"], management["ai.clipper.management_frontend.label"]) == ("", "")
    assert query["ai.clipper.query_frontend.rpc.port"] == "7000"
    assert members["redis"].labels["ai.clipper.redis.port"] == "6379"
    assert members["metric_frontend"].labels["ai.clipper.metric.port"] == cluster.get_metric_addr().split(":")[1]
    assert members["labelled_1"].labels["ai.clipper.model_container.label"] == "labelled_1"


def test_users_labels_and_arguments_reach_every_container(
    connect: Callable[..., ClipperConnection], backend: DockerBackend
) -> None:
    extra = {"labels": {"team": "blue"}, "environment": {"COLOUR": "blue"}, "hostname": "ours"}
    connection = connect(extra_container_kwargs=extra, with_metrics=False)
    connection.start_clipper()

    for member in backend.members(connection.cm.cluster_name):
        config = member.attrs["Config"]
        assert (config["Labels"]["team"], config["Hostname"]) == ("blue", "ours")
        assert "COLOUR=blue" in config["Env"]


# --- the walls ---


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


def test_memory_limit_is_named_when_it_kills(connect: Callable[..., ClipperConnection]) -> None:
    connection = connect(memory_limit="200m", cpu_limit=1.5, with_metrics=False)
    connection.start_clipper()

    with pytest.raises(ReplicaStartError, match="used more memory than its limit") as caught:
        serve(connection, "greedy", takes_too_much_memory)

    assert caught.value.fields["exit_code"] == 137
    serve(connection, "modest", feature_sum)
    (replica,) = connection.cm._replicas.containers()  # type: ignore[attr-defined]
    assert replica.attrs["HostConfig"]["NanoCpus"] == 1_500_000_000
    assert replica.attrs["HostConfig"]["Memory"] == 200 * 1024 * 1024


# --- starting ---


def test_taken_port_is_said(
    connect: Callable[..., ClipperConnection], log: pytest.LogCaptureFixture, free_port: Callable[[], int]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        connection = connect(clipper_query_port=port, with_metrics=False)
        connection.start_clipper()

    chosen = int(connection.get_query_addr().rpartition(":")[2])
    assert chosen != port
    assert f"Port {port} is taken, using port {chosen} instead" in log.text


def test_failing_service_leaves_nothing(
    connect: Callable[..., ClipperConnection], backend: DockerBackend, redis_image: str
) -> None:
    """An image that is no Prometheus ends at once; what had started with it is removed."""
    connection = connect(prometheus_image=redis_image)

    with pytest.raises(BackendError):
        connection.start_clipper()

    assert backend.leftovers(connection.cm.cluster_name) == []


def test_service_that_ends_is_reported_with_its_log(connect: Callable[..., ClipperConnection]) -> None:
    """A frontend that cannot reach the Redis that it was given."""
    connection = connect(redis_ip="nobody.invalid", with_metrics=False)

    with pytest.raises(ClusterStartError, match=r"did not become ready") as caught:
        connection.start_clipper()

    assert "nobody.invalid" in caught.value.fields["log"]


# Ctrl-C may come while the client has made a socket and not yet kept it: Python closes that one, with a warning.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupted_start_leaves_nothing(connect: Callable[..., ClipperConnection], backend: DockerBackend) -> None:
    connection = connect()
    name = connection.cm.cluster_name
    main = threading.main_thread()

    def interrupt_when_it_has_begun() -> None:
        assert wait_for(lambda: backend.members(name), PATIENCE_S)
        signal.pthread_kill(main.ident or 0, signal.SIGINT)

    watcher = threading.Thread(target=interrupt_when_it_has_begun)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        connection.start_clipper()
    watcher.join()

    assert backend.leftovers(name) == []


def test_remains_of_a_killed_start_do_not_stand_in_the_way(
    connect: Callable[..., ClipperConnection], backend: DockerBackend, redis_image: str
) -> None:
    connection = connect(with_metrics=False)
    name = connection.cm.cluster_name
    half = connection.cm._lifecycle  # type: ignore[attr-defined]
    half.networks.ensure(allow_network=False)
    backend.client.containers.create(redis_image, "redis-server", labels={CLIPPER_DOCKER_LABEL: name})

    connection.start_clipper()

    assert len(backend.members(name)) == 3


def test_stop_all_removes_nothing_of_anyone_else(
    connect: Callable[..., ClipperConnection], backend: DockerBackend, session_token: str, redis_image: str
) -> None:
    connection = connect(with_metrics=False)
    connection.start_clipper()
    foreign = backend.client.containers.run(
        redis_image,
        "redis-server",
        detach=True,
        network=backend.network,
        name=f"{session_token}-foreign",
    )
    try:
        connection.stop_all()

        foreign.reload()
        assert foreign.status == "running"
        assert backend.client.networks.list(names=[backend.network])
    finally:
        foreign.remove(force=True)


# --- metrics ---


def test_prometheus_scrapes_what_runs(cluster: ClipperConnection, backend: DockerBackend) -> None:
    serve(cluster, "scraped")
    cluster.set_num_replicas("scraped", 2)

    def up() -> dict[str, int]:
        found = requests.get(
            f"http://{cluster.get_metric_addr()}/api/v1/query", params={"query": "sum by (job) (up)"}, timeout=5
        ).json()["data"]["result"]
        return {each["metric"]["job"]: int(each["value"][1]) for each in found}

    running = len(cluster.cm.list_replicas())
    assert wait_for(lambda: up() == {"frontends": 2, "replicas": running}, PATIENCE_S), up()
    text = backend.metric_config(cluster.cm.cluster_name).read_text()
    for status in cluster.cm.list_replicas():
        assert status.replica.address in text

    cluster.stop_models(["scraped"])
    assert "scraped" not in backend.metric_config(cluster.cm.cluster_name).read_text()
    assert wait_for(lambda: up().get("replicas", 0) == running - 2, PATIENCE_S), up()


def test_metric_configuration_is_said_and_removed(
    connect: Callable[..., ClipperConnection], backend: DockerBackend, log: pytest.LogCaptureFixture
) -> None:
    connection = connect()
    connection.start_clipper()
    path = backend.metric_config(connection.cm.cluster_name)

    assert path.exists()
    connection.stop_all()

    assert "Starting managed Redis instance in Docker" in log.text
    assert f"Metric Configuration Saved at {path}" in log.text
    assert not path.exists()


def test_cluster_without_metrics(connect: Callable[..., ClipperConnection], backend: DockerBackend) -> None:
    connection = connect(with_metrics=False)
    connection.start_clipper()

    assert not [m for m in backend.members(connection.cm.cluster_name) if m.name.startswith("metric")]
    assert connection.get_metric_addr() == connection.get_query_addr()


# --- state ---


def test_external_redis_at_its_own_port(
    connect: Callable[..., ClipperConnection], backend: DockerBackend, session_token: str, redis_image: str
) -> None:
    """Two clusters share one Redis without seeing each other."""
    network = backend.client.networks.create(f"{session_token}-shared")
    redis = backend.client.containers.run(
        redis_image,
        ["redis-server", "--port", "7777", "--protected-mode", "no"],
        detach=True,
        network=network.name,
        name=f"{session_token}-external",
    )
    try:
        options = {"redis_ip": redis.name, "redis_port": 7777, "docker_network": network.name, "with_metrics": False}
        first, second = connect(**options), connect(**options)
        first.start_clipper()
        second.start_clipper()
        first.register_application("mine", "doubles", "x", 100_000)

        assert (first.get_all_apps(), second.get_all_apps()) == (["mine"], [])
        assert len(backend.members(first.cm.cluster_name)) == 2
        first.stop_all()
        second.stop_all()
    finally:
        redis.remove(force=True, v=True)
        network.remove()


def test_connect_starts_what_was_stopped(connect: Callable[..., ClipperConnection], backend: DockerBackend) -> None:
    first = connect(with_metrics=False)
    first.start_clipper()
    serve(first, "asleep")
    for member in backend.members(first.cm.cluster_name):
        member.stop()

    second = connect(cluster_name=first.cm.cluster_name)
    second.connect()

    assert wait_for(lambda: second.get_num_replicas("asleep") == 1, PATIENCE_S)
    assert wait_for(lambda: post(second, "/asleep/predict", {"input": [1.0, 2.0]}).json()["output"] == 3.0, PATIENCE_S)


# --- images ---


def test_image_that_is_not_there(cluster: ClipperConnection) -> None:
    with pytest.raises(ImageBuildError, match="There is no image 'nobody/nothing:1'"):
        cluster.deploy_model("ghost", 1, "doubles", "nobody/nothing:1")

    assert "ghost:1" not in cluster.get_all_models()


def test_replica_of_a_wrong_image_fails_with_its_log(cluster: ClipperConnection, redis_image: str) -> None:
    with pytest.raises((ReplicaStartError, BackendError)):
        cluster.cm.add_replicas(ModelSpec("wrong", "1", "doubles", redis_image), 1)

    assert [status for status in cluster.cm.list_replicas() if status.replica.model_name == "wrong"] == []


def test_logs_are_named_by_image_and_container(cluster: ClipperConnection, tmp_path: Any) -> None:
    paths = cluster.get_clipper_logs(str(tmp_path))

    names = [path.rpartition("/")[2] for path in paths]
    assert all(re.fullmatch(r"image_(sha256:)?[0-9a-f]+:container_[0-9a-f]+\.log", name) for name in names)
    assert len(set(names)) == len(cluster.cm._lifecycle.members())  # type: ignore[attr-defined]


def test_models_are_deployed_from_the_clusters_own_image(cluster: ClipperConnection, backend: DockerBackend) -> None:
    python_deployer.deploy_python_closure(cluster, "same-make", 1, "doubles", feature_sum)

    image = backend.client.images.get(f"{cluster.cm.cluster_name}-same-make:1")
    (frontend,) = backend.members(cluster.cm.cluster_name, Role.QUERY_FRONTEND)
    layers = frontend.image.attrs["RootFS"]["Layers"]
    assert image.attrs["RootFS"]["Layers"][: len(layers)] == layers
    assert image.labels[CLIPPER_DOCKER_LABEL] == cluster.cm.cluster_name


def test_docker_client_is_public(cluster: ClipperConnection) -> None:
    """Clipper's scripts use these attributes."""
    manager: Any = cluster.cm
    assert isinstance(manager.docker_client, docker.DockerClient)
    assert manager.common_labels == {CLIPPER_DOCKER_LABEL: manager.cluster_name}
    assert json.dumps(manager.extra_container_kwargs) == "{}"
