"""A command's connection to Kubernetes, and what all commands read."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

from bessemer.api.clusterbuild.resource import ClusterBuild, parse_cluster_build
from bessemer.cli.failures import explain_failure
from bessemer.cli.target import Target
from bessemer.errors import BessemerError, Invalid
from bessemer.kube.client import KubernetesClient
from bessemer.kube.connect import connect, get_default_namespace
from bessemer.kube.protocol import CLUSTER_BUILDS, RUNNER_POOLS, Kind, Object, Refused, Unavailable

logging.getLogger("kubernetes").addHandler(logging.NullHandler())  # else it writes beside our one line
_NAMES = {CLUSTER_BUILDS: "ClusterBuild", RUNNER_POOLS: "RunnerPool"}

OUTAGE_SECONDS = 60.0
"""So long a command that follows something goes on asking an API server that gives no answer."""
PAUSE_SECONDS = 1.0
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Session:
    """Where a command works."""

    kubernetes: KubernetesClient
    namespace: str

    async def require(self, kind: Kind, name: str) -> Object:
        """Read an object; raises Invalid where there is none, and NotServed where the kind itself is not there."""
        raw = await self.kubernetes.get_object(kind, self.namespace, name)
        if raw is None:
            with contextlib.suppress(Refused):  # who may not list has to take the simpler answer
                await self.kubernetes.list_objects(kind, self.namespace, limit=1)
            hint = "bessemer status --all-namespaces lists all"
            raise Invalid("NotFound", f"there is no {_NAMES[kind]} {name} in namespace {self.namespace}; {hint}")
        return raw

    async def require_build(self, name: str) -> ClusterBuild:
        """Read a build; raises as :meth:`require`."""
        return parse_cluster_build(await self.require(CLUSTER_BUILDS, name))


async def outlast_outages(ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """Ask the API server; where it gives no answer, such as while it restarts, again for a minute."""
    end = monotonic() + OUTAGE_SECONDS
    while True:
        try:
            return await ask()
        except Unavailable as error:
            if error.reason == "Unauthorized" or monotonic() >= end:
                raise
        await asyncio.sleep(PAUSE_SECONDS)


@contextlib.asynccontextmanager
async def open_session(target: Target) -> AsyncIterator[Session]:
    """Connect as the options say, else by the usual kubeconfig, or from inside a pod by its service account.

    Raises Invalid, saying what to do, where there is no cluster, it gives no answer, or it refuses.
    """
    server = ""
    try:
        async with connect(target.context, kubeconfig=target.kubeconfig) as api:
            server = str(api.configuration.host)
            namespace = target.namespace or get_default_namespace(target.context, target.kubeconfig)
            yield Session(KubernetesClient(api), namespace)
    except BessemerError as error:
        raise explain_failure(error, server) from error
