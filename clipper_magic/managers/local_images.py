"""Images of the local backend: a directory a model version, under Clipper's image names."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from clipper_magic.exceptions import ImageBuildError

LOG_LINES = 20


class LocalImages:
    """The images of one cluster.

    ``images/<model>/<version>`` is a link to the newest build ``<version>-<token>``. A replica runs from the build
    itself, so building the same version again changes nothing under a running replica.

    Parameters
    ----------
    root : Path
        The cluster's ``images`` directory.
    cluster_name : str
        First part of the image names, as Clipper has it.
    """

    def __init__(self, root: Path, cluster_name: str) -> None:
        self.root = root
        self.cluster_name = cluster_name

    def tag(self, name: str, version: str, registry: str | None) -> str:
        """Return Clipper's image name ``[registry/]cluster-name:version``."""
        tag = f"{self.cluster_name}-{name}:{version}"
        return f"{registry}/{tag}" if registry else tag

    def build(self, name: str, version: str, model_data_path: str, packages: Sequence[str]) -> Path:
        """Copy a model directory in, with the packages it asks for.

        Returns
        -------
        Path
            The new build.

        Raises
        ------
        ImageBuildError
            If the directory holds no model, or cannot be copied, or pip fails (with its last lines).
        """
        source = Path(model_data_path)
        if not (source / "model.json").is_file():
            reason = "it does not exist" if not source.is_dir() else "it has no model.json"
            raise ImageBuildError.of("bad-model-data", path=model_data_path, reason=reason)
        build = self.root / name / f"{version}-{secrets.token_hex(4)}"
        try:
            _copy(source, build, name, version)
            if packages:
                _install(packages, build / "packages", name, version)
        except BaseException:
            shutil.rmtree(build, ignore_errors=True)
            raise
        link = build.with_name(f".{build.name}")
        link.symlink_to(build.name)
        link.replace(self.root / name / version)
        return build

    def find(self, image: str) -> Path:
        """Return the build that an image name means now; the path of a model directory is an image, too.

        Raises
        ------
        ImageBuildError
            If there is none.
        """
        direct = Path(image)
        if direct.is_absolute() and (direct / "model.json").is_file():
            return direct
        link = self._link(image)
        if link is None or not link.exists():
            raise ImageBuildError.of("image-not-found", image=image)
        return link.resolve()

    def remove(self, image: str, in_use: set[Path]) -> None:
        """Delete the name and every build of it that is not ``in_use``."""
        link = self._link(image)
        if link is None or not link.is_symlink():
            return
        link.unlink()
        builds = [path for path in link.parent.iterdir() if path.name.rpartition("-")[0] == link.name]
        for build in builds:
            if build.resolve() not in in_use:
                shutil.rmtree(build, ignore_errors=True)

    def _link(self, image: str) -> Path | None:
        """Return where the link of an image name is, or None if the name is not of this cluster."""
        name, colon, version = image.rpartition("/")[2].rpartition(":")
        prefix = f"{self.cluster_name}-"
        if not colon or not name.startswith(prefix) or not version:
            return None
        return self.root / name.removeprefix(prefix) / version


def _copy(source: Path, target: Path, name: str, version: str) -> None:
    try:
        shutil.copytree(source, target)
    except OSError as err:
        raise ImageBuildError.of_step(
            "image-build-failed", f"copying {source}", str(err), model=name, version=version
        ) from err


def _install(packages: Sequence[str], target: Path, name: str, version: str) -> None:
    """Install packages beside the model, for its replicas only."""
    command = [sys.executable, "-m", "pip", "install", "--no-input", "--no-color", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, "--target", str(target), *packages],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ImageBuildError.of_step(
            "image-build-failed",
            f"pip install {' '.join(packages)}",
            "\n".join(done.stdout.strip().splitlines()[-LOG_LINES:]),
            model=name,
            version=version,
        )
