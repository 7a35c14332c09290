"""The operator as a process: web server, leader election, and kopf while we lead.

Only the leader watches and reconciles. Its own Lease is among what it watches: that Lease changes every few seconds, so
a watch that has gone deaf is noticed, and liveness fails.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from prometheus_client import CollectorRegistry

from bessemer import registry
from bessemer.api.wellknown import LEADER_LEASE
from bessemer.clock import get_now
from bessemer.engine.controller import Controller
from bessemer.engine.deps import Deps
from bessemer.engine.events import EventRecorder
from bessemer.engine.hearing import Hearing
from bessemer.engine.metrics import Metrics
from bessemer.engine.secretwatch import MOST_WATCHES
from bessemer.engine.settings import Settings
from bessemer.engine.watch import watch_cluster
from bessemer.kube.client import KubernetesClient
from bessemer.kube.connect import connect
from bessemer.kube.leader import LeaderLock
from bessemer.kube.protocol import LEASES, Kubernetes
from bessemer.kube.watch import ObjectWatcher, Watcher
from bessemer.web.app import Health, build_app, build_hook_app
from bessemer.web.connections import Limits, serve

Controllers = Sequence[Controller[Any, Any, Any]]
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
    watches = MOST_WATCHES * len(registry.KINDS)
    async with connect() as api, connect(connections=watches) as watch_api, connect(connections=1) as lease_api:
        metrics = Metrics(CollectorRegistry())
        kubernetes = KubernetesClient(api, metrics.count_request)
        deps = Deps(
            kubernetes=kubernetes,
            settings=settings,
            recorder=EventRecorder(kubernetes, settings.identity, get_now),
            metrics=metrics,
            now=get_now,
        )
        controllers = build_controllers(deps, ObjectWatcher(watch_api))
        health = Health(Hearing(), DEAF_SECONDS)
        leases = KubernetesClient(lease_api, metrics.count_request)
        try:
            async with serve_routes(deps, health, controllers):
                return await _lead(deps, leases, controllers, health, stop)
        finally:
            for controller in controllers:
                await controller.close()


def build_controllers(deps: Deps, watcher: Watcher) -> Controllers:
    """Return the controllers of all kinds."""
    return [Controller(deps, kind.make(deps, watcher)) for kind in registry.KINDS]


@asynccontextmanager
async def serve_routes(deps: Deps, health: Health, controllers: Controllers) -> AsyncIterator[None]:
    """Serve metrics, probes, and the routes of the kinds."""
    routes = [controller.kind.routes for controller in controllers]
    public = build_hook_app(deps, health, [route for found in routes for route in found.public])
    internal = build_app(deps, health, [route for found in routes for route in found.internal])
    settings = deps.settings
    async with (
        serve(public, settings.listen_port, HOOK_LIMITS, deps.metrics.count_webhook, "BESSEMER_LISTEN_PORT"),
        serve(internal, settings.internal_port, INTERNAL_LIMITS, _ignore, "BESSEMER_INTERNAL_PORT"),
    ):
        yield


def _ignore(_outcome: str) -> None:
    """Count nothing: what reaches the internal port is our own, or was let in by the cluster's administrator."""


async def _lead(deps: Deps, leases: Kubernetes, controllers: Controllers, health: Health, stop: asyncio.Event) -> int:
    """Wait for the leadership and use it; leave orderly when asked to, with an error when it is lost."""
    settings = deps.settings
    leading, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        leading.set()
        deps.metrics.leading.set(1)
        health.leading = True
        health.hearing.note()
        try:
            await watch_cluster(controllers, health.hearing, settings.watched_namespaces)
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
    for controller in controllers:
        await controller.loops.close()
    if not candidate.cancelled():
        candidate.result()
    if stop.is_set() and leading.is_set():
        # Given back, so that the next one need not wait until it runs out; unless it has run out, and is another's.
        await leases.delete_object(LEASES, settings.namespace, LEADER_LEASE, version=lock.version)
    return 0 if stop.is_set() else 1
