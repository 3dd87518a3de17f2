"""What a query frontend counts, under Clipper's names (and a few more: cache lookups, errors, reasons for defaults)."""

from __future__ import annotations

from serving_image.metrics import Counter, Registry

MICROSECONDS = "microseconds"
QUERIES = "queries"

# The sums over all applications, or over all model versions.
PREDICTIONS = "internal:aggregate_num_predictions"
LOOKUPS = "internal:prediction_cache_lookups"
HITS = "internal:prediction_cache_hits"

# Why a query got its application's default output.
NO_REPLICAS = "no_replicas"
DEADLINE = "deadline"
MODEL_ERROR = "model_error"
REPLICA_FAILURE = "replica_failure"
REASONS = (NO_REPLICAS, DEADLINE, MODEL_ERROR, REPLICA_FAILURE)


class FrontendMetrics:
    """Totals of one query frontend."""

    def __init__(self, registry: Registry) -> None:
        self.refused = registry.counter("internal:num_refused_queries")
        registry.ratio("internal:prediction_cache_hit_ratio", registry.total(HITS), registry.total(LOOKUPS))
        registry.meter("internal:aggregate_model_throughput", registry.total(PREDICTIONS))


class ApplicationMetrics:
    """What the clients of one application see."""

    def __init__(self, registry: Registry, name: str) -> None:
        self._registry = registry
        self._prefix = f"app:{name}:"
        self.predictions = registry.counter(f"{self._prefix}num_predictions")
        self.defaults = registry.counter(f"{self._prefix}num_defaults")
        self.latency = registry.histogram(f"{self._prefix}prediction_latency", MICROSECONDS)
        self.reasons: dict[str, Counter] = {
            reason: registry.counter(f"{self._prefix}{reason}:num_defaults_by_reason") for reason in REASONS
        }
        registry.total(PREDICTIONS).add(self.predictions)
        registry.ratio(f"{self._prefix}default_prediction_ratio", self.defaults, self.predictions)
        registry.meter(f"{self._prefix}prediction_throughput", self.predictions)

    def remove(self) -> None:
        """Forget an application that was unregistered."""
        self._registry.remove(self._prefix)


class ModelMetrics:
    """What one model version does."""

    def __init__(self, registry: Registry, model_name: str, model_version: str) -> None:
        self._registry = registry
        self._prefix = f"model:{model_name}:{model_version}:"
        self.predictions = registry.counter(f"{self._prefix}num_predictions")
        self.errors = registry.counter(f"{self._prefix}num_model_errors")
        self.failures = registry.counter(f"{self._prefix}num_replica_failures")
        self.cache_lookups = registry.counter(f"{self._prefix}num_cache_lookups")
        self.cache_hits = registry.counter(f"{self._prefix}num_cache_hits")
        self.latency = registry.histogram(f"{self._prefix}prediction_latency", MICROSECONDS)
        self.batch_size = registry.histogram(f"{self._prefix}batch_size", QUERIES)
        self.queueing = registry.histogram("internal:rpc_request_queueing_delay", MICROSECONDS)
        registry.total(LOOKUPS).add(self.cache_lookups)
        registry.total(HITS).add(self.cache_hits)
        registry.ratio(f"{self._prefix}cache_hit_ratio", self.cache_hits, self.cache_lookups)
        registry.meter(f"{self._prefix}prediction_throughput", self.predictions)

    def batch(self, size: int, latency_s: float) -> None:
        """Count a batch that a replica answered."""
        self.latency.record(latency_s * 1e6)
        self.batch_size.record(size)
        self.predictions.count += size

    def remove(self) -> None:
        """Forget a version that was deleted."""
        self._registry.remove(self._prefix)
