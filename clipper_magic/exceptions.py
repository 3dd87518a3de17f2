"""Everything that can go wrong, as one tree.

::

    ClipperException
    ├─ UnconnectedException            this connection has no cluster
    │   └─ NoClusterError              no cluster of that name runs
    ├─ ClipperUsageError               a bad line or option
    ├─ InvalidNameError, InputTypeError, InvalidArgumentError
    ├─ NotRegisteredError              application, model, version
    ├─ AlreadyRegisteredError, LinkError
    ├─ DeployError
    │   ├─ NotPicklableError           which object, and who holds it
    │   ├─ ModelCheckError             input, got, expected
    │   ├─ ImageBuildError             the failing step
    │   └─ ReplicaStartError           exit code, last log lines
    ├─ BackendError
    │   ├─ ClusterExistsError, ClusterStartError, PortInUseError
    │   └─ DockerUnavailableError, ProtocolMismatchError
    └─ QueryError
        └─ FrontendUnreachableError, BadQueryError

The root, ``UnconnectedException`` and ``.msg`` are Clipper's. The texts are in ``messages/errors.*.toml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from clipper_magic.messages import catalogue


class ClipperException(Exception):
    """Something that clipper_magic could not do.

    Parameters
    ----------
    msg : str
        Clipper's text where it has one, else what is wrong.
    *args : object
        Kept in ``args``, as Clipper does.
    code : str, optional
        Entry of the message catalogue.
    fields : mapping, optional
        Values for the entry's placeholders.

    Attributes
    ----------
    msg : str
        The text that Clipper's own class carries.
    code : str
        Stable identifier of the error, such as ``"app-not-found"``; empty without an entry.
    fields : dict
        The values behind the texts (names, ports, log lines), for programs.
    """

    def __init__(self, msg: str, *args: object, code: str = "", fields: Mapping[str, object] | None = None) -> None:
        super().__init__(msg, *args)
        self.msg = msg
        self.code = code
        self.fields = dict(fields or {})

    @classmethod
    def of(cls, code: str, **fields: object) -> Self:
        """Return the error ``code`` with its texts from the catalogue, filled in with ``fields``."""
        texts = [catalogue.render("errors", code, part, "en", fields) for part in ("msg", "what")]
        return cls(texts[0] or texts[1], code=code, fields=fields)

    @property
    def what(self) -> str:
        """What is wrong, with the offending value, in English."""
        return self._text("what", "en") or self.msg

    @property
    def fix(self) -> str:
        """The one action that repairs it, in English; may be empty."""
        return self._text("fix", "en")

    def localized(self, language: str, *, magic: bool = False) -> str:
        """Return ``what`` and ``fix`` on one line in ``language`` ("en" or "fr"); ``magic``: for who typed a magic."""
        what = self._text("what", language) or self.msg
        fix = (self._text("magic", language) if magic else "") or self._text("fix", language)
        return catalogue.render("text", "error", "with_fix", language, {"what": what, "fix": fix}) if fix else what

    def __str__(self) -> str:
        return self.localized("en")

    def _text(self, part: str, language: str) -> str:
        return catalogue.render("errors", self.code, part, language, self.fields) if self.code else ""


class UnconnectedException(ClipperException):
    """The connection has no cluster yet; the text is Clipper's."""

    def __init__(
        self,
        msg: str = "",
        *args: object,
        code: str = "unconnected",
        fields: Mapping[str, object] | None = None,
    ) -> None:
        text = msg or catalogue.render("errors", code, "msg", "en", fields or {})
        super().__init__(text, *args, code=code, fields=fields)


class NoClusterError(UnconnectedException):
    """No cluster of that name runs (Clipper raised a bare ``KeyError`` here)."""


class ClipperUsageError(ClipperException):
    """A magic line that cannot be understood."""


class InvalidNameError(ClipperException):
    """A model, version or application name outside the allowed alphabet."""


class InputTypeError(ClipperException):
    """An input type that does not exist or does not fit its counterpart."""


class InvalidArgumentError(ClipperException):
    """A value that the management frontend refuses."""


class NotRegisteredError(ClipperException):
    """An application, model, version or link that does not exist."""


class AlreadyRegisteredError(ClipperException):
    """An application or model version that exists already."""


class LinkError(ClipperException):
    """A link that the rules forbid: one model an application, equal input types."""


class DeployError(ClipperException):
    """A model that could not be put into service; what served before still serves."""


class NotPicklableError(DeployError):
    """A function that cannot leave the kernel, with the object that holds it back."""


class ModelCheckError(DeployError):
    """A function that failed on its example input."""


class ImageBuildError(DeployError):
    """A model image that could not be built, with the failing step."""

    @classmethod
    def of_step(cls, code: str, step: str, log: str, **fields: object) -> Self:
        """Return the error ``code`` of a step, or that of a full disk where the step's ``log`` says so."""
        full = "no space left on device" in log.lower()
        return cls.of("no-space" if full else code, step=step, log=log, **fields)


class ReplicaStartError(DeployError):
    """A replica that ended before it was ready, with its exit code and last log lines."""


class BackendError(ClipperException):
    """The container manager could not do its part."""


class ClusterExistsError(BackendError):
    """A cluster of that name runs already; the text is Clipper's."""


class ClusterStartError(BackendError):
    """A frontend did not become ready."""


class DockerUnavailableError(BackendError):
    """No Docker engine answers."""


class PortInUseError(BackendError):
    """No free port near the one wished for."""


class ProtocolMismatchError(BackendError):
    """The cluster speaks another version of the protocol than this kernel."""


class QueryError(ClipperException):
    """A prediction could not be asked for."""


class FrontendUnreachableError(QueryError):
    """A frontend does not answer."""


class BadQueryError(QueryError):
    """A query that the frontend refuses."""
