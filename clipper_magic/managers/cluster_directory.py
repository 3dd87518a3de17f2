"""The directory of one local cluster: where everything is, and what must run.

::

    $XDG_RUNTIME_DIR/clipper_magic-<uid>/<cluster>/        mode 0700
        cluster.json     identity and ports
        members/*.json   one file a process that must run: what the supervisor obeys
        state.db         the cluster state (SQLite)
        circus.sock      the supervisor listens here
        run/             sockets, and how processes ended
        logs/*.log
        images/<model>/<version>-<token>/
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from clipper_magic.container_manager import Role
from clipper_magic.exceptions import BackendError

CLUSTER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}\Z")
# sun_path holds 108 bytes on Linux, 104 on macOS, with the final zero.
SOCKET_PATH_LIMIT_BYTES = 103 if sys.platform == "darwin" else 107


class ClusterRecord(msgspec.Struct, frozen=True):
    """What ``cluster.json`` says.

    Ports are TCP ports on 127.0.0.1; ``cluster_id`` is new at each start; ``keep_state`` tells whoever stops it.
    """

    cluster: str
    cluster_id: str
    query_port: int
    management_port: int
    protocol: int
    keep_state: bool = False


class Member(msgspec.Struct, frozen=True):
    """One process that must run.

    ``address`` is where its ``/health`` answers. The model fields are empty for frontends.
    """

    name: str
    role: Role
    argv: tuple[str, ...]
    working_dir: str
    address: str
    env: dict[str, str] = {}
    model_name: str = ""
    model_version: str = ""
    replica_id: int = 0


class Exit(msgspec.Struct, frozen=True):
    """How a member ended last: negative ``exit_code`` = that signal; ``count`` = times since it was added."""

    exit_code: int
    count: int


def write_atomically(path: Path, value: msgspec.Struct) -> None:
    """Write JSON so that a reader sees the old file or the new one, never a half."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    draft.write_bytes(msgspec.json.encode(value))
    draft.replace(path)


class ClusterDirectory:
    """Paths of one cluster, and what is written there.

    Parameters
    ----------
    path : Path
        The directory; need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record_path = path / "cluster.json"
        self.members_path = path / "members"
        self.run = path / "run"
        self.logs = path / "logs"
        self.images = path / "images"
        self._state_path = path / "state.db"
        self.state_url = f"sqlite:{self._state_path}"
        self.control_socket = path / "circus.sock"

    @classmethod
    def locate(cls, cluster_name: str) -> ClusterDirectory:
        """Return the directory where this cluster is, or where it would be made.

        Raises
        ------
        BackendError
            If the name cannot be a directory, or the sockets' paths would be too long.
        """
        if not CLUSTER_NAME.match(cluster_name):
            raise BackendError.of("bad-cluster-name", name=cluster_name)
        places = [base / cluster_name for base in _bases()]
        found = [place for place in places if (place / "cluster.json").exists()]
        fitting = [place for place in places if len(os.fsencode(place)) + 30 <= SOCKET_PATH_LIMIT_BYTES]
        if not found and not fitting:
            length = len(os.fsencode(places[0])) + 30
            raise BackendError.of("path-too-long", path=places[0], length=length, limit=SOCKET_PATH_LIMIT_BYTES)
        return cls((found or fitting)[0])

    def create(self) -> None:
        """Make the directory and its parts, for this user only."""
        self.path.mkdir(mode=0o700)
        for part in (self.members_path, self.run, self.logs, self.images):
            part.mkdir(mode=0o700)

    def state_files(self) -> list[Path]:
        """Return the files of the state: the database, and what SQLite has beside it if it was killed."""
        return sorted(self.path.glob(f"{self._state_path.name}*"))

    def remove(self) -> None:
        """Delete everything."""
        shutil.rmtree(self.path, ignore_errors=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock of all this user's clusters: two starts must not choose the same port.

        The directory that all clusters are in is what is locked; it goes with the last of them, and whoever waits for
        its lock makes it anew.
        """
        while True:
            try:
                base = _private_directory(self.path.parent)
                handle = os.open(base, os.O_RDONLY)
            except FileNotFoundError:
                continue  # it went with somebody's last cluster, just now
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                if _is_at(base, handle):
                    try:
                        yield
                    finally:
                        with suppress(OSError):  # clusters are in it
                            base.rmdir()
                    return
            finally:
                os.close(handle)

    def read_record(self) -> ClusterRecord | None:
        """Return what ``cluster.json`` says, or None if there is none (or half a one, of a crash)."""
        try:
            return msgspec.json.decode(self.record_path.read_bytes(), type=ClusterRecord)
        except (OSError, msgspec.MsgspecError):
            return None

    def members(self) -> dict[str, Member]:
        """Return the processes that must run, by name."""
        members = {}
        for path in sorted(self.members_path.glob("[!.]*.json")):
            try:
                member = msgspec.json.decode(path.read_bytes(), type=Member)
            except (FileNotFoundError, msgspec.MsgspecError):
                continue  # removed while we looked
            members[member.name] = member
        return members

    def claim(self, member: Member) -> bool:
        """Add a member unless one of that name exists; return whether it was added."""
        path = self.members_path / f"{member.name}.json"
        draft = self.members_path / f".{member.name}.{secrets.token_hex(4)}"
        draft.write_bytes(msgspec.json.encode(member))
        try:
            path.hardlink_to(draft)  # unlike a rename, fails if the name is taken
        except FileExistsError:
            return False
        finally:
            draft.unlink()
        return True

    def lists(self, name: str) -> bool:
        """Return whether a member of this name must run."""
        return (self.members_path / f"{name}.json").exists()

    def drop(self, names: Sequence[str]) -> None:
        """Take members off the list; unknown ones are no error."""
        for name in names:
            (self.members_path / f"{name}.json").unlink(missing_ok=True)

    def last_exit(self, name: str) -> Exit | None:
        """Return how this member ended last, or None if it never did."""
        try:
            return msgspec.json.decode(self.exit_path(name).read_bytes(), type=Exit)
        except FileNotFoundError:
            return None

    def exit_path(self, name: str) -> Path:
        """Return where the supervisor notes how a member ended."""
        return self.run / f"{name}.exit"

    def log_path(self, name: str) -> Path:
        """Return the log of a process."""
        return self.logs / f"{name}.log"

    def new_socket(self, name: str) -> str:
        """Return a fresh address ``unix:/path`` for a process; long names are cut to fit."""
        token = secrets.token_hex(4)
        room = SOCKET_PATH_LIMIT_BYTES - len(os.fsencode(self.run)) - len(f"/-{token}.sock")
        return f"unix:{self.run / f'{name[:room]}-{token}.sock'}"


def _bases() -> list[Path]:
    """Return the directories that may hold clusters, best first."""
    leaf = f"clipper_magic-{os.getuid()}"
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    roots = [runtime] if runtime and os.access(runtime, os.W_OK) else []
    return [Path(root) / leaf for root in dict.fromkeys([*roots, tempfile.gettempdir(), "/tmp"])]


def _is_at(path: Path, handle: int) -> bool:
    """Return whether what is open as ``handle`` is still what has this path."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _private_directory(path: Path) -> Path:
    """Make a directory for this user only; refuse one that somebody else prepared."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):  # exist_ok would raise this if the directory went between its two looks
        path.mkdir(mode=0o700)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise BackendError.of("backend-failed", reason=f"{path} does not belong to this user")
    path.chmod(0o700)
    return path
