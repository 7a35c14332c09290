"""The operator as a process: web server, leader election, and kopf while we lead.

Only the leader watches and reconciles. Its own Lease is among what it watches: that Lease changes every few seconds, so
a watch that has gone deaf is noticed, and liveness fails.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from dataclasses import dataclass
from functools import partial

from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from prometheus_client import CollectorRegistry

from bessemer.api.wellknown import LEADER_LEASE
from bessemer.clock import get_now
from bessemer.engine.boundary import Outcome
from bessemer.engine.events import EventRecorder
from bessemer.engine.hearing import Hearing
from bessemer.engine.loop import Key, WakeUps
from bessemer.engine.metrics import Metrics
from bessemer.engine.ownkey import OwnKey
from bessemer.engine.secretwatch import MOST_WATCHES, SecretWatches
from bessemer.engine.settings import Settings
from bessemer.engine.watch import Registration, watch_cluster
from bessemer.gitlab.address import parse_hosts
from bessemer.gitlab.client import GitLabConnector
from bessemer.kinds.clusterbuild import handlers as build_handlers
from bessemer.kinds.clusterbuild.deps import Deps
from bessemer.kinds.clusterbuild.faults import show_build_fault
from bessemer.kinds.clusterbuild.management_node import find_management_node
from bessemer.kinds.clusterbuild.progress import ProgressBoard
from bessemer.kinds.clusterbuild.reconcile import reconcile as reconcile_build
from bessemer.kinds.runnerpool import handlers as pool_handlers
from bessemer.kinds.runnerpool.demand.sources import Sources
from bessemer.kinds.runnerpool.deps import GitLabClients, PoolDeps
from bessemer.kinds.runnerpool.faults import show_pool_fault
from bessemer.kinds.runnerpool.metrics import PoolMetrics
from bessemer.kinds.runnerpool.pods.cache import PodCache
from bessemer.kinds.runnerpool.reconcile import reconcile as reconcile_pool
from bessemer.kube.client import KubernetesClient
from bessemer.kube.connect import connect
from bessemer.kube.leader import LeaderLock
from bessemer.kube.protocol import LEASES, Kubernetes
from bessemer.kube.watch import ObjectWatcher
from bessemer.web.app import Health, build_app, build_hook_app
from bessemer.web.connections import Limits, serve
from bessemer.web.hooks import WebhookHandler

LEASE_SECONDS = 15
RENEW_SECONDS = 10
"""We lead no longer than this and two retries after a renewal; the Lease is free a second later."""
RETRY_SECONDS = 2
DEAF_SECONDS = 120
"""Longest silence of the watch streams; kopf itself reconnects after 70 s without an event or bookmark."""
HOOK_LIMITS = Limits(most=512, most_of_one=256)
"""A GitLab sends some dozens of webhooks at once; each takes milliseconds."""
INTERNAL_LIMITS = Limits(most=128, most_of_one=64)
"""One for each running phase, the kubelet and Prometheus."""
_log = logging.getLogger(__name__)


async def run_operator(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT, or until leadership is lost; give the exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Watches occupy connections, for which no request must wait; and the Lease must wait for no request.
    async with connect() as api, connect(connections=MOST_WATCHES) as watch_api, connect(connections=1) as lease_api:
        metrics = Metrics(CollectorRegistry())

        def count_request(method: str, plural: str) -> None:
            metrics.kubernetes_requests.labels(method, plural).inc()

        kubernetes = KubernetesClient(api, count_request)
        deps = Deps(
            kubernetes=kubernetes,
            settings=settings,
            recorder=EventRecorder(kubernetes, settings.identity, get_now),
            progress=ProgressBoard(),
            metrics=metrics,
            now=get_now,
            own_key=OwnKey(kubernetes, settings.namespace),
        )

        def count(outcome: Outcome) -> None:
            if outcome.failed:
                metrics.reconcile_errors.labels(outcome.reason).inc()

        health = Health(Hearing(), DEAF_SECONDS)
        builds = WakeUps(partial(_pass_build, deps), settings.resync_seconds, count, partial(show_build_fault, deps))
        pools = WakeUps(
            lambda key, woken: _pass_pool(pool_deps, metrics, key, woken),
            settings.resync_seconds,
            count,
            lambda key, fault: show_pool_fault(pool_deps, key, fault),
        )
        pool_deps = PoolDeps(
            kubernetes=kubernetes,
            settings=settings,
            recorder=deps.recorder,
            now=get_now,
            gitlab_clients=GitLabClients(GitLabConnector(parse_hosts(settings.gitlab_allowed_hosts)).connect),
            sources=Sources(get_now, pools.wake),
            pods=PodCache(),
            secrets=SecretWatches(ObjectWatcher(watch_api), pools.wake),
            find_management_node=partial(find_management_node, kubernetes),
            metrics=PoolMetrics(metrics.registry),
        )
        kinds = (
            partial(build_handlers.register, wakeups=builds, hearing=health.hearing),
            partial(pool_handlers.register, deps=pool_deps, wakeups=pools, hearing=health.hearing),
        )
        hooks = WebhookHandler(pool_deps, metrics)
        hook_app, app = build_hook_app(deps, health, hooks), build_app(deps, builds.wake, health)
        try:
            async with (
                serve(hook_app, settings.listen_port, HOOK_LIMITS, hooks.count, "BESSEMER_LISTEN_PORT"),
                serve(app, settings.internal_port, INTERNAL_LIMITS, _ignore, "BESSEMER_INTERNAL_PORT"),
            ):
                return await _lead(
                    deps, KubernetesClient(lease_api, count_request), _Work(kinds, (builds, pools)), health, stop
                )
        finally:
            await pool_deps.secrets.close()
            await pool_deps.sources.close()
            await pool_deps.gitlab_clients.close()


def _ignore(_outcome: str) -> None:
    """Count nothing: what reaches the internal port is our own, or was let in by the cluster's administrator."""


