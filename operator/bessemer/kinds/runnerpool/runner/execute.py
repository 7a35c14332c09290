"""Executes one question or step of a runner's life; the answer becomes a fact.

If the operator dies between two calls, the next pass finds that out. Whatever GitLab creates or rotates is recorded
with the very next request, in a Secret that already exists, so that only this one request can fail in between.
"""

from __future__ import annotations

from dataclasses import replace

from bessemer.api.names import runner_secret_name
from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.errors import Retry
from bessemer.gitlab.protocol import GitLab
from bessemer.kinds.runnerpool.demand.interest import Polls
from bessemer.kinds.runnerpool.deps import PoolDeps
from bessemer.kinds.runnerpool.render.manifest import build_role_binding, build_runner_secret, build_service_account
from bessemer.kinds.runnerpool.runner.access import Access
from bessemer.kinds.runnerpool.runner.ending import EndFacts
from bessemer.kinds.runnerpool.runner.facts import RunnerFacts
from bessemer.kinds.runnerpool.runner.memory import get_left_managers
from bessemer.kinds.runnerpool.runner.observe import parse_named
from bessemer.kinds.runnerpool.runner.plan import (
    CreateRoleBinding,
    CreateRunner,
    CreateServiceAccount,
    DeleteRunner,
    ForgetManager,
    KeepManager,
    LeaveRunner,
    ListRunners,
    Question,
    RotateToken,
    StartPolls,
    Step,
    StopPolls,
    UpdateRunner,
    VerifyToken,
    WriteRunnerSecret,
)
from bessemer.kinds.runnerpool.runner.runner_managers import ManagerFacts
from bessemer.kube.protocol import ROLE_BINDINGS, SECRETS, SERVICE_ACCOUNTS, AlreadyExists


async def carry_out(deps: PoolDeps, facts: RunnerFacts, step: Question | Step) -> RunnerFacts:
    """Execute it; return the facts after it; raises the error of the call."""
    match step:
        case StartPolls(polls):
            await _start_polls(deps, facts, polls)
            return replace(facts, polls=polls)
        case StopPolls():
            await deps.sources.leave((facts.pool.namespace, facts.pool.name))
            return replace(facts, polls=None)
        case CreateServiceAccount() | CreateRoleBinding():
            return await _create_account(deps, facts, step)
        case WriteRunnerSecret(values):
            return await _write_secret(deps, facts, dict(values))
        case LeaveRunner(runner_id):
            return facts.take_gone(runner_id)
        case _:
            return await _ask_gitlab(deps, facts, step)


async def _create_account(
    deps: PoolDeps, facts: RunnerFacts, step: CreateServiceAccount | CreateRoleBinding
) -> RunnerFacts:
    pool, kubernetes = facts.pool, deps.kubernetes
    if isinstance(step, CreateServiceAccount):
        raw = await kubernetes.create_object(SERVICE_ACCOUNTS, pool.namespace, build_service_account(pool))
        return replace(facts, account=parse_named(raw, pool))
    raw = await kubernetes.create_object(ROLE_BINDINGS, pool.namespace, build_role_binding(pool, facts.settings))
    return replace(facts, binding=parse_named(raw, pool))


async def _ask_gitlab(deps: PoolDeps, facts: RunnerFacts, step: Question | Step) -> RunnerFacts:
    gitlab, pool = await open_gitlab(deps, facts), facts.pool
    match step:
        case VerifyToken(token):
            facts = facts.take_identity(token, await gitlab.verify_runner(token))
        case ListRunners(scope):
            facts = replace(facts, listed=frozenset(await gitlab.list_runners(scope, pool.uid)))
        case CreateRunner(request):
            registration = await gitlab.create_runner(request)
            facts = await _write_record(deps, facts.take_created(registration, request, deps.now()))
        case UpdateRunner(runner_id, request):
            await gitlab.update_runner(runner_id, request)
            facts = facts.take_updated(request)
        case RotateToken(runner_id, refused):
            registration = await gitlab.rotate_runner(runner_id)
            facts = await _write_record(deps, facts.take_rotated(registration, refused=refused, now=deps.now()))
        case DeleteRunner(runner_id):
            await gitlab.delete_runner(runner_id)
            facts = facts.take_gone(runner_id)
        case _:
            raise ValueError(f"{type(step).__name__} is no step of a pool in use")
    return facts


