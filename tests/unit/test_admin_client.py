"""What the management frontend's answers become."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from fakes import as_response
from urllib3.exceptions import MaxRetryError, NewConnectionError, ProtocolError

from clipper_magic import admin_client
from clipper_magic.admin_client import AdminClient, refusal
from clipper_magic.exceptions import (
    AlreadyRegisteredError,
    BackendError,
    ClipperException,
    FrontendUnreachableError,
    LinkError,
)
from clipper_magic.log import get_cluster_logger
from serving_image.errors import ERROR_CODE_HEADER


@pytest.fixture
def client() -> AdminClient:
    return AdminClient("127.0.0.1:1", get_cluster_logger("c"))


def refused() -> requests.ConnectionError:
    reason = NewConnectionError(None, "refused")  # type: ignore[arg-type]
    return requests.ConnectionError(MaxRetryError(None, "/", reason))  # type: ignore[arg-type]


def answer_with(monkeypatch: pytest.MonkeyPatch, *outcomes: Any) -> list[dict[str, Any]]:
    """Let ``Session.post`` give these outcomes in turn; return what it was called with."""
    waiting, asked = list(outcomes), []

    def post(session: requests.Session, url: str, **options: Any) -> requests.Response:
        asked.append({"url": url, "trust_env": session.trust_env, **options})
        outcome = waiting.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        assert isinstance(outcome, requests.Response)
        return outcome

    monkeypatch.setattr(requests.Session, "post", post)
    return asked


def test_change_returns_the_text(client: AdminClient, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer_with(monkeypatch, as_response(200, {}, b"Success!"))

    assert client.change("delete_app", name="a") == "Success!"
    assert (asked[0]["url"], asked[0]["json"]) == ("http://127.0.0.1:1/admin/delete_app", {"name": "a"})
    assert asked[0]["trust_env"] is False


def test_ask_returns_the_json(client: AdminClient, monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, as_response(200, {}, b'["a"]'))
    assert client.ask("get_all_applications", verbose=False) == ["a"]


def test_answer_that_is_no_json_is_not_of_clipper(client: AdminClient, monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, as_response(200, {}, b"<html>"))
    with pytest.raises(BackendError, match="not Clipper's"):
        client.ask("get_all_applications", verbose=False)


def test_refused_connection_is_tried_again(client: AdminClient, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer_with(monkeypatch, refused(), refused(), as_response(200, {}, b"Success!"))
    assert client.change("delete_app", name="a") == "Success!"
    assert len(asked) == 3


def test_connection_that_stays_refused(client: AdminClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_client, "RESTART_TIMEOUT_S", 0.0)
    answer_with(monkeypatch, refused(), refused())
    with pytest.raises(FrontendUnreachableError, match=r"management_frontend at 127\.0\.0\.1:1 does not answer"):
        client.change("delete_app", name="a")


@pytest.mark.parametrize("error", [requests.ConnectionError(ProtocolError("gone")), requests.ReadTimeout("late")])
def test_connection_that_breaks_is_not_tried_again(
    client: AdminClient, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The change may have been made."""
    asked = answer_with(monkeypatch, error)
    with pytest.raises(FrontendUnreachableError):
        client.change("delete_app", name="a")
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("status", "code", "body", "expected", "cause"),
    [
        (
            400,
            "app-exists",
            b"application 'a' already exists",
            AlreadyRegisteredError,
            "application 'a' already exists",
        ),
        (400, "link-exists", b"taken", LinkError, "taken"),
        (503, "unconfirmed", b'{"error":"Not confirmed","cause":"late"}', BackendError, "late"),
        (500, "", b"An unexpected error occurred!", ClipperException, "An unexpected error occurred!"),
        (418, "from-the-future", b"new", ClipperException, "new"),
    ],
)
def test_refusal(status: int, code: str, body: bytes, expected: type[ClipperException], cause: str) -> None:
    error = refusal(as_response(status, {ERROR_CODE_HEADER: code}, body), {"name": "a"})

    assert type(error) is expected
    assert error.msg == f"Received error status code: {status} and message: {cause}"
    assert cause in str(error)
    assert error.fields["app"] == "a"
    assert cause in error.localized("fr")
