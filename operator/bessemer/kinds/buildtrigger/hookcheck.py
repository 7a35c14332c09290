"""Asks GitLab how the webhook is, and has lost events sent again. A failure never concerns a build."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from bessemer.errors import BessemerError, Invalid, Retry
from bessemer.gitlab.hooklog import EXECUTABLE, HookLog
from bessemer.gitlab.protocol import AccessTokenRefused, GitLabRefused, Scope
from bessemer.kinds.buildtrigger.calling import spend_call, use_gitlab
from bessemer.kinds.buildtrigger.deps import TriggerDeps
from bessemer.kinds.buildtrigger.facts import Facts, HookFact, Listed, Lost, Problem
from bessemer.kinds.buildtrigger.lost import list_lost
from bessemer.kinds.buildtrigger.memory import Memory
from bessemer.kinds.buildtrigger.plan import CheckHook, Resend
from bessemer.kinds.buildtrigger.rules import get_scope

PAUSE_SECONDS = 60.0
"""After a call that fails, if GitLab does not ask for another pause: GitLab sends five events again in a minute."""
MOST_HOOKS = 4
"""Webhooks that lead to one trigger, of which the deliveries are listed."""


async def check_webhook(deps: TriggerDeps, facts: Facts, step: CheckHook | Resend) -> Facts:
    """Execute a step; GitLab's errors become facts."""
    memory = deps.memories.get((facts.trigger.namespace, facts.trigger.name))
    try:
        memory.hook = await _call(deps, facts, memory, step)
    except (Retry, Invalid) as error:
        memory.hook = _note_failure(deps, memory.hook, step, error)
    return replace(facts, hook=replace(memory.hook, heard_at=memory.heard_at))


async def _call(deps: TriggerDeps, facts: Facts, memory: Memory, step: CheckHook | Resend) -> HookFact:
    spend_call(memory.hook_calls, deps.now().timestamp(), "webhook")
    client, _ = await use_gitlab(deps, facts, memory)
    hooks, spec = client.hooks, facts.trigger.spec
    if spec is None:
        return memory.hook
    if isinstance(step, Resend):
        await hooks.resend(get_scope(spec), step.lost.hook, step.lost.delivery)
        deps.trigger_metrics.count_resend("Sent")
        left = _drop(memory.hook, step)
        # After the last one, what has arrived is looked at.
        checked_at = memory.hook.checked_at if left else None
        return replace(memory.hook, lost=left, checked_at=checked_at, problem=None, retry_at=None)
    return await _check(deps, hooks, get_scope(spec), memory.hook, step)


async def _check(deps: TriggerDeps, hooks: HookLog, scope: Scope, known: HookFact, step: CheckHook) -> HookFact:
    now = deps.now()
    found = (await hooks.list_hooks(scope, step.path))[:MOST_HOOKS]
    listed = tuple([Listed(one, tuple(await hooks.list_deliveries(scope, one.id, step.since))) for one in found])
    for one in found:
        deps.trigger_metrics.count_hook(one.state)
    lost = list_lost(listed)
    latest = {one.hook.id: one.deliveries[:1] for one in known.listed or ()}
    listed = tuple(replace(one, deliveries=one.deliveries or latest.get(one.hook.id, ())) for one in listed)
    # What was not delivered to a disabled webhook is looked at again when it is enabled.
    settled = now if not lost and all(one.state in (EXECUTABLE, "") for one in found) else known.settled
    return HookFact(checked_at=now, listed=listed, lost=lost, settled=settled)


def _note_failure(deps: TriggerDeps, known: HookFact, step: CheckHook | Resend, error: BessemerError) -> HookFact:
    final = isinstance(error, Invalid) and not isinstance(error, AccessTokenRefused)
    problem = Problem(error.reason, error.message)
    if final and isinstance(step, Resend):
        deps.trigger_metrics.count_resend("Refused")
        # If the token may send nothing again, the others need not be tried; else only this one is given up.
        lost = () if isinstance(error, GitLabRefused) else _drop(known, step)
        return replace(known, lost=lost, problem=problem if isinstance(error, GitLabRefused) else known.problem)
    if final:
        return replace(known, checked_at=deps.now(), listed=None, lost=(), problem=problem, retry_at=None)
    asked = error.after if isinstance(error, Retry) else None
    return replace(known, problem=problem, retry_at=deps.now() + timedelta(seconds=asked or PAUSE_SECONDS))


def _drop(known: HookFact, step: Resend) -> tuple[Lost, ...]:
    return tuple(one for one in known.lost if one != step.lost)
