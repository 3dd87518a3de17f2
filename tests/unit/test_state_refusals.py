"""What each verb of the cluster state refuses, with which code and text; then nothing has changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from state_world import add_app, add_model, served, state, store

from serving_image.entities import Replica
from serving_image.errors import ServingError
from serving_image.state import ClusterState

__all__ = ["served", "state", "store"]

ALREADY_LINKED = (
    "Model with name 'sum' is already linked to app 'hello' using input type 'doubles'. The input type you provided "
    "for a new version of the model, 'strings', is not compatible."
)

Act = Callable[[ClusterState], object]
REFUSALS: list[tuple[str, Act, str, str]] = [
    ("app exists", add_app, "app-exists", "application 'hello' already exists"),
    (
        "slash in an app's name",
        lambda s: add_app(s, "a/b"),
        "bad-name",
        "Invalid application name supplied: a/b. Contains one of: ',', ':', '/'",
    ),
    (
        "no name",
        lambda s: add_app(s, ""),
        "bad-name",
        "Invalid application name supplied: it is empty",
    ),
    (
        "objective of 0",
        lambda s: s.add_application("a", "d", "", 0),
        "bad-request",
        "latency_slo_micros must be positive, but is 0",
    ),
    (
        "unknown type",
        lambda s: add_app(s, "a", "complex"),
        "bad-input-type",
        "Invalid input type 'complex'. Known: integers, floats, doubles, bytes, strings, json",
    ),
    (
        "delete unknown app",
        lambda s: s.delete_application("nope"),
        "app-not-found",
        "Application 'nope' does not exist",
    ),
    (
        "version exists",
        add_model,
        "model-exists",
        "model with name 'sum' and version '1' already exists",
    ),
    (
        "batch of 0",
        lambda s: add_model(s, "m", batch_size=0),
        "bad-batch-size",
        "The batch size must be positive or DEFAULT_BATCH_SIZE, which is -1",
    ),
    (
        "batch of -2",
        lambda s: add_model(s, "m", batch_size=-2),
        "bad-batch-size",
        "The batch size must be positive or DEFAULT_BATCH_SIZE, which is -1",
    ),
    (
        "colon in a model's name",
        lambda s: add_model(s, "a:b"),
        "bad-name",
        "Invalid model name supplied: a:b. Contains one of: ',', ':'",
    ),
    (
        "comma in a version",
        lambda s: add_model(s, "m", "1,2"),
        "bad-name",
        "Invalid model version supplied: 1,2. Contains one of: ',', ':'",
    ),
    (
        "comma in a label",
        lambda s: add_model(s, "m", labels=["ok", "a,b"]),
        "bad-name",
        "Invalid label supplied: a,b. Contains one of: ',', ':'",
    ),
    (
        "new version of another type",
        lambda s: add_model(s, version="3", input_type="strings"),
        "type-mismatch",
        ALREADY_LINKED,
    ),
    (
        "replica id twice",
        lambda s: add_model(s, "m", replicas=[Replica(0, "h:1"), Replica(0, "h:2")]),
        "bad-request",
        "Replica id 0 is given more than once",
    ),
    (
        "replica without an address",
        lambda s: s.set_replicas("sum", "1", [Replica(0, "nowhere")]),
        "bad-request",
        "address 'nowhere': expected host:port or unix:/path.sock",
    ),
    (
        "replicas of an unknown version",
        lambda s: s.set_replicas("sum", "9", []),
        "version-not-found",
        "model with name 'sum' and version '9' does not exist",
    ),
    (
        "delete unknown version",
        lambda s: s.delete_versioned_model("sum", "9"),
        "version-not-found",
        "model with name 'sum' and version '9' does not exist",
    ),
    (
        "roll back an unknown model",
        lambda s: s.set_model_version("nope", "1"),
        "model-not-found",
        "Cannot set version for nonexistent model 'nope'",
    ),
    (
        "roll back to an unknown version",
        lambda s: s.set_model_version("sum", "9"),
        "version-not-found",
        "Cannot set non-existent version '9' for model with name 'sum'",
    ),
    (
        "link an unknown app",
        lambda s: s.add_model_links("nope", ["gone"]),
        "app-not-found",
        "No app with name 'nope' exists.",
    ),
    (
        "link an unknown model",
        lambda s: s.add_model_links("other", ["gone", "gone"]),
        "model-not-found",
        "No model with name 'gone' exists.",
    ),
    (
        "link a model of another type",
        lambda s: (add_model(s, "texts", input_type="s"), s.add_model_links("other", ["texts", "sum"])),
        "type-mismatch",
        "Model with name 'texts' has incompatible input_type 'strings'. "
        "Requested app to link to has input_type 'doubles'.",
    ),
    (
        "link two models",
        lambda s: s.add_model_links("other", ["sum", "sum"]),
        "too-many-links",
        "Applications must be linked with at most one model. Attempted to add links to 2 models.",
    ),
    (
        "link no model",
        lambda s: s.add_model_links("hello", []),
        "bad-request",
        "Please provide the name of the model that you want to link to the application 'hello'",
    ),
    (
        "link again",
        lambda s: s.add_model_links("hello", ["sum"]),
        "link-exists",
        "The model with name 'sum' is already linked to 'hello'",
    ),
    (
        "link a second model",
        lambda s: (add_model(s, "max"), s.add_model_links("hello", ["max"])),
        "link-exists",
        "A model with name sum is already linked to 'hello'.",
    ),
    (
        "unlink an unknown app",
        lambda s: s.delete_model_links("nope", ["sum"]),
        "app-not-found",
        "No app with name nope exists.",
    ),
    (
        "unlink what is not linked",
        lambda s: s.delete_model_links("other", ["sum"]),
        "link-not-found",
        "Cannot remove nonexistent link between app other and model sum",
    ),
]


@pytest.mark.parametrize(("act", "code", "text"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_a_verb_refuses(served: ClusterState, act: Act, code: str, text: str) -> None:
    applications, versions = dict(served.applications), dict(served.versions)
    with pytest.raises(ServingError) as refused:
        act(served)
    assert (code, text) == (refused.value.code, refused.value.cause)
    assert applications == served.applications
    assert versions.items() <= served.versions.items()


def test_rolling_back_to_a_version_of_another_type_is_refused_while_linked(state: ClusterState) -> None:
    add_model(state, version="1", input_type="strings")
    add_model(state, version="2")
    add_app(state)
    state.add_model_links("hello", ["sum"])
    with pytest.raises(ServingError) as refused:
        state.set_model_version("sum", "1")
    assert (refused.value.code, refused.value.cause) == ("type-mismatch", ALREADY_LINKED)
