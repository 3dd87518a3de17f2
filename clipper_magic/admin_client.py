"""Speak to the management frontend: JSON in, JSON or Clipper's text out, its refusals as exceptions."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import requests

from clipper_magic.container_manager import Role
from clipper_magic.exceptions import (
    AlreadyRegisteredError,
    BackendError,
    BadQueryError,
    ClipperException,
    FrontendUnreachableError,
    InputTypeError,
    InvalidArgumentError,
    InvalidNameError,
    LinkError,
    NotRegisteredError,
)
from clipper_magic.log import ClusterLogger
from clipper_magic.managers.waiting import wait_for

ERROR_CODE_HEADER = "X-Clipper-Error"
ANSWER_TIMEOUT_S = 60.0
# A frontend that was killed is back within a second or two; a refused connection did nothing, so asking again is safe.
RESTART_TIMEOUT_S = 5.0
RETRY_EVERY_S = 0.05

ERROR_CLASSES: Mapping[str, type[ClipperException]] = MappingProxyType(
    {
        "app-exists": AlreadyRegisteredError,
        "app-not-found": NotRegisteredError,
        "model-exists": AlreadyRegisteredError,
        "model-not-found": NotRegisteredError,
        "version-not-found": NotRegisteredError,
        "replica-not-found": NotRegisteredError,
        "type-mismatch": InputTypeError,
        "link-exists": LinkError,
        "link-not-found": LinkError,
        "too-many-links": LinkError,
        "bad-name": InvalidNameError,
        "bad-batch-size": InvalidArgumentError,
        "bad-input-type": InputTypeError,
        "bad-json": InvalidArgumentError,
        "bad-request": InvalidArgumentError,
        "not-found": BackendError,
        "method-not-allowed": BackendError,
        "body-too-large": BadQueryError,
        "unsupported-media-type": BadQueryError,
        "internal": BackendError,
        "overloaded": BackendError,
        "unconfirmed": BackendError,
        "unavailable": BackendError,
    }
)


class AdminClient:
    """The management API of one cluster.

    Parameters
    ----------
    address : str
        ``host:port`` of the management frontend.
    logger : ClusterLogger
        Where refusals are logged, as Clipper does.
    """

    def __init__(self, address: str, logger: ClusterLogger) -> None:
        self.address = address
        self.logger = logger

    def change(self, verb: str, **payload: Any) -> str:
        """Send one mutation; return Clipper's text.

        Raises
        ------
        ClipperException
            Of the class that fits the refusal; its ``msg`` is Clipper's.
        """
        return self._post(verb, payload).text

    def ask(self, verb: str, **payload: Any) -> Any:
        """Ask one question; return the decoded JSON."""
        response = self._post(verb, payload)
        try:
            return response.json()
        except ValueError as err:
            raise self._not_clipper(str(err)) from err

    def _post(self, verb: str, payload: Mapping[str, Any]) -> requests.Response:
        answers = wait_for(lambda: self._attempt(verb, payload), RESTART_TIMEOUT_S, RETRY_EVERY_S)
        if not answers:
            raise self._unreachable("connection refused")
        answer = answers[0]
        if answer.status_code != requests.codes.ok:
            error = refusal(answer, payload)
            self.logger.error("%s", error.msg)
            raise error
        return answer

    def _attempt(self, verb: str, payload: Mapping[str, Any]) -> list[requests.Response]:
        """Return the one answer, or nothing if nobody listens."""
        url = f"http://{self.address}/admin/{verb}"
        try:
            with requests.Session() as session:
                session.trust_env = False  # a proxy of the environment must not get what is for this machine
                return [session.post(url, json=payload, timeout=ANSWER_TIMEOUT_S)]
        except requests.ConnectionError as err:
            if _refused(err):
                return []
            raise self._unreachable(str(err)) from err
        except requests.RequestException as err:
            raise self._unreachable(str(err)) from err

    def _unreachable(self, reason: str) -> FrontendUnreachableError:
        role = str(Role.MANAGEMENT_FRONTEND)
        return FrontendUnreachableError.of("frontend-unreachable", role=role, address=self.address, reason=reason)

    def _not_clipper(self, reason: str) -> BackendError:
        role = str(Role.MANAGEMENT_FRONTEND)
        return BackendError.of("bad-answer", role=role, address=self.address, reason=reason)


def refusal(answer: requests.Response, payload: Mapping[str, Any]) -> ClipperException:
    """Return the exception for an answer that is not 200.

    Parameters
    ----------
    answer : requests.Response
        Clipper's plain text or our ``{"error", "cause"}``, with the code in the header ``X-Clipper-Error``.
    payload : mapping
        What was asked: the texts name it.
    """
    code = answer.headers.get(ERROR_CODE_HEADER, "")
    linked = payload.get("model_names") or [""]
    fields = {
        "status": answer.status_code,
        "cause": _cause(answer),
        "app": payload.get("app_name", payload.get("name", "")),
        "model": payload.get("model_name", linked[0]),
        "version": payload.get("model_version", ""),
    }
    message = f"Received error status code: {answer.status_code} and message: {fields['cause']}"
    error_class = ERROR_CLASSES.get(code, ClipperException)
    return error_class(message, code=code if code in ERROR_CLASSES else "refused", fields=fields)


def _cause(answer: requests.Response) -> str:
    try:
        return str(answer.json()["cause"])
    except (ValueError, TypeError, KeyError):
        return answer.text.strip()


def _refused(err: requests.ConnectionError) -> bool:
    """Return whether no connection was made at all."""
    reason = getattr(err.args[0] if err.args else None, "reason", None)
    return type(reason).__name__ == "NewConnectionError"
