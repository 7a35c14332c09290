"""Prometheus metrics of triggers."""

from __future__ import annotations

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter

HOOK_STATES = frozenset({"executable", "temporarily_disabled", "disabled"})


@dataclass(frozen=True)
class TriggerMetrics:
    """What is counted of all triggers together: any author may create triggers, so none has its own series."""

    registry: CollectorRegistry
    _requests: Counter = field(init=False)
    _hooks: Counter = field(init=False)
    _resends: Counter = field(init=False)

    def __post_init__(self) -> None:
        """Create the metrics in the registry."""
        made = Counter(
            "bessemer_job_requests", "Requests of GitLab's jobs by outcome", ["outcome"], registry=self.registry
        )
        object.__setattr__(self, "_requests", made)
        made = Counter("bessemer_hook_checks", "Webhooks by GitLab's state of them", ["state"], registry=self.registry)
        object.__setattr__(self, "_hooks", made)
        made = Counter("bessemer_hook_resends", "Lost events by outcome", ["outcome"], registry=self.registry)
        object.__setattr__(self, "_resends", made)

    def count_request(self, outcome: str) -> None:
        """Count a request of a job; the outcome is one CamelCase word."""
        self._requests.labels(outcome=outcome).inc()

    def count_hook(self, state: str) -> None:
        """Count a look at a webhook, by the state that GitLab says."""
        self._hooks.labels(state=state if state in HOOK_STATES else "other").inc()

    def count_resend(self, outcome: str) -> None:
        """Count an event that GitLab was asked to send again; the outcome is one CamelCase word."""
        self._resends.labels(outcome=outcome).inc()
