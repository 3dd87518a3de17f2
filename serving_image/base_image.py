"""Make base images from Debian packages, where no image registry can be reached.

::

    python -m serving_image.base_image [TAG] [--kind python|redis|prometheus]

``python`` is what the serving image is built on, in the minor version of the Python that runs this command;
``redis`` and ``prometheus`` stand in for the official images. Needs Debian or a relative of it, a Docker engine and
the ``docker`` package; neither root nor a registry.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import docker

from serving_image.debian_root import DebianArchive, DebianError, compile_stdlib, copy_closure, write_tar

PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"

_ROOT_USER = "root:x:0:0:root:/root:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
_ROOT_GROUP = "root:x:0:\nnogroup:x:65534:\n"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one image is made.

    Parameters
    ----------
    tag : str
        Name that the image gets when none is asked for.
    packages : tuple of str
        Debian packages; ``{python}`` stands for the Python version.
    program : str
        Keep only this program and its libraries; empty keeps everything.
    user : str
        A line for ``/etc/passwd``, without a newline.
    owners : mapping of str to int
        Directories that the program writes to, and the user id that owns them.
    settings : tuple of str
        Dockerfile instructions for the image.
    """

    tag: str
    packages: tuple[str, ...]
    program: str = ""
    user: str = ""
    owners: Mapping[str, int] = field(default_factory=dict)
    settings: tuple[str, ...] = ()


def recipes() -> Mapping[str, Recipe]:
    """Return every kind of image that can be made, by its name on the command line."""
    return {
        "python": Recipe(
            tag=f"clipper_magic/python:{PYTHON_VERSION}",
            packages=(
                *("python{python}-minimal", "libpython{python}-stdlib", "libstdc++6"),
                *("dash", "coreutils", "base-files", "libc-bin", "netbase", "tzdata"),
            ),
            user="app:x:10001:10001:app:/tmp:/usr/sbin/nologin",
            settings=("ENV PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8", 'CMD ["python3"]'),
        ),
        # Users, working directories and commands are those of the official images: either kind serves.
        "redis": Recipe(
            tag="clipper_magic/redis:debian",
            packages=("redis-server",),
            program="usr/bin/redis-server",
            user="redis:x:999:999:redis:/data:/usr/sbin/nologin",
            owners={"data": 999},
            settings=("WORKDIR /data", 'CMD ["redis-server"]'),
        ),
        "prometheus": Recipe(
            tag="clipper_magic/prometheus:debian",
            packages=("prometheus",),
            program="usr/bin/prometheus",
            owners={"prometheus": 65534},
            settings=("USER nobody", "WORKDIR /prometheus", 'ENTRYPOINT ["/usr/bin/prometheus"]'),
        ),
    }


def make(
    engine: docker.DockerClient, kinds: Iterable[str], on_step: Callable[[str], None], *, tag: str = ""
) -> list[str]:
    """Build images and give them to the engine.

    Parameters
    ----------
    engine : docker.DockerClient
        Gets the images.
    kinds : iterable of str
        Keys of `recipes`.
    on_step : callable
        Told in one line what is being done.
    tag : str, optional
        Name of the image instead of the recipe's own; for a single kind.

    Returns
    -------
    list of str
        The tags.

    Raises
    ------
    DebianError
        If a package cannot be had, or Debian has another Python than this one.
    """
    tags = []
    with tempfile.TemporaryDirectory(prefix="clipper-image-") as scratch:
        on_step("Reading Debian's package lists")
        archive = DebianArchive(Path(scratch, "apt"))
        for kind in kinds:
            recipe = recipes()[kind]
            name = tag or recipe.tag
            on_step(f"Building {name} from Debian packages")
            workdir = Path(scratch, kind)
            tree = _file_system(archive, recipe, workdir)
            write_tar(tree, workdir / "root.tar", recipe.owners)
            _import(engine, workdir / "root.tar", name, (*recipe.settings, f"LABEL ai.clipper.kind={kind}"))
            tags.append(name)
    return tags


def _file_system(archive: DebianArchive, recipe: Recipe, workdir: Path) -> Path:
    if "{python}" in recipe.packages[0] and PYTHON_VERSION not in archive.python_versions():
        offered = ", ".join(archive.python_versions()) or "none"
        raise DebianError(
            f"Debian's packages here have Python {offered}, the kernel runs {PYTHON_VERSION}. "
            f"Fix: run the kernel on that version, or name an image with Python {PYTHON_VERSION} as base_image."
        )
    tree = workdir / "root"
    archive.unpack([name.format(python=PYTHON_VERSION) for name in recipe.packages], tree)
    if recipe.program:
        whole, tree = tree, workdir / "small"
        copy_closure(whole, recipe.program, tree)
    else:
        compile_stdlib(tree, PYTHON_VERSION)
        for alias in ("python", "python3"):
            tree.joinpath("usr", "bin", alias).unlink(missing_ok=True)
            tree.joinpath("usr", "bin", alias).symlink_to(f"python{PYTHON_VERSION}")
    _add_users(tree, recipe)
    return tree


def _add_users(tree: Path, recipe: Recipe) -> None:
    for folder in ("etc", "tmp", "proc", "sys", "dev", "root", "run", "model", *recipe.owners):
        tree.joinpath(folder).mkdir(exist_ok=True)
    tree.joinpath("tmp").chmod(0o1777)
    user, _, uid, *_ = (recipe.user or "::").split(":")
    tree.joinpath("etc", "passwd").write_text(_ROOT_USER + (recipe.user + "\n" if recipe.user else ""))
    tree.joinpath("etc", "group").write_text(_ROOT_GROUP + (f"{user}:x:{uid}:\n" if user else ""))


def _import(engine: docker.DockerClient, archive: Path, name: str, changes: Iterable[str]) -> None:
    repository, _, version = name.partition(":")
    engine.api.import_image_from_file(
        str(archive), repository=repository, tag=version or "latest", changes=list(changes)
    )


def _say(step: str) -> None:
    sys.stdout.write(step + "\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0, or 1 with one line that says what failed."""
    parser = argparse.ArgumentParser(prog="python -m serving_image.base_image", description=__doc__.splitlines()[0])
    parser.add_argument("tag", nargs="?", default="", help="name of the image (default: clipper_magic/KIND:…)")
    parser.add_argument("--kind", choices=list(recipes()), default="python", help="default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        with closing(docker.from_env()) as engine:
            make(engine, [options.kind], _say, tag=options.tag)
    except (DebianError, docker.errors.DockerException) as err:
        sys.stderr.write(f"{err}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