async def open_gitlab(deps: PoolDeps, facts: RunnerFacts) -> GitLab:
    """Return the client for the GitLab in the spec, with the pool's access token."""
    access = facts.access or Access(None)
    key = (facts.pool.namespace, facts.pool.name)
    return await deps.gitlab_clients.use(key, facts.spec.gitlab.url, access.api_token, access.ca)


async def _start_polls(deps: PoolDeps, facts: RunnerFacts, polls: Polls) -> None:
    access, url, key = facts.access or Access(None), facts.spec.gitlab.url, (facts.pool.namespace, facts.pool.name)
    connect = deps.gitlab_clients.connect
    source = await deps.sources.use(key, polls.source, lambda: connect(url, access.api_token, access.ca))
    source.pools[key] = polls.interest


async def _write_record(deps: PoolDeps, facts: RunnerFacts) -> RunnerFacts:
    """Write the record to the Secret; leave the rest of the Secret unchanged."""
    values = facts.secret.get_values() if facts.secret is not None else {}
    return await _write_secret(deps, facts, values | facts.require_record().to_data())


async def _write_secret(deps: PoolDeps, facts: RunnerFacts, values: dict[str, str]) -> RunnerFacts:
    """Set the values of the pool's Secret, and remove all others. Raises Retry in a race."""
    pool, body = facts.pool, build_runner_secret(facts.pool, values)
    name = runner_secret_name(pool.name)
    if facts.secret is None:
        try:
            written = await deps.kubernetes.create_object(SECRETS, pool.namespace, body)
        except AlreadyExists as error:
            raise Retry("Conflict", f"Secret {name} has just been created") from error
        return facts.take_written(values, str(written["metadata"]["resourceVersion"]))
    gone = set(facts.secret.data) - set(body["data"])
    patch = {"data": {**dict.fromkeys(gone), **body["data"]}}
    patched = await deps.kubernetes.patch_object(SECRETS, pool.namespace, name, patch)
    if patched is None:
        raise Retry("Vanished", f"Secret {name} has just been deleted")
    return facts.take_written(values, str(patched["metadata"]["resourceVersion"]))


async def carry_out_end(deps: PoolDeps, facts: EndFacts, step: Question | Step) -> EndFacts:
    """Execute one step for a deleted pool; return the facts after it; raises the error of the call."""
    pool = facts.pool
    if isinstance(step, (ForgetManager, KeepManager)) and facts.managers is not None:
        await settle_manager(deps, pool, facts.managers, step)
        return facts.take_manager(step.slot)
    if facts.access is None or facts.connection is None:
        raise ValueError("nothing is asked of a GitLab that is not known")
    key, access = (pool.namespace, pool.name), facts.access
    gitlab = await deps.gitlab_clients.use(key, facts.connection.url, access.api_token, access.ca)
    match step:
        case ListRunners(scope):
            return replace(facts, listed=frozenset(await gitlab.list_runners(scope, pool.uid)))
        case DeleteRunner(runner_id):
            await gitlab.delete_runner(runner_id)
            return facts.take_gone(runner_id)
        case _:
            raise ValueError(f"{type(step).__name__} is no step of a deleted pool")


async def settle_manager(
    deps: PoolDeps, pool: RunnerPool, facts: ManagerFacts, step: ForgetManager | KeepManager
) -> None:
    """Delete a runner manager in GitLab, or leave it to its slot's pod; raises the error of the call."""
    key, at = (pool.namespace, pool.name), facts.registered
    if isinstance(step, ForgetManager) and at is not None:
        gitlab = await deps.gitlab_clients.use(key, at.url, facts.api_token, at.ca)
        await gitlab.delete_manager(at.token, step.system_id)
    get_left_managers(deps, key).pop(step.slot, None)
