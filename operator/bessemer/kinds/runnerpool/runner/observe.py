"""Reads the input of decisions about a pool's runner; writes nothing."""

from __future__ import annotations

import logging
from dataclasses import replace

from pydantic import ValidationError

from bessemer.api.base import explain_validation_error
from bessemer.api.names import runner_account_name, runner_secret_name
from bessemer.api.reasons import INVALID_SPEC, NAME_TAKEN
from bessemer.api.runnerpool.executors import ExecutorType
from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.api.runnerpool.spec import GitLabConnection, RunnerPoolSpec
from bessemer.engine.objects import is_owned
from bessemer.engine.secrets import SecretMissing
from bessemer.errors import BessemerError, Invalid, Retry
from bessemer.kinds.runnerpool.deps import PoolDeps
from bessemer.kinds.runnerpool.render.slurm_files import SlurmHost
from bessemer.kinds.runnerpool.runner.access import Access
from bessemer.kinds.runnerpool.runner.ending import EndFacts
from bessemer.kinds.runnerpool.runner.facts import NamedObject, RunnerFacts
from bessemer.kinds.runnerpool.runner.known import LONG_AGO, Known, Registered, find_parting
from bessemer.kinds.runnerpool.runner.memory import compute_pause, get_known, get_left_managers
from bessemer.kinds.runnerpool.runner.read_access import get_access, get_api_access
from bessemer.kinds.runnerpool.runner.record import PoolSecret, Record, parse_record
from bessemer.kinds.runnerpool.runner.runner_managers import ManagerFacts
from bessemer.kube.protocol import ROLE_BINDINGS, SECRETS, SERVICE_ACCOUNTS, Object

_log = logging.getLogger(__name__)


async def get_runner_facts(deps: PoolDeps, pool: RunnerPool, spec: RunnerPoolSpec) -> RunnerFacts:
    """Read everything from Kubernetes; errors are part of the facts."""
    known, polls = get_known(deps, pool), deps.sources.get_polls((pool.namespace, pool.name))
    facts = RunnerFacts(pool, spec, deps.settings, None, known, polls)
    try:
        facts = replace(facts, access=await get_access(deps, pool.namespace, spec))
        if facts.access is not None and facts.access.problem is None:
            facts = facts.take_secret(await get_pool_secret(deps, pool))
            facts = await _add_account(deps, facts)
            facts = replace(facts, slurm_host=await get_slurm_host(deps, pool, spec))
    except BessemerError as error:
        facts = replace(facts, problem=error)
    return facts


async def get_pool_secret(deps: PoolDeps, pool: RunnerPool) -> PoolSecret | None:
    """Read the pool's own Secret; None if it does not exist. Raises Invalid if another owner has its name."""
    name = runner_secret_name(pool.name)
    raw = await deps.kubernetes.get_object(SECRETS, pool.namespace, name)
    if raw is None:
        return None
    if not parse_named(raw, pool).owned:
        raise Invalid(NAME_TAKEN, f"Secret {name} exists and belongs to something else")
    return parse_pool_secret(raw)


def parse_pool_secret(raw: Object) -> PoolSecret:
    """Return a pool's Secret from its raw object."""
    return PoolSecret(str(raw["metadata"]["resourceVersion"]), raw.get("data") or {})


def parse_named(raw: Object, pool: RunnerPool) -> NamedObject:
    """Return the owner of an object; it is the pool's if the pool is among its owners."""
    role = raw.get("roleRef") or {}
    return NamedObject(is_owned(raw, pool.uid), (role.get("kind", ""), role.get("name", "")))


async def _add_account(deps: PoolDeps, facts: RunnerFacts) -> RunnerFacts:
    if facts.spec.executor.type is not ExecutorType.KUBERNETES:
        return facts
    pool, name = facts.pool, runner_account_name(facts.pool.name)
    account = await deps.kubernetes.get_object(SERVICE_ACCOUNTS, pool.namespace, name)
    binding = await deps.kubernetes.get_object(ROLE_BINDINGS, pool.namespace, name)
    return replace(
        facts,
        account=parse_named(account, pool) if account is not None else None,
        binding=parse_named(binding, pool) if binding is not None else None,
    )


