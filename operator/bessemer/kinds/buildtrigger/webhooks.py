"""Takes GitLab's webhooks: an event that a rule fits is recorded before the webhook is answered.

Everything that the event leads to is done later, by a pass: GitLab waits ten seconds for an answer, and does not send
an event again by itself.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from bessemer.api.buildtrigger.resource import BuildTrigger, parse_build_trigger
from bessemer.engine.loop import Key
from bessemer.errors import Invalid
from bessemer.gitlab.events import EventReader, MergeRequestEvent
from bessemer.kinds.buildtrigger.deps import TriggerDeps
from bessemer.kinds.buildtrigger.observe import list_records
from bessemer.kinds.buildtrigger.read_access import refresh_webhook_secret
from bessemer.kinds.buildtrigger.records import Record, RecordedEvent, build_event, build_record, parse_records
from bessemer.kinds.buildtrigger.revisits import name_return
from bessemer.kinds.buildtrigger.rules import Ignored, Match, match_event
from bessemer.kube.protocol import CONFIG_MAPS, AlreadyExists
from bessemer.web.hooks import HookSecret, HookTarget, Taken

PATH = "/v1/triggers/{namespace}/{name}"


def build_target(deps: TriggerDeps) -> HookTarget[EventReader]:
    """Return the triggers as receivers of webhooks."""
    return HookTarget(
        unknown="UnknownTrigger",
        find_secret=partial(_find_secret, deps),
        refresh_secret=partial(refresh_webhook_secret, deps),
        make_reader=EventReader,
        take=partial(_take, deps),
    )


def _find_secret(deps: TriggerDeps, key: Key) -> HookSecret | None:
    trigger = _find_trigger(deps, key)
    if trigger is None or trigger.spec is None or trigger.spec.gitlab.webhook_secret is None:
        return None
    memory = deps.memories.get(key)  # of a trigger that exists, so it is forgotten with it
    return HookSecret(memory.access.webhook_secret if memory.access is not None else memory.early_secret)


def _find_trigger(deps: TriggerDeps, key: Key) -> BuildTrigger | None:
    trigger = deps.triggers.parse(key, parse_build_trigger)
    return trigger if trigger is not None and trigger.deleted is None else None


async def _take(deps: TriggerDeps, key: Key, reader: EventReader) -> Taken:
    """Record an event; the answer says what becomes of it, because GitLab shows it to the project's maintainers."""
    trigger = _find_trigger(deps, key)
    if trigger is None or trigger.spec is None:
        return Taken("Ignored", "ignored: the trigger was just deleted or changed")
    memory = deps.memories.get(key)
    memory.heard_at = deps.now()
    try:
        found = match_event(trigger.spec, reader.parse(), memory.project_id)
    except Invalid as error:
        return Taken(error.reason, f"ignored: {error.message}")
    if isinstance(found, Ignored):
        return Taken(found.reason, f"ignored: {found.message}")
    return await _record(deps, trigger, found)


async def _record(deps: TriggerDeps, trigger: BuildTrigger, match: Match) -> Taken:
    event = build_event(match, deps.now())
    name, created = await _create(deps, trigger, event)
    if not created:
        known = await _read(deps, trigger, name)
        if known is None:
            return Taken("RecordForged", f"not recorded: {name} is there, and not as the operator writes it")
        if not event.command and (again := await _find_return(deps, trigger, match, event, known)):
            name, created = await _create(deps, trigger, again)
    deps.wake((trigger.namespace, trigger.name))
    if not created:
        return Taken("Known", f"known already as {name}")
    return Taken("Taken", f"recorded as {name}, by rule {match.rule}")


async def _create(deps: TriggerDeps, trigger: BuildTrigger, event: RecordedEvent) -> tuple[str, bool]:
    """Return the name of the record of an event, and whether it is new."""
    body = build_record(trigger, event, await deps.own_key.get_seal())
    with suppress(AlreadyExists):
        await deps.kubernetes.create_object(CONFIG_MAPS, trigger.namespace, body)
        return body["metadata"]["name"], True
    return body["metadata"]["name"], False


async def _read(deps: TriggerDeps, trigger: BuildTrigger, name: str) -> Record | None:
    raw = await deps.kubernetes.get_object(CONFIG_MAPS, trigger.namespace, name)
    known = parse_records(trigger, [raw], await deps.own_key.get_seal()).own if raw is not None else ()
    return next(iter(known), None)


async def _find_return(
    deps: TriggerDeps, trigger: BuildTrigger, match: Match, event: RecordedEvent, known: Record
) -> RecordedEvent | None:
    """Return the event as that of a ref that has come back to a commit; None if it is the one that is recorded."""
    if known.outcome is None:
        return None  # of a burst of the same events, none reads all records
    changed = isinstance(match.event, MergeRequestEvent) and match.event.changed
    return name_return((await list_records(deps, trigger)).own, event, changed=changed)
