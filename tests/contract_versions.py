"""The contract of container managers: versions, replicas and their end."""

from __future__ import annotations

from pathlib import Path

import pytest
from contract_world import (
    LONG_SLO_MICROS,
    NO_MODEL,
    Backend,
    Traffic,
    feature_product,
    feature_sum,
    output,
    post,
    predict,
    serve,
)

from clipper_magic import ClipperConnection
from clipper_magic.container_manager import Role
from clipper_magic.deployers import python as python_deployer
from clipper_magic.exceptions import (
    DeployError,
)


class VersionContract:
    """Versions, replicas and their end."""

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
