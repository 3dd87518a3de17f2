"""Which images a cluster runs: found here, pulled, or made from Debian packages, in this order."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import APIError, ImageNotFound

from clipper_magic import image, wheels
from clipper_magic.exceptions import BackendError, ImageBuildError
from clipper_magic.image import BuildError, OnLine
from clipper_magic.managers import docker_builds
from clipper_magic.managers.docker_engine import architecture
from clipper_magic.managers.docker_labels import DockerCluster
from clipper_magic.managers.docker_options import DockerOptions
from serving_image import base_image as debian
from serving_image.debian_root import DebianError

DEFAULT_BASE = "default"


@dataclass(frozen=True, slots=True)
class Source:
    """Where an image comes from unless the user names another.

    Parameters
    ----------
    purpose : str
        What it is for, in an error.
    option : str
        The constructor argument that names another image.
    official : str
        The image that a registry has.
    kind : str
        Key of `serving_image.base_image.recipes`: what is made from Debian packages instead.
    """

    purpose: str
    option: str
    official: str
    kind: str


PYTHON = Source("the replicas", "base_image", f"python:{wheels.PYTHON_VERSION}-slim", "python")
REDIS = Source("Redis", "redis_image", "redis:7-alpine", "redis")
PROMETHEUS = Source("Prometheus", "prometheus_image", "prom/prometheus:v2.53.5", "prometheus")


@dataclass(frozen=True, slots=True)
class ClusterImages:
    """The images of one start; ``redis`` and ``prometheus`` are empty where the cluster runs none of its own."""

    serving: str
    redis: str
    prometheus: str


class DockerImages:
    """Images of one cluster.

    Parameters
    ----------
    client : docker.DockerClient
        The engine.
    cluster_name : str
        Begins the names of model images.
    base_image : str
        What the serving image is built on; empty for the usual one.
    labels : mapping of str to str
        Labels of model images.
    on_line : callable
        Gets what is being done, line by line.
    """

    def __init__(
        self,
        client: docker.DockerClient,
        cluster_name: str,
        base_image: str,
        labels: Mapping[str, str],
        on_line: OnLine,
    ) -> None:
        self._client = client
        # Image names have a narrower alphabet than cluster names.
        self._prefix = re.sub(r"[^a-z0-9]+", "-", cluster_name.lower()).strip("-")
        self._base_image = base_image
        self._labels = labels
        self._on_line = on_line

    def for_cluster(self, options: DockerOptions) -> ClusterImages:
        """Return what a start needs; builds or pulls what is missing.

        Raises
        ------
        BackendError, ImageBuildError
        """
        return ClusterImages(
            serving=self.serving(),
            redis="" if options.redis_ip else self.ensure(REDIS, options.redis_image),
            prometheus=self.ensure(PROMETHEUS, options.prometheus_image) if options.with_metrics else "",
        )

    def ensure(self, source: Source, wish: str = "") -> str:
        """Return the name of a local image for ``source``.

        Parameters
        ----------
        source : Source
            What is needed.
        wish : str
            An image that the user names; pulled if it is not here.

        Raises
        ------
        BackendError
            If there is none to be had.
        """
        homemade = debian.recipes()[source.kind].tag
        for name in [wish] if wish else [source.official, homemade]:
            if image.image_id(self._client, name):
                return name
        reason = self._pull(wish or source.official)
        if not reason:
            return wish or source.official
        if not wish:
            self._on_line(f"{source.official} cannot be pulled ({reason}): building one from Debian packages")
            try:
                debian.make(self._client, [source.kind], self._on_line)
            except DebianError as err:
                reason = f"{source.official} cannot be pulled ({reason}), and {err}"
            else:
                return homemade
        else:
            reason = f"{wish} is not here and cannot be pulled ({reason})"
        raise BackendError.of("no-image", purpose=source.purpose, reason=reason, option=source.option, kind=source.kind)

    def _pull(self, name: str) -> str:
        """Pull an image; return why not, in the last words of the engine's message, or an empty text."""
        self._on_line(f"Pulling {name}")
        try:
            self._client.images.pull(name if ":" in name.rpartition("/")[2] else f"{name}:latest")
        except (APIError, ImageNotFound) as err:
            return (err.explanation or str(err)).rsplit(": ", 1)[-1].rstrip(".")
        return ""

    def serving(self, base: str = "") -> str:
        """Return the serving image on ``base``, or on the cluster's base image; built unless it exists.

        Raises
        ------
        ImageBuildError
            With the failing step, or if the base has another Python than this kernel.
        """
        name = self.ensure(PYTHON, base or self._base_image)
        platform = self._platform(name)
        if image.image_labels(self._client, name).get(image.KIND_LABEL) in ("serving", "packages"):
            return name  # or something that was built on one
        try:
            return docker_builds.build_serving_image(self._client, name, platform, self._on_line)
        except BuildError as err:
            raise ImageBuildError.of_step("serving-image-failed", err.step, err.log) from err

    def serving_of(self, cluster: DockerCluster | None) -> str:
        """Return what a cluster's frontends run, if it is here and fits this kernel, else `serving`.

        Replicas and frontends are of one make then, even if clipper_magic has been updated since the start.
        """
        if cluster and image.image_id(self._client, cluster.serving_image):
            python = image.python_of(self._client, cluster.serving_image)
            if python.startswith(f"{wheels.PYTHON_VERSION}."):
                return cluster.serving_image
        return self.serving()

    def _platform(self, name: str) -> wheels.Platform:
        """Return what an image runs on; refuse another minor version of Python than the kernel's."""
        python = image.python_of(self._client, name)
        minor = ".".join(python.split(".")[:2])
        if minor != wheels.PYTHON_VERSION:
            raise ImageBuildError.of(
                "python-mismatch", image=name, theirs=minor or "(none)", ours=wheels.PYTHON_VERSION
            )
        return wheels.Platform(python, architecture(self._client))

    def model(
        self,
        name: str,
        version: str,
        model_data_path: Path,
        serving: str,
        registry: str | None,
        packages: Sequence[str],
    ) -> str:
        """Build the image of a model version, and push it if there is a registry.

        Parameters
        ----------
        name, version : str
            Of the model.
        model_data_path : Path
            Directory that a deployer made.
        serving : str
            The serving image to build on.
        registry : str or None
            Where to push to.
        packages : sequence of str
            Requirements beside those that the directory's ``model.json`` names.

        Raises
        ------
        ImageBuildError
            With the failing step.
        """
        if not (model_data_path / "model.json").is_file():
            raise ImageBuildError.of("bad-model-data", path=model_data_path, reason="it has no model.json")
        tag = self.tag(name, version, registry)
        own = json.loads((model_data_path / "model.json").read_text(encoding="utf-8")).get("packages", [])
        # What the user asks for takes precedence over what was found.
        asked = {wheels.canonical_name(requirement) for requirement in packages}
        needed = [*packages, *(line for line in own if wheels.canonical_name(line) not in asked)]
        try:
            on = docker_builds.add_packages(self._client, serving, needed, self._platform(serving), self._on_line)
            docker_builds.build_model_image(self._client, on, model_data_path, tag, self._labels, self._on_line)
        except BuildError as err:
            raise ImageBuildError.of_step("image-build-failed", err.step, err.log, model=name, version=version) from err
        if registry:
            self._push(tag)
        return tag

    def tag(self, name: str, version: str, registry: str | None) -> str:
        """Return ``[<registry>/]<cluster>-<name>:<version>``."""
        return f"{registry.rstrip('/') + '/' if registry else ''}{self._prefix}-{name}:{version}"

    def _push(self, tag: str) -> None:
        self._on_line(f"Pushing model Docker image to {tag}")
        try:
            image.push(self._client, tag)
        except (BuildError, APIError) as err:
            reason = err.log if isinstance(err, BuildError) else str(err.explanation or err)
            raise ImageBuildError.of("image-push-failed", image=tag, reason=reason.rstrip(".")) from err

    def require(self, name: str) -> None:
        """Make sure that an image is here, pulling it if a registry is in its name.

        Raises
        ------
        ImageBuildError
            If there is none.
        """
        if image.image_id(self._client, name) is None and self._pull(name):
            raise ImageBuildError.of("image-not-found", image=name)

    def names(self) -> list[str]:
        """Return the names of the cluster's model images that are here."""
        filters = {"label": [f"{key}={value}" for key, value in self._labels.items()]}
        return sorted(tag for each in self._client.images.list(filters=filters) for tag in each.tags)

    def remove_unfinished(self) -> None:
        """Delete what builds of the cluster's models left when they were interrupted: images without a name.

        The engine ends the step that it is in when its client goes away, and keeps its outcome.
        """
        labels = [f"{key}={value}" for key, value in self._labels.items()]
        self._client.images.prune(filters={"dangling": True, "label": labels})

    def remove(self, name: str) -> None:
        """Delete an image of this cluster that nothing runs; an unknown one or a foreign one is no error."""
        try:
            if self._labels.items() <= image.image_labels(self._client, name).items():
                self._client.images.remove(name)
        except APIError:  # not here, or still in use
            return