async def get_slurm_host(deps: PoolDeps, pool: RunnerPool, spec: RunnerPoolSpec) -> SlurmHost | None:
    """Return the host on which jobs are submitted, from the spec or a ClusterBuild; None for another executor.

    Raises:
        Retry: the ClusterBuild does not exist or is not Ready yet.
        Invalid: SecretBroken, a user changed its Secret.
    """
    slurm = spec.executor.slurm
    if slurm is None:
        return None
    if slurm.cluster_ref is None:
        return SlurmHost(slurm.host or "", slurm.port, slurm.host_key or "")
    name = slurm.cluster_ref.name
    target = await deps.find_management_node(pool.namespace, name)
    if target is None:
        raise Retry("ClusterMissing", f"ClusterBuild {name} (spec.executor.slurm.clusterRef) does not exist")
    return SlurmHost(target.address, target.port, target.host_key)


async def get_manager_facts(deps: PoolDeps, pool: RunnerPool, slots: frozenset[int]) -> ManagerFacts:
    """Read where the managers of these slots are; Secrets are read only if that is unknown."""
    key = (pool.namespace, pool.name)
    used = frozenset(pod.slot for pod in deps.memories.get(key).pods.list_pods().values() if pod.live)
    known = get_known(deps, pool)
    parting = find_parting(known, pool) or known
    if parting is None:
        at = await _find_registered(deps, pool) if slots - used else None
        return ManagerFacts(pool.uid, slots, used, at)
    # The runner's own token is sufficient; the client is the pool's existing one.
    token = parting.access.api_token if parting.access is not None else None
    return ManagerFacts(pool.uid, slots, used, parting.registered, token)


async def _find_registered(deps: PoolDeps, pool: RunnerPool) -> Registered | None:
    """Read the registration of a pool that was deleted before this process first saw it.

    None if it can't be determined any more: a deleted namespace deletes Secrets before its pools.
    """
    if pool.spec is None:
        return None
    try:
        record = parse_record(await get_pool_secret(deps, pool), runner_secret_name(pool.name))
        access = await get_access(deps, pool.namespace, pool.spec)
        access.require()
    except (SecretMissing, Invalid) as error:
        _log.info("%s/%s: runner managers are left: %s", pool.namespace, pool.name, error)
        return None
    if record is not None:
        return Registered(record.url, access.ca, record.token, LONG_AGO)
    token = access.runner_token
    return None if token is None else Registered(pool.spec.gitlab.url, access.ca, token, LONG_AGO)


async def get_end_facts(deps: PoolDeps, pool: RunnerPool) -> EndFacts:
    """Read the facts about the runner of a deleted pool from its last known place."""
    key = (pool.namespace, pool.name)
    known = get_known(deps, pool)
    facts = EndFacts(pool, deps.settings.deletion_seconds, compute_pause(deps, key), known)
    if facts.pause > 0 and facts.compute_patience(deps.now()) > 0:
        return facts  # GitLab is not asked, so nothing needs to be read
    try:
        secret = await get_pool_secret(deps, pool)
    except BessemerError as error:
        return replace(facts, failure=error)
    facts = replace(facts, secret_gone=secret is None, record=_find_record(pool, known, secret))
    try:
        if not facts.creates_runner:
            left = frozenset(get_left_managers(deps, key))
            return replace(facts, managers=await get_manager_facts(deps, pool, left))
        facts = replace(facts, connection=_parse_connection(deps.pools.get(key) or {}))
        if facts.connection is not None:
            facts = replace(facts, access=await _get_last_access(deps, pool, facts.connection))
    except BessemerError as error:
        return replace(facts, problem=error) if facts.creates_runner else replace(facts, failure=error)
    return facts


def _find_record(pool: RunnerPool, known: Known | None, secret: PoolSecret | None) -> Record | None:
    """Return the record: a deleted namespace deletes its Secrets before its pools."""
    last = known.record if known is not None else None
    if secret is None:
        return last
    try:
        return parse_record(secret, runner_secret_name(pool.name))
    except Invalid as error:
        # The pool's own runner is also found by its marker.
        _log.warning("%s/%s: %s", pool.namespace, pool.name, error)
        return last


def _parse_connection(raw: Object) -> GitLabConnection:
    """Read the connection alone, because the rest of the spec may be invalid; the runner must be deleted anyway."""
    try:
        return GitLabConnection.model_validate((raw.get("spec") or {}).get("gitlab"))
    except ValidationError as error:
        raise Invalid(INVALID_SPEC, explain_validation_error(error, "spec.gitlab")) from error


async def _get_last_access(deps: PoolDeps, pool: RunnerPool, connection: GitLabConnection) -> Access:
    """Return the values with which a deleted pool calls GitLab; raises the error of its Secrets."""
    known = get_known(deps, pool)
    access = known.access if known is not None else None
    if access is None or access.problem is not None:
        parting = find_parting(known, pool)
        access = parting.access if parting is not None else await get_api_access(deps, pool.namespace, connection)
    access.require()
    return access
