"""What the cluster state consists of, and how each entity is written in the store."""

from __future__ import annotations

from typing import TypeAlias
from urllib.parse import quote, unquote

import msgspec

DEFAULT_BATCH_SIZE = -1
"""The batch size that means "adaptive"."""

DEFAULT_MAX_BATCH_DELAY_MS = 4.0
"""How long a query may wait for others to join its batch, where `serving_image.batch_delay` finds that it pays."""

NO_CONTAINER = "NO_CONTAINER"
"""The container name of a model version that the cluster does not start itself."""

VersionId: TypeAlias = tuple[str, str]
"""Model name and model version."""


class Application(msgspec.Struct, frozen=True):
    """A named REST endpoint.

    Attributes
    ----------
    input_type : str
        Canonical: integers, floats, doubles, bytes, strings or json.
    default_output : str
        The answer when the latency SLO is missed.
    latency_slo_micros : int, microseconds
        The latency service level objective.
    linked_models : tuple of str
        Names of the linked models, at most one.
    """

    name: str
    input_type: str
    default_output: str
    latency_slo_micros: int
    linked_models: tuple[str, ...] = ()


class Model(msgspec.Struct, frozen=True):
    """A model, which is a name for its versions.

    Attributes
    ----------
    input_type : str
        That of the current version.
    current_version : str
        The version that answers an application's queries.
    version_history : tuple of str
        The registered versions, in the order of their registration.
    """

    name: str
    input_type: str
    current_version: str
    version_history: tuple[str, ...]


class ModelVersion(msgspec.Struct, frozen=True):
    """One version of a model.

    Attributes
    ----------
    container_name : str
        The image, or ``NO_CONTAINER``.
    batch_size : int, > 0 or -1
        The largest batch; -1 is adaptive.
    deployment : str
        Unique to this registration. As a part of the cache's key it keeps a redeployed version from answering
        with what its predecessor computed.
    max_batch_delay_ms : float, milliseconds, >= 0
        How long a query may wait for others to join its batch; 0: never.
    """

    model_name: str
    model_version: str
    input_type: str
    labels: tuple[str, ...]
    container_name: str
    model_data_path: str
    batch_size: int
    deployment: str
    max_batch_delay_ms: float = DEFAULT_MAX_BATCH_DELAY_MS


class Replica(msgspec.Struct, frozen=True):
    """One running copy of a model version, and where it listens (see `serving_image.address`)."""

    replica_id: int
    address: str


class ReplicaSet(msgspec.Struct, frozen=True):
    """The replicas of one model version."""

    model_name: str
    model_version: str
    replicas: tuple[Replica, ...] = ()


Entity: TypeAlias = Application | Model | ModelVersion | ReplicaSet

KINDS: dict[str, type[Entity]] = {
    "app": Application,
    "model": Model,
    "version": ModelVersion,
    "replicas": ReplicaSet,
}


def make_key(kind: str, *names: str) -> str:
    """Return the store's key of an entity: ``app/NAME``, ``model/NAME``, ``version/NAME/VERSION``, ``replicas/…``.

    Examples
    --------
    >>> make_key("version", "sum-model", "1")
    'version/sum-model/1'
    """
    return "/".join([kind, *(quote(name, safe="") for name in names)])


def parse_key(key: str) -> tuple[str, tuple[str, ...]]:
    """Return the kind and the names in ``key``: the inverse of `make_key`.

    Examples
    --------
    >>> parse_key("version/sum-model/1")
    ('version', ('sum-model', '1'))
    """
    kind, *names = key.split("/")
    return kind, tuple(map(unquote, names))


def encode_entity(entity: Entity) -> tuple[str, bytes]:
    """Return the key of ``entity`` and its value, which is JSON."""
    value = msgspec.json.encode(entity)
    match entity:
        case Application():
            return make_key("app", entity.name), value
        case Model():
            return make_key("model", entity.name), value
        case ModelVersion():
            return make_key("version", entity.model_name, entity.model_version), value
        case ReplicaSet():
            return make_key("replicas", entity.model_name, entity.model_version), value


def decode_entity(kind: str, value: bytes) -> Entity:
    """Return the entity that `encode_entity` wrote.

    Raises
    ------
    KeyError
        If ``kind`` is unknown.
    msgspec.ValidationError
        If the value does not have the fields of its kind.
    """
    return msgspec.json.decode(value, type=KINDS[kind])
