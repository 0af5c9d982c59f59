"""The server's Prometheus series; the names are docs/contract.md's, labels are bounded."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

disable_created_metrics()  # type: ignore[no-untyped-call] # a second series for each, that nobody reads
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LATENCY = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 30, 60, 120)
FACTOR = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 5)


class ServerMetrics:
    """One server's series in a registry of their own, so that several servers fit in one process (tests, compare)."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "voxraga_requests_total", "Requests answered", ["endpoint", "status"], registry=registry
        )
        self.duration = Histogram(
            "voxraga_request_duration_seconds",
            "From the request's first byte to the answer's last",
            ["endpoint"],
            buckets=LATENCY,
            registry=registry,
        )
        self.queue_size = Gauge(
            "voxraga_queue_size", "Requests that wait for a worker; the running ones not counted", registry=registry
        )
        self.in_flight = Gauge("voxraga_in_flight", "Requests that a worker is busy with", registry=registry)
        self.queue_wait = Histogram(
            "voxraga_queue_wait_seconds", "Time a request waited for a worker", buckets=LATENCY, registry=registry
        )
        self.first_audio = Histogram(
            "voxraga_time_to_first_audio_seconds",
            "From the request's arrival to the first encoded audio",
            buckets=LATENCY,
            registry=registry,
        )
        self.real_time_factor = Histogram(
            "voxraga_real_time_factor", "Seconds of work for a second of audio", buckets=FACTOR, registry=registry
        )
        self.audio_seconds = Counter("voxraga_audio_seconds_total", "Audio made", registry=registry)
        self.characters = Counter("voxraga_characters_total", "Characters spoken", registry=registry)
        self.heard_seconds = Counter("voxraga_heard_seconds_total", "Audio transcribed", registry=registry)
        self.cache_requests = Counter(
            "voxraga_response_cache_requests_total", "Answers looked for in the cache", ["outcome"], registry=registry
        )
        self.cache_bytes = Gauge("voxraga_response_cache_bytes", "Encoded audio in the cache", registry=registry)
        self.load_seconds = Gauge(
            "voxraga_model_load_seconds", "Time that loading the model and warming up took", registry=registry
        )
        self.models_loaded = Gauge(
            "voxraga_models_loaded", "Models in memory, the server's own included", registry=registry
        )
        self.model_memory = Gauge(
            "voxraga_model_memory_bytes", "Memory that the loaded models hold; the process has more", registry=registry
        )
        self.model_loads = Counter("voxraga_model_loads_total", "Models loaded, or not", ["outcome"], registry=registry)
        self.model_evictions = Counter(
            "voxraga_model_evictions_total",
            "Models unloaded: for their count or memory, idle, replaced or deleted",
            ["reason"],
            registry=registry,
        )
        self.worker_restarts = Counter(
            "voxraga_worker_restarts_total", "Worker processes that died and were started again", registry=registry
        )

    def render(self) -> bytes:
        """The text of /metrics."""
        return generate_latest(self.registry)
