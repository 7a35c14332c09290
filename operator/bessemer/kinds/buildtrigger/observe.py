"""Reads all facts about a trigger: its Secrets, the records of events, its ClusterBuilds, and what is remembered."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from bessemer.api.buildtrigger.report import StatusReports
from bessemer.api.buildtrigger.resource import BuildTrigger, parse_build_trigger
from bessemer.api.names import build_label_value
from bessemer.api.wellknown import TRIGGER_LABEL
from bessemer.kinds.buildtrigger.access import Reading
from bessemer.kinds.buildtrigger.builds import parse_build
from bessemer.kinds.buildtrigger.commits import is_same_url
from bessemer.kinds.buildtrigger.deps import TriggerDeps
from bessemer.kinds.buildtrigger.facts import BuildFact, Facts, HookFact, JobFact, Problem, SourceFact
from bessemer.kinds.buildtrigger.memory import Memory
from bessemer.kinds.buildtrigger.queue import is_awaited
from bessemer.kinds.buildtrigger.read_access import read_access
from bessemer.kinds.buildtrigger.records import Records, parse_records
from bessemer.kinds.buildtrigger.reported import ReportingFact
from bessemer.kinds.buildtrigger.resource import CLUSTER_BUILDS
from bessemer.kinds.buildtrigger.rules import get_scope
from bessemer.kinds.buildtrigger.scope import overlap
from bessemer.kube.protocol import CONFIG_MAPS


async def get_facts(deps: TriggerDeps, trigger: BuildTrigger) -> Facts:
    """Read everything that belongs to a trigger."""
    memory = _get_memory(deps, trigger)
    records, builds, reading = await asyncio.gather(
        list_records(deps, trigger), list_builds(deps, trigger), _read_access(deps, trigger, memory.reading)
    )
    memory.reading = reading
    names = {record.name for record in records.own if record.outcome is None}
    # A record may be older than this process: whether its job still runs is asked before anything is built for it.
    jobs = {record.name: record.event.received for record in records.own if is_awaited(record)}
    memory.jobs = {name: memory.jobs.get(name) or JobFact(received) for name, received in jobs.items()}
    memory.answers = {name: answer for name, answer in memory.answers.items() if name in names}
    waiting = {record.event.place for record in records.own if record.outcome is None}
    memory.heads = {place: head for place, head in memory.heads.items() if place in waiting}
    memory.reports = {name: memory.reports[name] for name in memory.reports if name in {r.name for r in records.own}}
    _forgive(memory, trigger)
    return Facts(
        trigger=trigger,
        records=records,
        builds=builds,
        access=_find_problem(reading),
        source=memory.source,
        hook=replace(memory.hook, heard_at=memory.heard_at),
        heads=dict(memory.heads),
        answers=dict(memory.answers),
        refs=memory.refs,
        unread=memory.unread,
        jobs=dict(memory.jobs),
        reports=dict(memory.reports),
        reporting=memory.reporting,
        shares_project=_shares_project(deps, trigger),
        deletion_seconds=deps.settings.deletion_seconds,
    )


def _shares_project(deps: TriggerDeps, trigger: BuildTrigger) -> bool:
    """Return whether a trigger in another namespace sets statuses in the same project."""
    if trigger.spec is None:
        return False
    url, own = trigger.spec.gitlab.url, get_scope(trigger.spec)
    keys = deps.triggers.list_elsewhere(trigger.namespace)
    others = (other.spec for key in keys if (other := deps.triggers.parse(key, parse_build_trigger)) is not None)
    return any(
        is_same_url(spec.gitlab.url, url)
        and overlap(get_scope(spec), own)
        and spec.report.statuses is StatusReports.PHASES
        for spec in others
        if spec is not None
    )


def _get_memory(deps: TriggerDeps, trigger: BuildTrigger) -> Memory:
    """Return what is remembered of a trigger, without what another one of that name, or another spec, has left."""
    key = (trigger.namespace, trigger.name)
    memory = deps.memories.get(key)
    if memory.uid not in ("", trigger.uid):
        deps.memories.forget(key)
        memory = deps.memories.get(key)
    memory.uid = trigger.uid
    if memory.generation != trigger.generation:
        memory.generation, memory.reading = trigger.generation, None
        memory.project_id, memory.round, memory.unread = None, None, frozenset()
        memory.paths.clear()
        memory.answers.clear()
        memory.heads.clear()
        memory.refs, memory.source, memory.hook = None, SourceFact(), HookFact()
    return memory


def _forgive(memory: Memory, trigger: BuildTrigger) -> None:
    """Forget what GitLab has refused when there is another access token, or another spec."""
    now = (memory.access.api_token if memory.access is not None else None, trigger.generation)
    if memory.reported_with != now:
        memory.reported_with, memory.reporting, memory.report_failures = now, ReportingFact(), 0
        memory.reports = {name: replace(known, refusals={}) for name, known in memory.reports.items()}


async def list_records(deps: TriggerDeps, trigger: BuildTrigger) -> Records:
    """Read the records of a trigger's events."""
    labels = f"{TRIGGER_LABEL}={build_label_value(trigger.name)}"
    raw, seal = await asyncio.gather(
        deps.kubernetes.list_objects(CONFIG_MAPS, trigger.namespace, labels=labels), deps.own_key.get_seal()
    )
    return parse_records(trigger, raw, seal)


async def list_builds(deps: TriggerDeps, trigger: BuildTrigger) -> tuple[BuildFact, ...]:
    """Read the ClusterBuilds of a trigger."""
    labels = f"{TRIGGER_LABEL}={build_label_value(trigger.name)}"
    raw = await deps.kubernetes.list_objects(CLUSTER_BUILDS, trigger.namespace, labels=labels)
    return tuple(sorted((parse_build(one) for one in raw), key=lambda build: build.name))


async def _read_access(deps: TriggerDeps, trigger: BuildTrigger, known: Reading | None) -> Reading | None:
    return await read_access(deps, trigger, trigger.spec, known) if trigger.spec is not None else known


def _find_problem(reading: Reading | None) -> Problem | None:
    """Return why GitLab can't be asked with the Secrets as they are."""
    if reading is None:
        return None
    missing = Problem("SecretMissing", "there is no access token") if reading.access.api_token is None else None
    return reading.access.problem or missing
