"""Packages for an image, installed into a folder by the kernel's own pip.

What is served is what the kernel has: names are pinned to the kernel's versions where it has them. pip finds its
indexes, proxies and certificates as it does for the user, and the image build itself needs no network.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
"""Minor version of the kernel's Python: the image must have the same."""


class PipError(RuntimeError):
    """pip did not succeed; the message is the end of its output."""


def canonical_name(requirement: str) -> str:
    """Return the normalised distribution name that a requirement begins with (packaging's rules)."""
    match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", requirement)
    return re.sub(r"[-_.]+", "-", match[1]).lower() if match else ""


def kernel_versions() -> dict[str, str]:
    """Return the version of each distribution that the kernel has from an index, by normalised name.

    Distributions that were installed from a folder or a URL are left out: no index has that version.
    """
    versions: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        # The first one found is the one that is imported.
        if distribution.name and distribution.read_text("direct_url.json") is None:
            versions.setdefault(canonical_name(distribution.name), distribution.version)
    return versions


def pinned(requirements: Iterable[str]) -> list[str]:
    """Return bare names and lower bounds as ``name==version`` where the kernel has the distribution.

    Exact versions, extras, markers and URLs are the user's own word and stay as they are.
    """
    versions = kernel_versions()
    result = []
    for requirement in requirements:
        plain = re.fullmatch(r"[A-Za-z0-9._-]+\s*(>=[^,;@\s]+)?", requirement.strip())
        version = versions.get(canonical_name(requirement)) if plain else None
        result.append(f"{canonical_name(requirement)}=={version}" if version else requirement.strip())
    return sorted(set(result))


def read_requirements(path: Path) -> list[str]:
    """Return the requirements of a file, without comments."""
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


@dataclass(frozen=True, slots=True)
class Platform:
    """Where packages will run.

    Parameters
    ----------
    python : str
        Full version of the image's Python, such as ``"3.11.2"``; its minor version is the kernel's.
    architecture : str
        The engine's, in Python's words: ``"x86_64"`` or ``"aarch64"``.
    """

    python: str
    architecture: str

    def markers(self) -> dict[str, str]:
        """Return what differs from the kernel in the markers of requirements."""
        return {
            "python_full_version": self.python,
            "platform_machine": self.architecture,
            "platform_system": "Linux",
            "sys_platform": "linux",
            "os_name": "posix",
        }

    def pip_options(self) -> list[str]:
        """Return pip's options for wheels of this platform; none on Linux of the same architecture."""
        if sys.platform == "linux" and os.uname().machine == self.architecture:
            return []
        kinds = [f"{kind}_{self.architecture}" for kind in ("manylinux_2_28", "manylinux_2_17", "manylinux2014")]
        options = [f"--platform={kind}" for kind in kinds]
        return [
            *options,
            "--implementation=cp",
            f"--python-version={PYTHON_VERSION}",
            "--only-binary=:all:",
        ]


def install(requirements: Sequence[str], target: Path, platform: Platform) -> None:
    """Install ``requirements`` and what they need into the folder ``target``.

    Parameters
    ----------
    requirements : sequence of str
        As pip takes them.
    target : Path
        A folder that does not exist yet.
    platform : Platform
        Where they will run.

    Raises
    ------
    PipError
        With pip's own last lines.
    """
    with tempfile.TemporaryDirectory(prefix="clipper-pip-") as scratch:
        constraints = Path(scratch, "constraints.txt")
        named = {canonical_name(requirement) for requirement in requirements}
        lines = [f"{name}=={version}\n" for name, version in kernel_versions().items() if name not in named]
        constraints.write_text("".join(lines), encoding="utf-8")
        options = ["--quiet", "--no-compile", "--constraint", str(constraints), *platform.pip_options()]
        wanted = list(requirements)
        # pip reads markers as the kernel's own Python: what only the image's Python needs comes in a second round.
        while wanted:
            _pip("install", "--target", str(target), *options, *wanted)
            wanted = _missing(target, platform)
    # Console scripts name the kernel's interpreter, which is not in the image.
    shutil.rmtree(target / "bin", ignore_errors=True)


def _missing(folder: Path, platform: Platform) -> list[str]:
    """Return what the distributions in ``folder`` require on ``platform`` and is not there."""
    found = installed_in(folder)
    missing = set()
    for distribution in importlib.metadata.distributions(path=[str(folder)]):
        for text in distribution.requires or ():
            requirement = Requirement(text)
            applies = requirement.marker is None or requirement.marker.evaluate({**platform.markers(), "extra": ""})
            if applies and canonical_name(requirement.name) not in found:
                missing.add(f"{requirement.name}{requirement.specifier}")
    return sorted(missing)


def _pip(*arguments: str) -> None:
    # A user's `pip config` may hold `user = true` or a target of its own; both contradict --target.
    environment = {key: value for key, value in os.environ.items() if key not in {"PIP_USER", "PIP_TARGET"}}
    environment |= {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    # A kernel tells every program that it may use colours, and an error quotes what pip says.
    command = [sys.executable, "-m", "pip", "--no-color", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise PipError("\n".join((done.stdout + done.stderr).strip().splitlines()[-12:]))


def installed_in(folder: Path) -> dict[str, str]:
    """Return the version of each distribution in ``folder``, by normalised name."""
    found = importlib.metadata.distributions(path=[str(folder)])
    return {canonical_name(distribution.name): distribution.version for distribution in found}


def remove_known(folder: Path, known: dict[str, str]) -> None:
    """Delete from ``folder`` the distributions that the image has already, in the same version.

    Parameters
    ----------
    folder : Path
        Filled by `install`.
    known : dict of str to str
        Versions by normalised name.
    """
    for distribution in list(importlib.metadata.distributions(path=[str(folder)])):
        if known.get(canonical_name(distribution.name)) != distribution.version:
            continue
        for file in distribution.files or ():
            path = Path(str(distribution.locate_file(file)))
            if path.is_file() and folder in path.parents:
                path.unlink()
    # Deepest first, so that a folder that has become empty makes its parent empty too.
    for directory in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        if not any(directory.iterdir()):
            directory.rmdir()