@dataclass(frozen=True)
class _Work:
    """What the leader does."""

    kinds: tuple[Registration, ...]
    loops: tuple[WakeUps, ...]


async def _pass_build(deps: Deps, key: Key, woken: float) -> float | None:
    with deps.metrics.reconcile_seconds.time():
        return await reconcile_build(deps, *key, woken)


async def _pass_pool(deps: PoolDeps, metrics: Metrics, key: Key, woken: float) -> float | None:
    with metrics.reconcile_seconds.time():
        return await reconcile_pool(deps, key, woken)


async def _lead(deps: Deps, leases: Kubernetes, todo: _Work, health: Health, stop: asyncio.Event) -> int:
    """Wait for the leadership and use it; leave orderly when asked to, with an error when it is lost."""
    settings = deps.settings
    leading, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        leading.set()
        deps.metrics.leading.set(1)
        health.leading = True
        health.hearing.note()
        try:
            await watch_cluster(todo.kinds, health.hearing, settings.watched_namespaces)
            stop.set()  # kopf takes over the signals, and ends without an error when one comes
        finally:
            ended.set()

    async def lost() -> None:
        health.leading = False
        _log.error("leadership lost")

    lock = LeaderLock(leases, settings.namespace, LEADER_LEASE, settings.identity, renew_seconds=RENEW_SECONDS)
    election = LeaderElection(
        Config(
            lock,
            lease_duration=LEASE_SECONDS,
            renew_deadline=RENEW_SECONDS,
            retry_period=RETRY_SECONDS,
            onstarted_leading=work,
            onstopped_leading=lost,
        )
    )
    candidate = asyncio.create_task(election.run(), name="leader election")
    waits = {candidate, *(asyncio.create_task(event.wait()) for event in (stop, ended))}
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in waits:
        task.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    for loops in todo.loops:
        await loops.close()
    if not candidate.cancelled():
        candidate.result()
    if stop.is_set() and leading.is_set():
        # Given back, so that the next one need not wait until it runs out; unless it has run out, and is another's.
        await leases.delete_object(LEASES, settings.namespace, LEADER_LEASE, version=lock.version)
    return 0 if stop.is_set() else 1
