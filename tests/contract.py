"""What every container manager must do. One class; each backend's tests only provide the fixture ``backend``.

A test that needs to know which backend it runs on is a mistake in the design.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
import requests

from clipper_magic import ClipperConnection, ContainerManager
from clipper_magic.container_manager import ReplicaState, Role
from clipper_magic.deployers import python as python_deployer
from clipper_magic.exceptions import (
    AlreadyRegisteredError,
    ClusterExistsError,
    DeployError,
    InputTypeError,
    InvalidArgumentError,
    InvalidNameError,
    LinkError,
    NoClusterError,
    NotPicklableError,
    NotRegisteredError,
    ReplicaStartError,
    UnconnectedException,
)
from clipper_magic.managers.waiting import wait_for

LONG_SLO_MICROS = 20_000_000  # a slow machine must not turn a prediction into a default
PATIENCE_S = 60.0
LOADING_PATIENCE_S = 240.0  # a build comes before it, and a slow machine may be building something else
NO_MODEL = "No connected models found for query"
TOO_LATE = "Failed to retrieve a prediction response within the specified latency SLO"


class Backend(Protocol):
    """One kind of container manager, as the contract sees it."""

    def manager(self, cluster_name: str, **options: Any) -> ContainerManager:
        """Return a new manager for a cluster, with free ports."""

    def manager_source(self, cluster_name: str) -> str:
        """Return Python that makes ``manager``: what a second interpreter runs."""

    def kill(self, cluster_name: str, role: Role) -> None:
        """End every process of a role as kill -9 does."""

    def leftovers(self, cluster_name: str) -> list[str]:
        """Return what is left of a cluster: processes, containers, files."""


# --- model functions ---


def feature_sum(xs: Any) -> list[str]:
    return [str(sum(x)) for x in xs]


def feature_product(xs: Any) -> list[str]:
    return [str(float(np.prod(x))) for x in xs]


def returns_too_few(xs: Any) -> list[str]:
    return [str(sum(x)) for x in xs][1:]


def imports_what_is_not_there(xs: Any) -> list[str]:
    import no_such_module_anywhere

    return [no_such_module_anywhere.call(x) for x in xs]


def ends_the_process(xs: Any) -> list[str]:
    import os

    os._exit(7)


def refuses_negative(xs: Any) -> list[str]:
    outputs = []
    for x in xs:
        if x[0] < 0:
            raise ValueError(f"negative: {x[0]}")
        outputs.append(str(x[0]))
    return outputs


def never_in_time(xs: Any) -> list[str]:
    import threading

    if any(x[0] for x in xs):  # the warm-up's zeros are quick
        threading.Event().wait(2.0)
    return [str(sum(x)) for x in xs]


def never_loads(xs: Any) -> list[str]:
    import threading

    print("trying", flush=True)
    threading.Event().wait()
    return []


def describe(xs: Any) -> list[str]:
    return [json.dumps([type(x).__name__, getattr(getattr(x, "dtype", None), "name", None), len(x)]) for x in xs]


# --- helpers ---


def post(connection: ClipperConnection, path: str, body: Any, **options: Any) -> requests.Response:
    data = body if isinstance(body, bytes | str) else json.dumps(body)
    return requests.post(f"http://{connection.get_query_addr()}{path}", data=data, timeout=30, **options)


def predict(connection: ClipperConnection, app: str, value: Any, **more: Any) -> dict[str, Any]:
    answer = post(connection, f"/{app}/predict", {"input": value, **more})
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()
    return result


def output(connection: ClipperConnection, app: str, value: Any, **more: Any) -> Any:
    return predict(connection, app, value, **more)["output"]


def serve(connection: ClipperConnection, name: str, function: Callable[[Any], Any] = feature_sum) -> None:
    """Register, deploy and link under one name."""
    python_deployer.create_endpoint(
        connection, name, "doubles", function, default_output="-1.0", slo_micros=LONG_SLO_MICROS
    )


def snapshot(connection: ClipperConnection) -> tuple[Any, ...]:
    """Return everything that is registered, what runs, and the images."""
    running = sorted(status.replica.address for status in connection.cm.list_replicas())
    models, replicas = connection.get_all_models(verbose=True), connection.get_all_model_replicas()
    return connection.get_all_apps(verbose=True), models, replicas, running, connection.cm.list_images()


@pytest.fixture(scope="module")
def connection(backend: Backend, new_cluster_name: Callable[[], str]) -> Iterator[ClipperConnection]:
    """A running cluster for the tests that leave it running; each uses names of its own."""
    started = ClipperConnection(backend.manager(new_cluster_name()))
    started.start_clipper()
    yield started
    started.stop_all()


@pytest.fixture
def own(backend: Backend, new_cluster_name: Callable[[], str]) -> Iterator[ClipperConnection]:
    """A running cluster for one test."""
    started = ClipperConnection(backend.manager(new_cluster_name()))
    started.start_clipper()
    yield started
    started.stop_all()


class Traffic:
    """Asks for predictions without a pause, in a thread, and counts the kinds of answers.

    An answer that does not come at all counts as refused: a frontend that dies may leave a connection open.
    """

    def __init__(self, connection: ClipperConnection, app: str, timeout_s: float = 30.0) -> None:
        self._timeout_s = timeout_s
        self._url = f"http://{connection.get_query_addr()}/{app}/predict"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.good = self.defaults = self.refused = 0
        self.strange: list[str] = []

    def __enter__(self) -> Traffic:
        self._thread.start()
        self.wait_for_good()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def wait_for_good(self) -> None:
        before = self.good
        assert wait_for(lambda: self.good > before, PATIENCE_S), "no prediction came back"

    def _run(self) -> None:
        value = 0
        while not self._stopping.is_set():
            value += 1
            try:
                answer = requests.post(self._url, json={"input": [value, 1.0]}, timeout=self._timeout_s)
            except (requests.ConnectionError, requests.Timeout):
                self.refused += 1
                self._stopping.wait(0.01)
                continue
            self._count(answer, value + 1.0)

    def _count(self, answer: requests.Response, expected: float) -> None:
        if answer.status_code != 200:
            self.strange.append(answer.text)
        elif answer.json()["default"]:
            self.defaults += 1
        elif answer.json()["output"] == expected:
            self.good += 1
        else:
            self.strange.append(answer.text)


class ContainerManagerContract:
    """The contract. Subclass it where a fixture ``backend`` is at hand."""

    # --- start, connect, stop ---

    def test_start_is_ready_when_it_returns(self, connection: ClipperConnection) -> None:
        ping = requests.get(f"http://{connection.cm.get_admin_addr()}/admin/ping", timeout=5)

        assert ping.text == "PONG"
        assert sorted(connection.inspect_instance()) == ["counters", "histograms", "meters", "ratio_counters"]
        assert connection.get_all_apps() == [] or connection.get_all_apps()

    def test_start_when_it_runs(self, connection: ClipperConnection, backend: Backend) -> None:
        name = connection.cm.cluster_name
        second = ClipperConnection(backend.manager(name))

        with pytest.raises(ClusterExistsError) as caught:
            second.start_clipper()

        assert caught.value.msg == (
            f"Cluster {name} cannot be started because it already exists. "
            "Please use ClipperConnection.connect() to connect to it."
        )
        assert isinstance(connection.get_all_models(), list)

    def test_connect_when_nothing_runs(self, backend: Backend, new_cluster_name: Callable[[], str]) -> None:
        name = new_cluster_name()
        lonely = ClipperConnection(backend.manager(name))

        with pytest.raises(NoClusterError, match=f"No Clipper cluster named '{name}' is running"):
            lonely.connect()
        with pytest.raises(UnconnectedException):
            lonely.get_all_apps()

    def test_stop_all_leaves_nothing(self, own: ClipperConnection, backend: Backend) -> None:
        name = own.cm.cluster_name
        serve(own, "sum")

        own.stop_all()

        assert backend.leftovers(name) == []
        with pytest.raises(UnconnectedException):
            own.get_all_apps()

    def test_stop_all_at_once(self, own: ClipperConnection, backend: Backend) -> None:
        serve(own, "sum")

        own.stop_all(graceful=False)

        assert backend.leftovers(own.cm.cluster_name) == []

    def test_start_again_after_a_stop(self, own: ClipperConnection) -> None:
        serve(own, "sum")
        own.stop_all()

        own.start_clipper()

        assert (own.get_all_apps(), own.get_all_models(), own.cm.list_replicas()) == ([], [], [])

    def test_two_clusters_side_by_side(
        self, connection: ClipperConnection, backend: Backend, new_cluster_name: Callable[[], str]
    ) -> None:
        other = ClipperConnection(backend.manager(new_cluster_name()))
        other.start_clipper()
        try:
            serve(connection, "two-clusters", feature_sum)
            serve(other, "two-clusters", feature_product)

            assert output(connection, "two-clusters", [3.0, 4.0]) == 7.0
            assert output(other, "two-clusters", [3.0, 4.0]) == 12.0
        finally:
            other.stop_all()
        assert output(connection, "two-clusters", [5.0, 4.0]) == 9.0

    def test_two_connections_on_one_cluster(self, connection: ClipperConnection, backend: Backend) -> None:
        second = ClipperConnection(backend.manager(connection.cm.cluster_name))
        second.connect()

        serve(second, "two-connections")
        connection.set_num_replicas("two-connections", 2)

        assert second.get_query_addr() == connection.get_query_addr()
        assert second.get_num_replicas("two-connections") == 2
        assert output(connection, "two-connections", [1.0, 2.0]) == 3.0

    def test_connect_from_a_second_interpreter(self, connection: ClipperConnection, backend: Backend) -> None:
        serve(connection, "second-interpreter")
        code = f"""
{backend.manager_source(connection.cm.cluster_name)}
from clipper_magic import ClipperConnection
import json
connection = ClipperConnection(manager)
connection.connect()
connection.set_num_replicas("second-interpreter", 2)
print(json.dumps([connection.get_query_addr(), connection.get_all_apps()]))
"""
        done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stderr
        address, apps = json.loads(done.stdout)
        assert address == connection.get_query_addr()
        assert "second-interpreter" in apps
        assert f"Successfully connected to Clipper cluster at {address}" in done.stderr
        assert connection.get_num_replicas("second-interpreter") == 2
        assert output(connection, "second-interpreter", [1.5]) == 1.5

    # --- register, deploy, link, predict ---

    def test_the_story(self, own: ClipperConnection) -> None:
        own.register_application("hello-world", "doubles", "-1.0", LONG_SLO_MICROS)
        python_deployer.deploy_python_closure(own, "sum-model", 1, "doubles", feature_sum)

        assert post(own, "/hello-world/predict", {"input": [1.1]}).json() == {
            "query_id": 0,
            "output": -1.0,
            "default": True,
            "default_explanation": NO_MODEL,
        }
        own.link_model_to_app("hello-world", "sum-model")

        body = post(own, "/hello-world/predict", {"input": [1.1, 2.2, 3.3]}).text
        assert body == '{"query_id":1,"output":6.6,"default":false}'
        assert own.get_all_apps() == ["hello-world"]
        assert own.get_linked_models("hello-world") == ["sum-model"]
        assert own.get_all_models() == ["sum-model:1"]
        assert own.get_all_model_replicas() == ["sum-model:1:0"]
        assert own.get_current_model_version("sum-model") == "1"
        assert own.get_num_replicas("sum-model") == 1

    def test_each_call_is_true_when_it_returns(self, connection: ClipperConnection) -> None:
        """No wait between a call and the prediction that must see it."""
        serve(connection, "at-once-sum", feature_sum)
        serve(connection, "at-once-product", feature_product)
        connection.register_application("at-once", "doubles", "-1.0", LONG_SLO_MICROS)
        for turn in range(3):
            connection.link_model_to_app("at-once", "at-once-sum")
            assert output(connection, "at-once", [3.0, 4.0 + turn]) == 7.0 + turn
            connection.unlink_model_from_app("at-once", "at-once-sum")
            assert predict(connection, "at-once", [3.0])["default_explanation"] == NO_MODEL
            connection.link_model_to_app("at-once", "at-once-product")
            assert output(connection, "at-once", [3.0, 4.0 + turn]) == 12.0 + 3 * turn
            connection.unlink_model_from_app("at-once", "at-once-product")

    @pytest.mark.parametrize(
        ("input_type", "value", "expected"),
        [
            ("integers", [1, 2], ["ndarray", "int32", 2]),
            ("floats", [1.5, 2, 3], ["ndarray", "float32", 3]),
            ("doubles", [1, 2], ["ndarray", "float64", 2]),
            ("bytes", "aGVsbG8=", ["bytes", None, 5]),
            ("strings", "hello", ["str", None, 5]),
        ],
    )
    def test_input_type(self, connection: ClipperConnection, input_type: str, value: Any, expected: list[Any]) -> None:
        name = f"describe-{input_type}"
        python_deployer.create_endpoint(connection, name, input_type, describe, slo_micros=LONG_SLO_MICROS)

        assert output(connection, name, value) == expected

    def test_batch(self, connection: ClipperConnection) -> None:
        serve(connection, "batch")

        answer = post(connection, "/batch/predict", {"input_batch": [[1.0], [2.0, 3.0], []]}).json()

        assert [one["output"] for one in answer["batch_predictions"]] == [1.0, 5.0, 0]

    def test_example_is_tried_before_serving(self, connection: ClipperConnection) -> None:
        deploy = python_deployer.deploy_python_closure

        with pytest.raises(ReplicaStartError, match="negative: -1"):
            deploy(connection, "with-example", 1, "doubles", refuses_negative, example=[-1.0])
        deploy(connection, "with-example", 1, "doubles", refuses_negative, example=[1.0])

        assert "with-example:1" in connection.get_all_models()

    # --- refusals change nothing ---

    @pytest.mark.parametrize(
        ("call", "error", "text"),
        [
            (
                lambda c: c.register_application("rules", "doubles", "0", 100_000),
                AlreadyRegisteredError,
                "application 'rules' already exists",
            ),
            (lambda c: c.register_application("x", "vectors", "0", 100_000), InputTypeError, "vectors"),
            (lambda c: c.register_application("x", "doubles", 0, 100_000), InvalidArgumentError, "default_output"),
            (lambda c: c.unregister_application("nobody"), NotRegisteredError, "'nobody' does not exist"),
            (
                lambda c: c.link_model_to_app("rules", "rules"),
                LinkError,
                "The model with name 'rules' is already linked to 'rules'",
            ),
            (
                lambda c: c.link_model_to_app("rules", "nobody"),
                NotRegisteredError,
                "No model with name 'nobody' exists.",
            ),
            (lambda c: c.link_model_to_app("nobody", "rules"), NotRegisteredError, "No app with name 'nobody' exists."),
            (
                lambda c: c.unlink_model_from_app("rules", "nobody"),
                LinkError,
                "Cannot remove nonexistent link between app rules and model nobody",
            ),
            (lambda c: c.get_linked_models("nobody"), NotRegisteredError, "No application with name 'nobody' exists."),
            (
                lambda c: python_deployer.deploy_python_closure(c, "rules", 1, "doubles", feature_product),
                AlreadyRegisteredError,
                "model with name 'rules' and version '1' already exists",
            ),
            (
                lambda c: python_deployer.deploy_python_closure(c, "rules", 2, "strings", feature_product),
                InputTypeError,
                "already linked to app 'rules' using input type 'doubles'",
            ),
            (
                lambda c: python_deployer.deploy_python_closure(c, "rules", "1.1", "doubles", feature_sum),
                InvalidNameError,
                "Call it '1-1'",
            ),
            (
                lambda c: python_deployer.deploy_python_closure(c, "Rules", 2, "doubles", feature_sum),
                InvalidNameError,
                "Call it 'rules'",
            ),
            (
                lambda c: python_deployer.deploy_python_closure(c, "rules", 2, "doubles", feature_sum, batch_size=0),
                InvalidArgumentError,
                "The batch size must be positive or DEFAULT_BATCH_SIZE, which is -1",
            ),
            (lambda c: c.set_model_version("rules", 9), NotRegisteredError, "Cannot set non-existent version '9'"),
            (lambda c: c.set_model_version("nobody", 1), NotRegisteredError, "nonexistent model 'nobody'"),
            (lambda c: c.set_num_replicas("nobody", 1), NotRegisteredError, "No versions of model nobody registered"),
            (
                lambda c: c.set_num_replicas("rules", 1, version=9),
                NotRegisteredError,
                "Cannot add container for non-registered model rules:9",
            ),
            (lambda c: c.set_num_replicas("rules", -1), InvalidArgumentError, "an int, 0 or more"),
            (lambda c: c.stop_models("rules"), InvalidArgumentError, "must be a list of names"),
            (lambda c: c.stop_versioned_models({"rules": "1"}), InvalidArgumentError, "must be a list of names"),
        ],
        ids=lambda value: value if isinstance(value, str) else None,
    )
    def test_refusal_changes_nothing(
        self, connection: ClipperConnection, call: Callable[[ClipperConnection], None], error: type, text: str
    ) -> None:
        if "rules" not in connection.get_all_apps():
            serve(connection, "rules")
        before = snapshot(connection)

        with pytest.raises(error) as caught:
            call(connection)

        assert text in str(caught.value)
        assert snapshot(connection) == before

    def test_unknown_names_have_no_info(self, connection: ClipperConnection) -> None:
        assert connection.get_app_info("nobody") is None
        assert connection.get_model_info("nobody", 1) is None
        assert connection.get_model_replica_info("nobody", 1, 0) is None

    def test_infos(self, connection: ClipperConnection) -> None:
        serve(connection, "infos")

        assert connection.get_app_info("infos") == {
            "input_type": "doubles",
            "default_output": "-1.0",
            "latency_slo_micros": LONG_SLO_MICROS,
            "name": "infos",
            "linked_models": ["infos"],
        }
        model = connection.get_model_info("infos", 1)
        assert model is not None
        assert (model["model_version"], model["is_current_version"], model["labels"]) == ("1", True, [""])
        assert connection.get_model_replica_info("infos", 1, 0) == {
            "model_id": "infos:1",
            "model_name": "infos",
            "model_version": "1",
            "model_replica_id": 0,
            "input_type": "doubles",
        }

    # --- deployments that fail ---

    @pytest.mark.parametrize(
        ("function", "text"),
        [
            (returns_too_few, "Expected model to return 2 outputs, found 1 outputs"),
            (imports_what_is_not_there, "No module named 'no_such_module_anywhere'"),
            (ends_the_process, "exit code 7"),
        ],
        ids=["wrong-length", "missing-import", "dies"],
    )
    def test_failed_deployment_leaves_the_old_version_serving(
        self, connection: ClipperConnection, function: Callable[[Any], Any], text: str
    ) -> None:
        if "survivor" not in connection.get_all_apps():
            serve(connection, "survivor")
        before = snapshot(connection)

        with pytest.raises(ReplicaStartError) as caught:
            python_deployer.deploy_python_closure(connection, "survivor", 2, "doubles", function, num_replicas=2)

        assert text in str(caught.value)
        assert snapshot(connection) == before
        assert output(connection, "survivor", [1.0, 2.0]) == 3.0

    def test_unpicklable_function_is_refused_before_anything_starts(self, connection: ClipperConnection) -> None:
        holder = {"lock": threading.Lock()}
        before = snapshot(connection)

        def uses_a_lock(xs: Any) -> list[str]:
            return [str(holder) for _ in xs]

        with pytest.raises(NotPicklableError, match=r"holder\['lock'\]' \(of type lock\)"):
            python_deployer.create_endpoint(connection, "unpicklable", "doubles", uses_a_lock)

        assert snapshot(connection) == before

    def test_interrupted_deployment_leaves_nothing(self, connection: ClipperConnection) -> None:
        before = snapshot(connection)
        name = "interrupted"

        def is_trying() -> bool:
            replicas = [s.replica for s in connection.cm.list_replicas() if s.replica.model_name == name]
            return any("trying" in connection.cm.tail_log(replica) for replica in replicas)

        def interrupt_once_it_loads() -> None:
            try:
                assert wait_for(is_trying, LOADING_PATIENCE_S)
            finally:  # without it the deployment would wait for minutes
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        watcher = threading.Thread(target=interrupt_once_it_loads)
        watcher.start()
        with pytest.raises(KeyboardInterrupt):
            python_deployer.create_endpoint(connection, name, "doubles", never_loads)
        watcher.join()

        assert snapshot(connection) == before

    # --- versions and replicas ---

    def test_versions_and_roll_back(self, connection: ClipperConnection) -> None:
        serve(connection, "versions", feature_sum)
        python_deployer.deploy_python_closure(connection, "versions", "2", "doubles", feature_product)

        assert output(connection, "versions", [3.0, 4.0]) == 12.0
        assert output(connection, "versions", [3.0, 4.0], version="1") == 7.0
        connection.set_model_version("versions", 1)
        assert output(connection, "versions", [3.0, 4.0]) == 7.0
        assert connection.get_current_model_version("versions") == "1"
        connection.stop_inactive_model_versions(["versions"])
        assert [m for m in connection.get_all_models() if m.startswith("versions:")] == ["versions:1"]
        assert output(connection, "versions", [3.5, 4.0]) == 7.5
        assert post(connection, "/versions/predict", {"input": [1.0], "version": "2"}).status_code == 400

    def test_redeployed_version_does_not_answer_from_the_cache(self, connection: ClipperConnection) -> None:
        serve(connection, "redeployed", feature_sum)
        assert output(connection, "redeployed", [3.0, 4.0]) == 7.0
        connection.stop_versioned_models({"redeployed": [1]})
        assert predict(connection, "redeployed", [3.0, 4.0])["default_explanation"] == NO_MODEL

        python_deployer.deploy_python_closure(connection, "redeployed", 1, "doubles", feature_product)
        connection.link_model_to_app("redeployed", "redeployed")

        assert output(connection, "redeployed", [3.0, 4.0]) == 12.0

    def test_building_again_does_not_touch_what_runs(
        self, own: ClipperConnection, backend: Backend, tmp_path: Path
    ) -> None:
        serve(own, "rebuilt", feature_sum)
        python_deployer.save_function(feature_product, tmp_path, "rebuilt", "1", "doubles", None)
        own.build_model("rebuilt", 1, str(tmp_path), "default")
        with Traffic(own, "rebuilt") as traffic:
            backend.kill(own.cm.cluster_name, Role.MODEL_REPLICA)
            traffic.wait_for_good()  # may have been in flight before
            traffic.wait_for_good()

        assert traffic.strange == []

    def test_scale(self, connection: ClipperConnection) -> None:
        serve(connection, "scaled")
        for count in (3, 1, 0, 2):
            connection.set_num_replicas("scaled", count)

            assert connection.get_num_replicas("scaled") == count
            assert len([r for r in connection.get_all_model_replicas() if r.startswith("scaled:1:")]) == count
            expected = (float(count), False) if count else (-1.0, True)
            answer = predict(connection, "scaled", [float(count)])
            assert (answer["output"], answer["default"]) == expected

    def test_scaling_under_requests_loses_none(self, connection: ClipperConnection) -> None:
        serve(connection, "busy")
        with Traffic(connection, "busy") as traffic:
            for count in (3, 1, 2):
                connection.set_num_replicas("busy", count)
                traffic.wait_for_good()

        assert (traffic.defaults, traffic.refused, traffic.strange) == (0, 0, [])

    def test_containerless_model_cannot_be_scaled(self, connection: ClipperConnection) -> None:
        connection.register_model("containerless", "1.0", "doubles")

        with pytest.raises(DeployError) as caught:
            connection.set_num_replicas("containerless", 2)

        assert caught.value.msg == "Cannot resize the replica set for containerless model containerless:1.0"
        assert connection.get_num_replicas("containerless") == 0
        connection.stop_models(["containerless"])
        assert connection.get_model_info("containerless", "1.0") is None

    def test_stop_models(self, connection: ClipperConnection) -> None:
        serve(connection, "stopped")

        connection.stop_models(["stopped", "nobody"])

        assert "stopped:1" not in connection.get_all_models()
        assert [s for s in connection.cm.list_replicas() if s.replica.model_name == "stopped"] == []
        assert predict(connection, "stopped", [1.0])["default_explanation"] == NO_MODEL

    def test_stop_all_model_containers(self, own: ClipperConnection) -> None:
        serve(own, "first")
        serve(own, "second")

        own.stop_all_model_containers()

        assert (own.get_all_models(), own.cm.list_replicas()) == ([], [])
        assert sorted(own.get_all_apps()) == ["first", "second"]

    def test_unregistered_application_is_gone(self, connection: ClipperConnection) -> None:
        serve(connection, "gone")
        connection.unregister_application("gone")

        assert post(connection, "/gone/predict", {"input": [1.0]}).status_code == 404
        connection.register_application("gone", "strings", "again", LONG_SLO_MICROS)
        assert output(connection, "gone", "x") == "again"
        assert connection.get_linked_models("gone") == []

    # --- models that misbehave ---

    def test_model_exception_costs_only_its_input(self, connection: ClipperConnection) -> None:
        serve(connection, "raising", refuses_negative)

        answer = post(connection, "/raising/predict", {"input_batch": [[1.0], [-2.0], [3.0]]}).json()

        good, bad, also_good = answer["batch_predictions"]
        assert (good["output"], also_good["output"]) == (1.0, 3.0)
        assert (bad["output"], bad["default"]) == (-1.0, True)
        assert bad["default_explanation"] == "Model raising:1 raised ValueError: negative: -2.0"
        assert output(connection, "raising", [4.0]) == 4.0
        replica = next(s.replica for s in connection.cm.list_replicas() if s.replica.model_name == "raising")
        assert 'raise ValueError(f"negative: {x[0]}")' in connection.cm.tail_log(replica, 100)
        (error,) = connection.cm.replica_errors(replica)
        assert (error["type"], error["message"], error["count"]) == ("ValueError", "negative: -2.0", 1)

    def test_slow_model_answers_the_default_at_the_objective(self, connection: ClipperConnection) -> None:
        connection.register_application("slow", "doubles", "too late", 50_000)
        python_deployer.deploy_python_closure(connection, "slow", 1, "doubles", never_in_time)
        connection.link_model_to_app("slow", "slow")

        answer = predict(connection, "slow", [1.0])

        assert (answer["output"], answer["default"]) == ("too late", True)
        assert answer["default_explanation"] == TOO_LATE

    # --- bad requests ---

    @pytest.mark.parametrize(
        ("path", "body", "status"),
        [
            ("/bad-input/predict", "this is not JSON", 400),
            ("/bad-input/predict", "[1.0]", 400),
            ("/bad-input/predict", {}, 400),
            ("/bad-input/predict", {"input": "text"}, 400),
            ("/bad-input/predict", {"input": 1.0}, 400),
            ("/bad-input/predict", {"input": ["a"]}, 400),
            ("/bad-input/predict", {"input": [[1.0]]}, 400),
            ("/bad-input/predict", '{"input": [NaN]}', 400),
            ("/bad-input/predict", '{"input": [1e999]}', 400),
            ("/bad-input/predict", b'{"input": [1.0]', 400),
            ("/bad-input/predict", b"\xff\xfe", 400),
            ("/bad-input/predict", {"input": [1.0], "version": "99"}, 400),
            ("/bad-input/predict", b" " * (100 * 1024 * 1024), 413),
            ("/nobody/predict", {"input": [1.0]}, 404),
            ("/nowhere", {"input": [1.0]}, 404),
        ],
    )
    def test_bad_request_is_answered_with_its_cause(
        self, connection: ClipperConnection, path: str, body: Any, status: int
    ) -> None:
        if "bad-input" not in connection.get_all_apps():
            serve(connection, "bad-input")

        answer = post(connection, path, body)

        assert answer.status_code == status
        assert set(answer.json()) >= {"error", "cause"}
        assert output(connection, "bad-input", [1.0, 1.0]) == 2.0

    def test_wrong_method_is_answered(self, connection: ClipperConnection) -> None:
        answer = requests.get(f"http://{connection.get_query_addr()}/metrics/predict", timeout=5)

        assert answer.status_code in (404, 405)
        assert set(answer.json()) >= {"error", "cause"}

    # --- kill -9 ---

    @pytest.mark.parametrize("role", list(Role))
    def test_kill_under_requests(self, own: ClipperConnection, backend: Backend, role: Role) -> None:
        """Whatever dies is back by itself; nothing registered is lost, no answer is wrong."""
        serve(own, "killed")
        own.set_num_replicas("killed", 2)
        before = snapshot(own)
        with Traffic(own, "killed") as traffic:
            backend.kill(own.cm.cluster_name, role)
            traffic.wait_for_good()
            assert wait_for(lambda: own.get_num_replicas("killed") == 2, PATIENCE_S)
            traffic.wait_for_good()

        assert traffic.strange == []
        assert snapshot(own) == before
        own.set_num_replicas("killed", 1)
        assert output(own, "killed", [1.0, 2.5]) == 3.5
        assert [status.state for status in own.cm.list_replicas()] == [ReplicaState.READY]

    # --- logs ---

    def test_logs(self, connection: ClipperConnection, tmp_path: Path) -> None:
        serve(connection, "logged", refuses_negative)
        predict(connection, "logged", [-1.0])

        paths = connection.get_clipper_logs(str(tmp_path / "logs"))

        assert paths
        assert all(Path(path).parent == tmp_path / "logs" for path in paths)
        assert any("negative: -1.0" in Path(path).read_text() for path in paths)
        assert "negative" not in connection.cm.tail_log(Role.MANAGEMENT_FRONTEND)
