"""What the rest of the operator knows of the kind BuildTrigger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bessemer.api.buildtrigger.names import KIND, PLURAL, SHORT_NAME
from bessemer.api.wellknown import OWN_KEY_SECRET, TRIGGER_FINALIZER
from bessemer.engine.description import Description, Permission
from bessemer.kinds.buildtrigger.resource import CLUSTER_BUILDS
from bessemer.kube.protocol import CONFIG_MAPS, POD_LOGS, SECRETS

if TYPE_CHECKING:
    from bessemer.api.crd import CustomResource
    from bessemer.console.view import View
    from bessemer.engine.controller import Make
    from bessemer.engine.deps import Deps
    from bessemer.kube.watch import Watcher


def make(deps: Deps, watcher: Watcher) -> Make[Any, Any, Any]:
    """Return what creates the kind."""
    from functools import partial

    from bessemer.kinds.buildtrigger.kind import TriggerKind

    return partial(TriggerKind, deps, watcher)


def get_crd() -> CustomResource:
    """Return what the CRD is generated from."""
    from bessemer.api.buildtrigger.crd import CRD

    return CRD


def get_view() -> View:
    """Return what the command shows."""
    from bessemer.console.view import View
    from bessemer.kinds.buildtrigger.view.plan import print_trigger_plan
    from bessemer.kinds.buildtrigger.view.status import build_trigger_status, summarize_trigger
    from bessemer.kinds.buildtrigger.view.watch import watch_trigger

    return View(summarize_trigger, build_trigger_status, watch_trigger, print_trigger_plan)


DESCRIPTION = Description(
    name=KIND,
    plural=PLURAL,
    short=SHORT_NAME,
    finalizer=TRIGGER_FINALIZER,
    manifest_help="which events it acts upon, and what it allows",
    watch_help="when the time is up 0 Ready, 1 not Ready; 2 gone",
    make=make,
    get_crd=get_crd,
    get_view=get_view,
    permissions=(
        Permission(CLUSTER_BUILDS, ("get", "list", "watch", "create", "patch", "delete")),
        Permission(CONFIG_MAPS, ("get", "list", "create", "patch", "delete")),
        Permission(POD_LOGS, ("get",)),  # told to the jobs that ask for builds
        Permission(SECRETS, ("get",)),
        # The operator watches by name, but RBAC can't say so: this verb lets its holder hear of every Secret.
        Permission(SECRETS, ("watch",), when="watchSecrets"),
    ),
    own_permissions=(
        Permission(SECRETS, ("get",), (OWN_KEY_SECRET,)),
        Permission(SECRETS, ("create",)),  # RBAC can't name what may be created
    ),
)
