"""The operator's Prometheus metrics."""

from __future__ import annotations

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_PHASE_BUCKETS = (1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)
_LATENCY_BUCKETS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10)


@dataclass(frozen=True)
class Metrics:
    """The operator's metrics, in a separate registry."""

    registry: CollectorRegistry
    phase_seconds: Histogram = field(init=False)
    phase_attempts: Counter = field(init=False)
    handoff_seconds: Histogram = field(init=False)
    reconcile_seconds: Histogram = field(init=False)
    reconcile_errors: Counter = field(init=False)
    webhooks: Counter = field(init=False)
    kubernetes_requests: Counter = field(init=False)
    leading: Gauge = field(init=False)

    def __post_init__(self) -> None:
        """Create the metrics in the registry."""
        make = object.__setattr__  # the documented way to set a field of a frozen dataclass
        make(self, "phase_seconds", Histogram(
            "bessemer_phase_seconds", "Duration of phase attempts", ["phase", "outcome"],
            registry=self.registry, buckets=_PHASE_BUCKETS))  # fmt: skip
        make(
            self,
            "phase_attempts",
            Counter(
                "bessemer_phase_attempts", "Ended phase attempts by reason", ["phase", "reason"], registry=self.registry
            ),
        )
        make(self, "handoff_seconds", Histogram(
            "bessemer_handoff_seconds", "From the wake-up to the creation of the phase pod that came of it",
            registry=self.registry, buckets=_LATENCY_BUCKETS))  # fmt: skip
        make(self, "reconcile_seconds", Histogram(
            "bessemer_reconcile_seconds", "Duration of one pass over an object", ["kind"],
            registry=self.registry, buckets=_LATENCY_BUCKETS))  # fmt: skip
        make(
            self,
            "reconcile_errors",
            Counter(
                "bessemer_reconcile_errors",
                "Passes that ended with an error",
                ["kind", "reason"],
                registry=self.registry,
            ),
        )
        make(
            self,
            "webhooks",
            Counter("bessemer_webhooks", "Webhooks by what became of them", ["outcome"], registry=self.registry),
        )
        make(self, "kubernetes_requests", Counter(
            "bessemer_kubernetes_requests", "Requests to Kubernetes, watches left out", ["method", "plural"],
            registry=self.registry))  # fmt: skip
        make(self, "leading", Gauge("bessemer_leading", "1 while this process is the leader", registry=self.registry))

    def count_webhook(self, outcome: str) -> None:
        """Count a webhook, or a connection that may have carried one, by its outcome."""
        self.webhooks.labels(outcome).inc()

    def count_request(self, method: str, plural: str) -> None:
        """Count a request to Kubernetes."""
        self.kubernetes_requests.labels(method, plural).inc()
