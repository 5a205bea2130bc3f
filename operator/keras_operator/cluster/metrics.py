"""What the cluster layer counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics

# Without this every counter has a twin that says when it was first counted.
disable_created_metrics()  # type: ignore[no-untyped-call]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The counters of one process; `registry` is open for those of other parts.

    Args:
        registry: where they are registered; by default a new one, so two operators in one process do not clash.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        # Memory, CPU seconds and open files of the process.
        ProcessCollector(registry=self.registry)
        prefix = "keras_operator_"
        self.api_requests = Counter(
            f"{prefix}api_requests", "Requests to the API server.", ["verb", "kind", "code"], registry=self.registry
        )
        self.api_seconds = Histogram(
            f"{prefix}api_request_seconds",
            "Seconds from sending a request to its whole answer, without the wait for a free slot.",
            ["verb", "kind"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.api_waiting = Gauge(
            f"{prefix}api_requests_waiting", "Requests waiting for a slot.", registry=self.registry
        )
        self.watch_events = Counter(
            f"{prefix}watch_events", "Watch events received.", ["kind", "type"], registry=self.registry
        )
        self.watch_requests = Counter(
            f"{prefix}watch_requests",
            "Watches opened: the first of each kind, and every one after a stream had ended or broken.",
            ["resource"],
            registry=self.registry,
        )
        self.queue_depth = Gauge(f"{prefix}queue_depth", "Keys ready for a worker.", registry=self.registry)
        self.queue_processing = Gauge(f"{prefix}queue_processing", "Keys that workers work on.", registry=self.registry)
        self.queue_delayed = Gauge(f"{prefix}queue_delayed", "Keys with a delayed add.", registry=self.registry)
        self.queue_wait_seconds = Histogram(
            f"{prefix}queue_wait_seconds",
            "Seconds a key was ready before a worker took it.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.reconcile_seconds = Histogram(
            f"{prefix}reconcile_seconds",
            "Seconds of one reconcile.",
            ["result"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.reconcile_retries = Counter(
            f"{prefix}reconcile_retries", "Reconciles that are to be repeated after a back-off.", registry=self.registry
        )
        self.reconcile_failing = Gauge(
            f"{prefix}reconcile_failing", "Keys whose last reconcile failed.", registry=self.registry
        )
        self.cached_objects = Gauge(
            f"{prefix}cached_objects", "Objects in the cache.", ["kind"], registry=self.registry
        )
        self.audit_healed = Counter(
            f"{prefix}audit_healed",
            "Deletions that the watch had lost and an audit found.",
            ["kind"],
            registry=self.registry,
        )
        self.audit_seconds = Histogram(
            f"{prefix}audit_seconds", "Seconds of one audit list.", ["kind"], buckets=_SECONDS, registry=self.registry
        )
        self.stream_stale = Gauge(
            f"{prefix}watch_stale_seconds",
            "Seconds since an audit first saw a change that the watch did not bring; 0 is well.",
            ["kind"],
            registry=self.registry,
        )
        self.leader = Gauge(f"{prefix}leader", "1 while this replica holds the Lease.", registry=self.registry)
        self.prometheus_queries = Counter(
            f"{prefix}prometheus_queries",
            "Queries about canaries to Prometheus: what gave a number, nothing, something else, or no answer.",
            ["result"],
            registry=self.registry,
        )
