"""What the rest of the operator knows of the kind ClusterBuild."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bessemer.api.clusterbuild.names import KIND, PLURAL, SHORT_NAME
from bessemer.api.wellknown import BUILD_FINALIZER, BUILD_LABEL, MACHINE_LEASE_PREFIX, OWN_KEY_SECRET, RESULT_FINALIZER
from bessemer.engine.description import Description, Leftover, Permission
from bessemer.kinds.clusterbuild.resource import CLUSTER_BUILDS
from bessemer.kube.protocol import CONFIG_MAPS, LEASES, PODS, SECRETS

if TYPE_CHECKING:
    from bessemer.api.crd import CustomResource
    from bessemer.console.view import View
    from bessemer.engine.controller import Make
    from bessemer.engine.deps import Deps
    from bessemer.kube.watch import Watcher


def make(deps: Deps, watcher: Watcher) -> Make[Any, Any, Any]:
    """Return what creates the kind."""
    from functools import partial

    from bessemer.kinds.clusterbuild.kind import BuildKind

    return partial(BuildKind, deps, watcher)


def get_crd() -> CustomResource:
    """Return what the CRD is generated from."""
    from bessemer.api.clusterbuild.crd import CRD

    return CRD


def get_view() -> View:
    """Return what the command shows."""
    from bessemer.console.view import View
    from bessemer.kinds.clusterbuild.view.plan import print_build_plan
    from bessemer.kinds.clusterbuild.view.status import build_status, summarize_build
    from bessemer.kinds.clusterbuild.view.watch import watch_build

    return View(summarize_build, build_status, watch_build, print_build_plan)


DESCRIPTION = Description(
    name=KIND,
    plural=PLURAL,
    short=SHORT_NAME,
    finalizer=BUILD_FINALIZER,
    manifest_help="what is done to which machine",
    watch_help="0 Ready, 1 failed or aborted, 2 gone or the time is up",
    make=make,
    get_crd=get_crd,
    get_view=get_view,
    permissions=(
        Permission(CLUSTER_BUILDS, ("get",)),
        Permission(PODS, ("get", "list", "watch", "create", "patch", "delete")),
        Permission(CONFIG_MAPS, ("create", "delete")),
        Permission(SECRETS, ("get", "create", "patch")),
        # The operator watches by name, but RBAC can't say so: this verb lets its holder hear of every Secret.
        Permission(SECRETS, ("watch",), when="watchSecrets"),
    ),
    own_permissions=(
        Permission(LEASES, ("get", "list", "create", "patch", "delete")),
        Permission(SECRETS, ("get",), (OWN_KEY_SECRET,)),
        Permission(SECRETS, ("create",)),  # RBAC can't name what may be created
    ),
    leftovers=(Leftover(PODS, RESULT_FINALIZER, BUILD_LABEL),),
    lease_prefix=MACHINE_LEASE_PREFIX,
)
