"""See to it that runners which run jobs in pods of their own have a service account that may do just that.

What it may do stands in a role of the chart; the operator may bind that one alone, so that a pool can't be used
to gain more. Source: https://docs.gitlab.com/runner/executors/kubernetes/#configure-runner-api-permissions
"""

from __future__ import annotations

from bessemer.api.names import runner_account_name
from bessemer.api.runnerpool.executors import ExecutorType
from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.api.runnerpool.spec import RunnerPoolSpec
from bessemer.errors import Invalid
from bessemer.kinds.runnerpool.deps import PoolDeps
from bessemer.kinds.runnerpool.render.manifest import build_role_binding, build_service_account
from bessemer.kube.protocol import ROLE_BINDINGS, SERVICE_ACCOUNTS, Object


async def ensure_account(deps: PoolDeps, pool: RunnerPool, spec: RunnerPoolSpec) -> None:
    """Create the service account and its RoleBinding where they are needed and missing.

    Raises:
        Invalid: something else bears the name, or the binding is to a role of another installation.

    """
    if spec.executor.type is not ExecutorType.KUBERNETES:
        return
    account, binding = build_service_account(pool), build_role_binding(pool, deps.settings)
    name = runner_account_name(pool.name)
    found = await deps.kubernetes.get_object(SERVICE_ACCOUNTS, pool.namespace, name)
    if found is None:
        found = await deps.kubernetes.create_object(SERVICE_ACCOUNTS, pool.namespace, account)
    _check_owner(found, pool, f"ServiceAccount {name}")
    found = await deps.kubernetes.get_object(ROLE_BINDINGS, pool.namespace, name)
    if found is None:
        found = await deps.kubernetes.create_object(ROLE_BINDINGS, pool.namespace, binding)
    _check_owner(found, pool, f"RoleBinding {name}")
    bound, wanted = found["roleRef"], binding["roleRef"]
    if (bound["kind"], bound["name"]) != (wanted["kind"], wanted["name"]):
        # What a binding binds can't be changed, and the operator may delete none.
        text = f"RoleBinding {name} binds {bound['kind']} {bound['name']}, of another installation of Bessemer"
        raise Invalid("RoleOutdated", f"{text}; delete it: it is made anew, for {wanted['kind']} {wanted['name']}")


def _check_owner(found: Object, pool: RunnerPool, what: str) -> None:
    if all(owner["uid"] != pool.uid for owner in found["metadata"].get("ownerReferences") or ()):
        raise Invalid("NameTaken", f"{what} exists and belongs to something else")
