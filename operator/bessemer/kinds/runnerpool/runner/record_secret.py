"""The pool's own Secret: what its runner pods mount, and the record of the runner that we made."""

from __future__ import annotations

from bessemer.api.names import runner_secret_name
from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.errors import Invalid, Retry
from bessemer.kinds.runnerpool.deps import PoolDeps
from bessemer.kinds.runnerpool.render.manifest import build_runner_secret
from bessemer.kube.protocol import SECRETS, AlreadyExists, Object


async def get_pool_secret(deps: PoolDeps, pool: RunnerPool) -> Object | None:
    """Read it; None where there is none yet. Raises Invalid where something else bears its name."""
    name = runner_secret_name(pool.name)
    secret = await deps.kubernetes.get_object(SECRETS, pool.namespace, name)
    owners = (secret or {}).get("metadata", {}).get("ownerReferences") or ()
    if secret is not None and all(owner["uid"] != pool.uid for owner in owners):
        raise Invalid("NameTaken", f"Secret {name} exists and belongs to something else")
    return secret


async def apply_pool_secret(deps: PoolDeps, pool: RunnerPool, secret: Object | None, data: dict[str, str]) -> Object:
    """Make it hold just that, ``secret`` being what was read; give it as it is now. Raises Retry in a race."""
    body = build_runner_secret(pool, data)
    name = body["metadata"]["name"]
    if secret is None:
        try:
            return await deps.kubernetes.create_object(SECRETS, pool.namespace, body)
        except AlreadyExists as error:
            raise Retry("Conflict", f"Secret {name} has just been created") from error
    before = secret.get("data") or {}
    if before == body["data"]:
        return secret
    patch = {"data": {**dict.fromkeys(set(before) - set(body["data"])), **body["data"]}}
    written = await deps.kubernetes.patch_object(SECRETS, pool.namespace, name, patch)
    if written is None:
        raise Retry("Vanished", f"Secret {name} has just been deleted")
    return written
