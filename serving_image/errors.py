"""What goes wrong on the serving side, and how it looks on the wire.

A :class:`ServingError` has a code in kebab-case, which programs read (header ``X-Clipper-Error``), and a cause,
which people read. One table gives each code its HTTP status and the word in ``{"error": ...}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

ERROR_CODE_HEADER = "X-Clipper-Error"

# code -> (HTTP status, "error" in a JSON body). Clipper's management frontend knows 200 and 400 only, hence the many
# 400; "Json error" and "Query processing error" are the words of its query frontend.
ERRORS: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "app-exists": (400, "Application exists"),
        "app-not-found": (400, "Application not found"),
        "model-exists": (400, "Model exists"),
        "model-not-found": (400, "Model not found"),
        "version-not-found": (400, "Query processing error"),
        "replica-not-found": (400, "Replica not found"),
        "type-mismatch": (400, "Input type mismatch"),
        "link-exists": (400, "Link exists"),
        "link-not-found": (400, "Link not found"),
        "too-many-links": (400, "Too many links"),
        "bad-name": (400, "Invalid name"),
        "bad-batch-size": (400, "Invalid batch size"),
        "bad-input-type": (400, "Invalid input type"),
        "bad-json": (400, "Json error"),
        "bad-request": (400, "Bad request"),
        "not-found": (404, "Not found"),
        "method-not-allowed": (405, "Method not allowed"),
        "body-too-large": (413, "Request body too large"),
        "unsupported-media-type": (415, "Unsupported media type"),
        "internal": (500, "Internal error"),
        "overloaded": (503, "Overloaded"),
        "unconfirmed": (503, "Not confirmed"),
        "unavailable": (503, "Unavailable"),
    }
)


class ServingError(Exception):
    """A request that cannot be answered as asked.

    Parameters
    ----------
    code : str
        A key of :data:`ERRORS`.
    cause : str
        One sentence for people, with the offending value.
    headers : mapping, optional
        More response headers, for instance ``Retry-After`` or ``Allow``.
    """

    def __init__(self, code: str, cause: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(cause)
        self.code = code
        self.cause = cause
        self.status, self.error = ERRORS[code]
        self.headers: dict[str, str] = {ERROR_CODE_HEADER: code, **(headers or {})}

    def json(self) -> bytes:
        """Return the body ``{"error": ..., "cause": ...}``."""
        return msgspec.json.encode({"error": self.error, "cause": self.cause})

    def plain(self) -> bytes:
        """Return the cause alone, as Clipper's management frontend answers."""
        return self.cause.encode()
