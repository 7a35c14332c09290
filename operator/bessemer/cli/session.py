"""A command's connection to Kubernetes, and what all commands read."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from kubernetes import config

from bessemer.api.clusterbuild.resource import ClusterBuild, parse_cluster_build
from bessemer.api.runnerpool.resource import RunnerPool, parse_runner_pool
from bessemer.errors import Invalid
from bessemer.kube.client import KubernetesClient
from bessemer.kube.connect import connect
from bessemer.kube.protocol import CLUSTER_BUILDS, RUNNER_POOLS


@dataclass(frozen=True)
class Session:
    """Where a command works."""

    kubernetes: KubernetesClient
    namespace: str

    async def get_build(self, name: str) -> ClusterBuild | None:
        """Read a build."""
        raw = await self.kubernetes.get_object(CLUSTER_BUILDS, self.namespace, name)
        return None if raw is None else parse_cluster_build(raw)

    async def require_build(self, name: str) -> ClusterBuild:
        """Read a build; raises Invalid where there is none."""
        build = await self.get_build(name)
        if build is None:
            raise Invalid("NotFound", f"there is no ClusterBuild {name} in namespace {self.namespace}")
        return build

    async def get_pool(self, name: str) -> RunnerPool | None:
        """Read a pool."""
        raw = await self.kubernetes.get_object(RUNNER_POOLS, self.namespace, name)
        return None if raw is None else parse_runner_pool(raw)

    async def require_pool(self, name: str) -> RunnerPool:
        """Read a pool; raises Invalid where there is none."""
        pool = await self.get_pool(name)
        if pool is None:
            raise Invalid("NotFound", f"there is no RunnerPool {name} in namespace {self.namespace}")
        return pool


@contextlib.asynccontextmanager
async def open_session(context: str | None, namespace: str | None) -> AsyncIterator[Session]:
    """Connect by the kubeconfig (or from inside a pod); the namespace defaults to that of the context."""
    async with connect(context) as api:
        yield Session(KubernetesClient(api), namespace or _default_namespace(context))


def _default_namespace(context: str | None) -> str:
    try:
        contexts, active = config.list_kube_config_contexts()  # type: ignore[no-untyped-call]  # it has no types
    except config.ConfigException:
        return "default"
    chosen = next((entry for entry in contexts if entry["name"] == context), None) if context else active
    return str((chosen or {}).get("context", {}).get("namespace") or "default")
