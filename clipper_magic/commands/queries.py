"""``predict metrics addr``: ask an application, and ask how it does."""

from __future__ import annotations

import re
from http import HTTPStatus
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from clipper_magic import metrics_reader
from clipper_magic.commands import lookup
from clipper_magic.commands.grammar import Command, Parameter
from clipper_magic.commands.inputs import inputs_of
from clipper_magic.commands.kinds import APP, FLAG, choice, text
from clipper_magic.commands.kinds import JSON as JSON_KIND
from clipper_magic.commands.session import Session
from clipper_magic.container_manager import Role
from clipper_magic.exceptions import BackendError, BadQueryError, FrontendUnreachableError
from clipper_magic.messages import phrases
from clipper_magic.render import Batch, Metrics, Prediction

if TYPE_CHECKING:
    import requests

    from clipper_magic.connection import ClipperConnection

ANSWER_MARGIN_S = 10.0
NO_MODEL = "No connected models found for query"
RAISED = re.compile(r"Model (?P<version>\S+) raised (?P<error>\w+)(?:: (?P<reason>.*))?", re.DOTALL)
MISSED_SLO = "Failed to retrieve a prediction response within the specified latency SLO"


def predict(session: Session, args: SimpleNamespace) -> Prediction | Batch:
    """``POST /APP/predict``: the answer as a dict, or a list of them for a list of inputs."""
    connection = session.connected()
    app = lookup.known_app(connection, args.app)
    key, value = inputs_of(args.json, app["input_type"])
    body = {key: value}
    if args.version is not None:
        for model in app["linked_models"]:
            lookup.known_version(connection, model, args.version)
        body["version"] = args.version
    answer = _post(connection.get_query_addr(), app, body)
    if "batch_predictions" in answer:
        return Batch(_prediction(session, connection, app, one) for one in answer["batch_predictions"])
    return _prediction(session, connection, app, answer)


def _post(address: str, app: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    timeout_s = app["latency_slo_micros"] / 1e6 + ANSWER_MARGIN_S
    reply = _send("POST", address, f"{app['name']}/predict", timeout_s, json=body)
    try:
        answer = reply.json()
    except ValueError as exc:
        raise BackendError.of("bad-answer", role=Role.QUERY_FRONTEND, address=address, reason=str(exc)) from exc
    if reply.status_code != HTTPStatus.OK:
        raise BadQueryError.of("query-refused", app=app["name"], status=reply.status_code, cause=_cause(answer))
    found: dict[str, Any] = answer
    return found


def _send(method: str, address: str, path: str, timeout_s: float, **options: Any) -> requests.Response:
    """Send one request to the query frontend, past any proxy of the environment."""
    import requests  # half of what `%load_ext` would take

    try:
        with requests.Session() as http:
            http.trust_env = False
            return http.request(method, f"http://{address}/{path}", timeout=timeout_s, **options)
    except requests.RequestException as exc:
        raise FrontendUnreachableError.of(
            "frontend-unreachable", role=Role.QUERY_FRONTEND, address=address, reason=str(exc)
        ) from exc


def _cause(answer: object) -> str:
    """Return the frontend's reason for people: without the schema that Clipper puts behind it."""
    cause = str(answer.get("cause", answer)) if isinstance(answer, dict) else str(answer)
    cause = cause.split(" Expected JSON schema:")[0].removeprefix("Error parsing JSON: ").strip().rstrip(".")
    return re.sub(r"(?<=\w)but found", ", but found", cause)  # Clipper's "type Arraybut found"


def _prediction(
    session: Session, connection: ClipperConnection, app: dict[str, Any], answer: dict[str, Any]
) -> Prediction:
    prediction = Prediction(answer)
    if answer.get("default"):
        prediction.reason = _reason(session, connection, app, str(answer.get("default_explanation", "")))
    return prediction


def _reason(session: Session, connection: ClipperConnection, app: dict[str, Any], explanation: str) -> str:
    """Return in the reader's words why an answer is a default one, and what to look at."""
    texts = session.texts
    model = next(iter(app["linked_models"]), None)
    if explanation == NO_MODEL:
        if model is None:
            return texts("predict.not_linked", app=app["name"])
        return texts("predict.no_replica", app=app["name"], model=model)
    if explanation == MISSED_SLO:
        slo = texts.duration(app["latency_slo_micros"] / 1e6)
        version = connection.get_current_model_version(model) if model else ""
        p95_s = metrics_reader.Metrics(connection.inspect_instance()).latency_s("model", f"{model}:{version}", "p95")
        if p95_s is None:
            return texts("predict.too_slow", slo=slo)
        return texts("predict.too_slow_p95", slo=slo, p95=texts.duration(p95_s), model=model)
    raised = RAISED.fullmatch(explanation)
    if raised:
        return texts("predict.raised", **raised.groupdict(), model=model)
    return texts("predict.other", explanation=phrases.translate(explanation, texts.language))


def metrics(session: Session, args: SimpleNamespace) -> Metrics | str:
    """``inspect_instance``; with ``--prometheus`` the same in Prometheus' text form."""
    connection = session.connected()
    if not args.prometheus:
        return Metrics(connection.inspect_instance())
    address = connection.get_query_addr()
    return _send("GET", address, "metrics", ANSWER_MARGIN_S, headers={"Accept": "text/plain"}).text


def addr(session: Session, args: SimpleNamespace) -> str:
    """``get_query_addr``, ``get_metric_addr`` or the management frontend's."""
    connection = session.connected()
    of = {
        "query": connection.get_query_addr,
        "metric": connection.get_metric_addr,
        "admin": connection.cm.get_admin_addr,
    }
    return str(of[args.which]())


COMMANDS = (
    Command(
        "predict",
        predict,
        (
            Parameter("APP", APP, required=True),
            Parameter("JSON", JSON_KIND, required=True),
            Parameter("--version", text("V", "version")),
        ),
    ),
    Command("metrics", metrics, (Parameter("--prometheus", FLAG),)),
    Command("addr", addr, (Parameter("WHICH", choice("query", "metric", "admin"), default="query"),)),
)
