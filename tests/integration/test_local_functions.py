"""What travels with a function to its replica's process: packages, local modules, and what comes back in its log."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from contract_world import (
    LONG_SLO_MICROS,
    connection,
    feature_sum,
    output,
    own,
    serve,
    snapshot,
)

from clipper_magic import ClipperConnection
from clipper_magic.deployers import python as python_deployer
from clipper_magic.exceptions import (
    ImageBuildError,
    ReplicaStartError,
)

__all__ = ["connection", "own"]


def wheel(directory: Path, name: str, source: str) -> Path:
    """Make a wheel with one module by hand: no build, no index."""
    files = {
        f"{name}.py": source,
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{name}-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{name}-1.0.dist-info/RECORD"
    lines = [f"{path},sha256={digest(text)},{len(text)}" for path, text in files.items()]
    path = directory / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in {**files, record: "\n".join([*lines, f"{record},,"]) + "\n"}.items():
            archive.writestr(member, text)
    return path


def digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def uses_a_package(xs: Any) -> list[str]:
    import only_for_the_model

    return [str(only_for_the_model.double(sum(x))) for x in xs]


def test_packages_to_install_are_the_replicas_only(connection: ClipperConnection, tmp_path: Path) -> None:
    package = wheel(tmp_path, "only_for_the_model", "def double(x):\n    return 2 * x\n")

    python_deployer.create_endpoint(
        connection, "packaged", "doubles", uses_a_package, slo_micros=LONG_SLO_MICROS, pkgs_to_install=[str(package)]
    )

    assert output(connection, "packaged", [1.0, 2.0]) == 6.0
    with pytest.raises(ImportError):
        uses_a_package([[1.0]])


def test_pip_that_fails_is_quoted(connection: ClipperConnection, tmp_path: Path) -> None:
    before = snapshot(connection)
    missing = str(tmp_path / "missing-1.0-py3-none-any.whl")

    with pytest.raises(ImageBuildError) as caught:
        python_deployer.create_endpoint(connection, "no-pip", "doubles", feature_sum, pkgs_to_install=[missing])

    assert f"pip install {missing} failed" in str(caught.value)
    assert "ERROR" in str(caught.value)
    assert snapshot(connection) == before


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A notebook's folder: a script, a module beside it, and a package on a path of its own."""
    (tmp_path / "helper.py").write_text("FACTOR = 2\ndef scale(x):\n    return FACTOR * x\n")
    (tmp_path / "late.py").write_text("import later\ndef shift(x):\n    return x + later.ONE\n")
    (tmp_path / "later.py").write_text("ONE = 1\n")
    (tmp_path / "numpy_not.csv").write_text("7\n")
    yield tmp_path


def test_local_modules_travel_with_the_function(connection: ClipperConnection, project: Path) -> None:
    script = textwrap.dedent(f"""
        import helper
        from clipper_magic import ClipperConnection, LocalContainerManager
        from clipper_magic.deployers import python as python_deployer

        helper.FACTOR = 10

        def predict(xs):
            import late
            with open("numpy_not.csv") as data:
                seven = int(data.read())
            return [str(late.shift(helper.scale(sum(x))) + seven) for x in xs]

        connection = ClipperConnection(LocalContainerManager({connection.cm.cluster_name!r}))
        connection.connect()
        python_deployer.create_endpoint(connection, "modules", "doubles", predict, slo_micros={LONG_SLO_MICROS},
                                        example=[1.0])
        """)
    (project / "notebook.py").write_text(script)

    done = subprocess.run([sys.executable, "notebook.py"], cwd=project, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "Shipping local modules helper, late, later" in done.stderr
    assert output(connection, "modules", [1.0, 2.0]) == 38.0


def test_a_file_in_the_working_directory_hides_no_package(
    connection: ClipperConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bottle.py").write_text("raise RuntimeError('the wrong bottle')\n")
    monkeypatch.chdir(tmp_path)

    serve(connection, "hidden")

    assert output(connection, "hidden", [1.0, 2.0]) == 3.0


def test_a_model_that_prints_writes_its_log(connection: ClipperConnection) -> None:
    def prints(xs: Any) -> list[str]:
        print("a line of the model's", len(xs))
        return [str(sum(x)) for x in xs]

    serve(connection, "printing", prints)
    output(connection, "printing", [1.0])
    replica = next(s.replica for s in connection.cm.list_replicas() if s.replica.model_name == "printing")

    assert "a line of the model's 1" in connection.cm.tail_log(replica)


def test_a_failed_deploy_quotes_its_own_log_and_not_that_of_the_try_before(connection: ClipperConnection) -> None:
    def first(xs: Any) -> list[str]:
        import module_of_the_first_try  # noqa: F401

        return [str(x) for x in xs]

    def second(xs: Any) -> list[str]:
        return ["one output"]

    with pytest.raises(ReplicaStartError, match="module_of_the_first_try"):
        python_deployer.deploy_python_closure(connection, "twice", 1, "doubles", first)
    with pytest.raises(ReplicaStartError) as again:
        python_deployer.deploy_python_closure(connection, "twice", 1, "doubles", second)

    assert "module_of_the_first_try" not in str(again.value)
