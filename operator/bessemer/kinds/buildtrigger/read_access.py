"""Reads the user's Secrets that a trigger names; writes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from bessemer.api.buildtrigger.resource import BuildTrigger, parse_build_trigger
from bessemer.api.buildtrigger.spec import BuildTriggerSpec
from bessemer.engine.loop import Key
from bessemer.engine.secrets import SecretReader
from bessemer.gitlab.credentials import require_token
from bessemer.gitlab.hooks import check_secret
from bessemer.kinds.buildtrigger.access import Access, list_secrets
from bessemer.kinds.buildtrigger.deps import TriggerDeps
from bessemer.kinds.buildtrigger.facts import Problem

API_TOKEN, WEBHOOK_SECRET, CA = "spec.gitlab.apiTokenSecret", "spec.gitlab.webhookSecret", "spec.gitlab.caSecret"
BROKEN_SECONDS, FRESH_SECONDS, WATCHED_SECONDS = 5, 60, 600
"""How old the values may be: where one can't be used, while the Secrets are not watched, and while they are."""
REFRESH_PAUSE = timedelta(seconds=2)
"""Minimum time between two readings that senders of webhooks cause."""


async def get_access(deps: TriggerDeps, trigger: BuildTrigger, spec: BuildTriggerSpec) -> Access:
    """Return the values of all Secrets, read again if they may have changed. Raises Unavailable."""
    key = (trigger.namespace, trigger.name)
    memory = deps.memories.get(key)
    deps.secrets.use(key, list_secrets(spec))
    changes, age = deps.secrets.count_changes(key), (deps.now() - memory.access_read).total_seconds()
    most = WATCHED_SECONDS if deps.secrets.are_heard(key) else FRESH_SECONDS
    if memory.access is not None and memory.access.problem is not None:
        most = BROKEN_SECONDS
    if memory.access is None or memory.access_changes != changes or age >= most:
        memory.access = await _read(deps, trigger.namespace, spec)
        memory.access_read, memory.access_changes = deps.now(), changes
    return memory.access


async def refresh_webhook_secret(deps: TriggerDeps, key: Key) -> str | None:
    """Read the webhook's secret again, because a mismatch may mean that it has changed; at a limited rate.

    Raises Unavailable.
    """
    raw = deps.triggers.get(key)
    memory = deps.memories.get(key) if raw is not None else None
    if memory is None or raw is None or deps.now() - memory.refreshed < REFRESH_PAUSE:
        return None
    memory.refreshed = deps.now()
    spec = parse_build_trigger(raw).spec
    if spec is None or spec.gitlab.webhook_secret is None:
        return None
    reader = SecretReader(deps.kubernetes, deps.settings, key[0])
    secret = await reader.find(spec.gitlab.webhook_secret, WEBHOOK_SECRET, check_secret)
    if memory.access is not None:
        memory.access = replace(memory.access, webhook_secret=secret)
    else:
        memory.early_secret = secret
    return secret


async def _read(deps: TriggerDeps, namespace: str, spec: BuildTriggerSpec) -> Access:
    gitlab, reader = spec.gitlab, SecretReader(deps.kubernetes, deps.settings, namespace)
    ca = await reader.find(gitlab.ca_secret, CA)
    token = await reader.find(gitlab.api_token_secret, API_TOKEN, require_token, gitlab.url)
    secret = await reader.find(gitlab.webhook_secret, WEBHOOK_SECRET, check_secret)
    problem = Problem(reader.problem.reason, reader.problem.message) if reader.problem is not None else None
    # If GitLab's certificate can't be verified as the spec wants it, the token must not be sent.
    usable = gitlab.ca_secret is None or ca is not None
    return Access(token if usable else None, secret, ca, problem)
