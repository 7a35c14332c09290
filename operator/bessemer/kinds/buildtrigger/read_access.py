"""Reads the user's Secrets that a trigger names; writes nothing."""

from __future__ import annotations

from dataclasses import replace

from bessemer.api.buildtrigger.resource import BuildTrigger, parse_build_trigger
from bessemer.api.buildtrigger.spec import BuildTriggerSpec
from bessemer.engine.gitlabsecrets import CA, find_api_token, find_webhook_secret, may_refresh, read_webhook_secret
from bessemer.engine.loop import Key
from bessemer.engine.secrets import SecretReader
from bessemer.kinds.buildtrigger.access import Access, Reading, list_secrets
from bessemer.kinds.buildtrigger.deps import TriggerDeps
from bessemer.kinds.buildtrigger.facts import Problem

BROKEN_SECONDS, FRESH_SECONDS, WATCHED_SECONDS = 5, 60, 600
"""How old the values may be: where one can't be used, while the Secrets are not watched, and while they are."""


async def read_access(
    deps: TriggerDeps, trigger: BuildTrigger, spec: BuildTriggerSpec, known: Reading | None
) -> Reading:
    """Return the values of all Secrets: the known ones, read again if they may have changed. Raises Unavailable."""
    key = (trigger.namespace, trigger.name)
    deps.secrets.use(key, list_secrets(spec))
    changes = deps.secrets.count_changes(key)
    if known is not None and known.changes == changes and not _is_old(deps, key, known):
        return known
    access = await _read(deps, trigger.namespace, spec)
    return Reading(access, deps.now(), changes)


def _is_old(deps: TriggerDeps, key: Key, known: Reading) -> bool:
    most = WATCHED_SECONDS if deps.secrets.are_heard(key) else FRESH_SECONDS
    if known.access.problem is not None:
        most = BROKEN_SECONDS
    return (deps.now() - known.at).total_seconds() >= most


async def refresh_webhook_secret(deps: TriggerDeps, key: Key) -> str | None:
    """Read the webhook's secret again, because a mismatch may mean that it has changed; at a limited rate.

    Raises Unavailable.
    """
    trigger = deps.triggers.parse(key, parse_build_trigger)
    memory = deps.memories.get(key) if trigger is not None else None
    if memory is None or trigger is None or not may_refresh(memory.refreshed, deps.now()):
        return None
    memory.refreshed = deps.now()
    spec = trigger.spec
    if spec is None:
        return None
    secret = await read_webhook_secret(deps, key[0], spec.gitlab)
    # The current knowledge: a pass may have ended in the meantime.
    if memory.reading is not None:
        memory.reading = replace(memory.reading, access=replace(memory.reading.access, webhook_secret=secret))
    else:
        memory.early_secret = secret
    return secret


async def _read(deps: TriggerDeps, namespace: str, spec: BuildTriggerSpec) -> Access:
    reader = SecretReader(deps.kubernetes, deps.settings, namespace)
    ca = await reader.find(spec.gitlab.ca_secret, CA)
    token = await find_api_token(reader, spec.gitlab, ca)
    secret = await find_webhook_secret(reader, spec.gitlab)
    problem = Problem(reader.problem.reason, reader.problem.message) if reader.problem is not None else None
    return Access(token, secret, ca, problem)
