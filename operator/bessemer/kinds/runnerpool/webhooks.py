"""Passes webhooks to the source of a pool's demand.

Webhooks only make things faster: the next poll brings whatever a lost webhook would have reported.
"""

from __future__ import annotations

from functools import partial

from bessemer.engine.loop import Key
from bessemer.errors import Invalid
from bessemer.gitlab.hooks import JobHook, JobHookReader
from bessemer.kinds.runnerpool.deps import PoolDeps
from bessemer.kinds.runnerpool.runner.webhooks import get_webhook_access, refresh_webhook_secret
from bessemer.web.hooks import HookReceiver, HookSecret, HookTarget, Taken

PATH = "/v1/gitlab/{namespace}/{name}"


def build_receiver(deps: PoolDeps) -> HookReceiver[JobHookReader]:
    """Return the handler of the pools' webhooks."""
    target = HookTarget(
        unknown="UnknownPool",
        find_secret=partial(_find_secret, deps),
        refresh_secret=partial(refresh_webhook_secret, deps),
        make_reader=JobHookReader,
        take=partial(_take, deps),
    )
    return HookReceiver(deps, target)


def _find_secret(deps: PoolDeps, key: Key) -> HookSecret | None:
    access = get_webhook_access(deps, key)
    return HookSecret(access.webhook_secret) if access is not None else None


async def _take(deps: PoolDeps, key: Key, reader: JobHookReader) -> Taken:
    """Pass a webhook to the pool's source."""
    try:
        hook = reader.parse()
    except Invalid as error:
        return Taken(error.reason)
    if not isinstance(hook, JobHook):
        return Taken("Ignored")
    source = deps.sources.get_source(key)
    if source is not None:
        source.put_webhook(hook)
    return Taken("Taken")
