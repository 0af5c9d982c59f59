"""The operator's own metrics, each with its labels bounded: kinds and verbs, never names of objects."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from voxraga_operator.queue import Key


class Metrics:
    """Hears of what the queue, the cluster client and the watches do."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._reconciles = Counter(
            "voxraga_operator_reconcile",
            "Reconciles, by kind and result (success, error).",
            ["kind", "result"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "voxraga_operator_reconcile_duration_seconds",
            "How long a reconcile took.",
            ["kind"],
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            registry=self.registry,
        )
        self._errors = Counter(
            "voxraga_operator_reconcile_errors",
            "Reconciles that failed, by kind and error.",
            ["kind", "error"],
            registry=self.registry,
        )
        self._depth = Gauge(
            "voxraga_operator_queue_depth",
            "Keys in the queue: ready to be worked on, or waiting for their time.",
            ["state"],
            registry=self.registry,
        )
        self._writes = Counter(
            "voxraga_operator_writes",
            "Writes to the API server, by kind and verb.",
            ["kind", "verb"],
            registry=self.registry,
        )
        self._event = Gauge(
            "voxraga_operator_watch_last_event_timestamp_seconds",
            "When a watch last told of a change, by kind.",
            ["kind"],
            registry=self.registry,
        )
        self._leader = Gauge(
            "voxraga_operator_leader",
            "1 where this process is the one that reconciles.",
            registry=self.registry,
        )

    def depth(self, ready: int, delayed: int) -> None:
        self._depth.labels("ready").set(ready)
        self._depth.labels("delayed").set(delayed)

    def finished(self, key: Key, seconds: float, error: BaseException | None) -> None:
        self._reconciles.labels(key.kind, "error" if error else "success").inc()
        self._seconds.labels(key.kind).observe(seconds)
        if error is not None:
            self._errors.labels(key.kind, type(error).__name__).inc()

    def wrote(self, kind: str, verb: str) -> None:
        self._writes.labels(kind, verb).inc()

    def event(self, kind: str) -> None:
        self._event.labels(kind).set(time.time())

    def leading(self, yes: bool) -> None:
        self._leader.set(1 if yes else 0)
