"""Root file systems from Debian packages, for machines that reach no image registry.

Nothing is installed on this machine, no maintainer script runs and root is not needed: apt downloads packages and
what they depend on into a directory of its own, ``dpkg-deb`` unpacks them, and the result becomes one tar archive.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

# What a served model never reads.
_LEFT_OUT = ("./usr/share/doc", "./usr/share/man", "./usr/share/locale", "./usr/share/info", "./usr/share/lintian")
_STDLIB_LEFT_OUT = ("test", "idlelib", "lib2to3", "tkinter", "turtledemo", "ensurepip", "pydoc_data")


class DebianError(RuntimeError):
    """A step that failed, with the end of its output."""


def _run(*command: str | Path) -> str:
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    except FileNotFoundError as err:
        raise DebianError(f"{command[0]} is not on this machine: it is no Debian system") from err
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise DebianError(f"{Path(str(command[0])).name} failed: " + " | ".join(lines[-3:]))
    return done.stdout


class DebianArchive:
    """The Debian packages that this machine's apt sources offer.

    Parameters
    ----------
    directory : Path
        An empty directory for package lists and downloads; the machine's own are neither used nor changed.
    """

    def __init__(self, directory: Path) -> None:
        self._downloads = directory / "cache" / "archives"
        for folder in (directory / "state" / "lists" / "partial", self._downloads / "partial"):
            folder.mkdir(parents=True)
        # An empty status file: no package counts as installed, so that every dependency is downloaded.
        status = directory / "status"
        status.touch()
        settings = {
            "Dir::State": directory / "state",
            "Dir::State::status": status,
            "Dir::Cache": directory / "cache",
            "APT::Install-Recommends": "0",
            "APT::Sandbox::User": "root",
            "Debug::NoLocking": "1",
        }
        self._options = [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]
        _run("apt-get", "-qq", *self._options, "update")

    def python_versions(self) -> list[str]:
        """Return the Python versions that can be had, such as ``["3.11"]``."""
        names = _run("apt-cache", *self._options, "pkgnames", "python3.")
        return sorted(re.findall(r"^python(3\.\d+)-minimal$", names, re.MULTILINE))

    def unpack(self, packages: Sequence[str], root: Path) -> None:
        """Download ``packages`` with all that they depend on, and unpack everything below ``root``.

        Raises
        ------
        DebianError
            With the failing step.
        """
        for folder in ("bin", "sbin", "lib", "lib64"):  # as on every current Debian: /bin is /usr/bin
            (root / "usr" / folder).mkdir(parents=True, exist_ok=True)
            (root / folder).symlink_to(f"usr/{folder}")
        for stale in self._downloads.glob("*.deb"):
            stale.unlink()
        _run("apt-get", "-qq", "-y", *self._options, "--download-only", "install", *packages)
        for package in sorted(self._downloads.glob("*.deb")):
            self._unpack_one(package, root)

    @staticmethod
    def _unpack_one(package: Path, root: Path) -> None:
        # `dpkg-deb -x` would replace the links /bin, /lib by directories; tar can be told to keep them.
        tar = ["tar", "-x", "-C", str(root), "--keep-directory-symlink", "--no-same-owner"]
        tar += [f"--exclude={path}" for path in _LEFT_OUT]
        source = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE)
        with source:
            done = subprocess.run(tar, stdin=source.stdout, capture_output=True, text=True, check=False)
        if source.returncode or done.returncode:
            raise DebianError(f"{package.name} does not unpack: {done.stderr.strip()}")


def compile_stdlib(root: Path, version: str) -> None:
    """Byte-compile the standard library below ``root``: a read-only container could never do it itself.

    Parameters
    ----------
    root : Path
        Where packages were unpacked.
    version : str
        Python version such as ``"3.11"``; must be that of the running interpreter, whose compiler is used.
    """
    stdlib = root / "usr" / "lib" / f"python{version}"
    for name in _STDLIB_LEFT_OUT:
        shutil.rmtree(stdlib / name, ignore_errors=True)
    command = [sys.executable, "-m", "compileall", "-q", "-s", str(root), "-p", "/"]
    _run(*command, "--invalidation-mode", "unchecked-hash", stdlib)


def copy_closure(root: Path, binary: str, target: Path) -> None:
    """Copy one program and the shared libraries that it needs from ``root`` to ``target``.

    Parameters
    ----------
    root : Path
        Where packages were unpacked.
    binary : str
        Path of the program inside ``root``, relative.
    target : Path
        Gets the same layout, and nothing else.

    Raises
    ------
    DebianError
        If a library is missing.
    """
    (loader,) = [path for path in root.glob("usr/lib/*/ld-linux*.so.*") if not path.is_symlink()]
    listing = _run(loader, "--library-path", loader.parent, "--list", root / binary)
    if "not found" in listing:
        raise DebianError(f"{binary} lacks a shared library: {listing}")
    # The kernel finds the loader by the path written in the program: /lib64/ld-linux-x86-64.so.2 and the like.
    named = {path.relative_to(root): loader for path in root.glob("usr/lib*/ld-linux*.so.*")}
    libraries = {Path(path).relative_to(root) for path in re.findall(rf"{re.escape(str(root))}\S+", listing)}
    for path in {Path(binary), *libraries, *named}:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(named.get(path, root / path), target / path)
    for folder in ("bin", "lib", "lib64"):
        (target / "usr" / folder).mkdir(parents=True, exist_ok=True)
        (target / folder).symlink_to(f"usr/{folder}")


def write_tar(root: Path, archive: Path, owners: Mapping[str, int]) -> None:
    """Pack ``root`` into one tar archive, owned by root but for the directories in ``owners``.

    Parameters
    ----------
    root : Path
        The file system.
    archive : Path
        Where to write.
    owners : mapping of str to int
        User and group id of some directories, by path inside ``root``.
    """

    def owned(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = owners.get(member.name.removeprefix("./"), 0)
        member.uname = member.gname = ""
        return member

    with tarfile.open(archive, "w") as out:
        out.add(root, arcname=".", filter=owned)
