"""What the rest of the operator knows of the kind RunnerPool."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bessemer.api.runnerpool.names import KIND, PLURAL, SHORT_NAME
from bessemer.api.wellknown import POOL_FINALIZER
from bessemer.engine.description import Description, Permission
from bessemer.kube.protocol import (
    CLUSTER_ROLES,
    CORE_EVENTS,
    PODS,
    RESOURCE_QUOTAS,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
    SERVICE_ACCOUNTS,
    Kubernetes,
)

if TYPE_CHECKING:
    from bessemer.api.crd import CustomResource
    from bessemer.console.view import View
    from bessemer.engine.controller import Make
    from bessemer.engine.deps import Deps
    from bessemer.kinds.runnerpool.deps import FindManagementNode
    from bessemer.kube.watch import Watcher

_EXECUTOR_ROLE = ('{{ include "bessemer.executorRole" . }}',)


def get_crd() -> CustomResource:
    """Return what the CRD is generated from."""
    from bessemer.api.runnerpool.crd import CRD

    return CRD


def get_view() -> View:
    """Return what the command shows."""
    from bessemer.api.runnerpool.executors import NO_HYPERVISOR
    from bessemer.console.view import View
    from bessemer.kinds.runnerpool.view.plan import print_pool_plan
    from bessemer.kinds.runnerpool.view.status import build_pool_status, summarize_pool
    from bessemer.kinds.runnerpool.view.watch import watch_pool

    tolerated = frozenset({NO_HYPERVISOR})  # whose way out is what is printed
    return View(summarize_pool, build_pool_status, watch_pool, print_pool_plan, tolerated)


def describe(build_finder: Callable[[Kubernetes], FindManagementNode]) -> Description:
    """Return the description, given what finds the clusters of pools."""

    def make(deps: Deps, watcher: Watcher) -> Make[Any, Any, Any]:
        from functools import partial

        from bessemer.kinds.runnerpool.kind import PoolKind

        return partial(PoolKind, deps, watcher, build_finder(deps.kubernetes))

    return Description(
        name=KIND,
        plural=PLURAL,
        short=SHORT_NAME,
        finalizer=POOL_FINALIZER,
        manifest_help="the config.toml of its runners",
        watch_help="when the time is up 0 Ready, 1 not Ready; 2 gone",
        make=make,
        get_crd=get_crd,
        get_view=get_view,
        permissions=(
            Permission(PODS, ("get", "list", "watch", "create", "patch", "delete")),
            Permission(RESOURCE_QUOTAS, ("list", "watch")),
            Permission(SECRETS, ("get", "create", "patch")),
            # The operator watches by name, but RBAC can't say so: this verb lets its holder hear of every Secret.
            Permission(SECRETS, ("watch",), when="watchSecrets"),
            Permission(SERVICE_ACCOUNTS, ("get", "create")),
            Permission(ROLE_BINDINGS, ("get", "create")),
            Permission(ROLES, ("bind",), _EXECUTOR_ROLE, when="namespaced"),
            Permission(CLUSTER_ROLES, ("bind",), _EXECUTOR_ROLE, when="clusterWide"),
            Permission(CORE_EVENTS, ("list",)),
        ),
    )
