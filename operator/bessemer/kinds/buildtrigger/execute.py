"""Executes the decided steps of a trigger, and returns the facts after each."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from bessemer.api.buildtrigger.spec import BuildTriggerSpec
from bessemer.api.buildtrigger.status import MOST_REFS
from bessemer.api.reasons import NAME_TAKEN, QUOTA_EXCEEDED
from bessemer.api.wellknown import ABORT_ANNOTATION, RETRY_ANNOTATION
from bessemer.errors import BessemerError, Invalid, Retry
from bessemer.gitlab.answers import AnswerTooLarge, AnswerTooSlow
from bessemer.gitlab.jobidentity import OVER
from bessemer.gitlab.protocol import GitLabNotFound, GitLabRefused, Repository
from bessemer.kinds.buildtrigger.builds import REPLACED, UNWANTED, belongs_to, build_manifest, parse_build
from bessemer.kinds.buildtrigger.calling import compute_pause, use_gitlab
from bessemer.kinds.buildtrigger.deps import TriggerDeps
from bessemer.kinds.buildtrigger.facts import BuildFact, Facts, HeadFact, Problem, Resolution
from bessemer.kinds.buildtrigger.hookcheck import check_webhook
from bessemer.kinds.buildtrigger.memory import Memory, Round
from bessemer.kinds.buildtrigger.missed import list_fitting
from bessemer.kinds.buildtrigger.observe import list_builds, list_records
from bessemer.kinds.buildtrigger.plan import (
    AbortBuild,
    ApplyBuild,
    AskJob,
    CheckHook,
    CheckToken,
    DeleteBuild,
    ForgetRecords,
    ReadHead,
    ReadRefs,
    RecordAgain,
    RecordMissed,
    Resend,
    ResolveEvent,
    ResumeBuild,
    SettleEvents,
    Step,
    StopBuild,
)
from bessemer.kinds.buildtrigger.records import (
    Record,
    RecordedEvent,
    build_outcome_patch,
    build_record,
    put_record,
    repeat_event,
)
from bessemer.kinds.buildtrigger.resolve import resolve_event
from bessemer.kinds.buildtrigger.resource import CLUSTER_BUILDS
from bessemer.kinds.buildtrigger.revisits import find_base
from bessemer.kinds.buildtrigger.scope import get_project
from bessemer.kinds.buildtrigger.sender import send_report
from bessemer.kube.protocol import CONFIG_MAPS, AlreadyExists, Conflict, Refused

LONGEST_PAUSE_SECONDS = 60.0
"""After calls of GitLab that fail, if GitLab does not ask for another one."""
MOST_PROJECTS = 100
"""Projects of a group whose branches and tags are compared: each costs two requests at least."""
LAG_SECONDS = 60.0
"""How long after an event GitLab may say that it does not know the commit."""


async def perform(deps: TriggerDeps, facts: Facts, step: Step | None) -> Facts:
    """Execute a step; GitLab's errors become facts. Raises Retry, and the errors of the Kubernetes client."""
    facts = replace(facts, steps=facts.steps + 1)
    match step:
        case CheckToken() | ReadRefs() | ReadHead() | ResolveEvent() | AskJob():
            return await _ask(deps, facts, step)
        case CheckHook() | Resend():
            return await check_webhook(deps, facts, step)
        case RecordAgain() | RecordMissed() | SettleEvents() | ForgetRecords():
            return await _change_records(deps, facts, step)
        case ApplyBuild():
            return await _apply(deps, facts, step)
        case AbortBuild() | StopBuild() | ResumeBuild() | DeleteBuild():
            return await _change_build(deps, facts, step)
        case _:
            return facts if step is None else await send_report(deps, facts, step)


async def _change_build(
    deps: TriggerDeps, facts: Facts, step: AbortBuild | StopBuild | ResumeBuild | DeleteBuild
) -> Facts:
    namespace = facts.trigger.namespace
    if isinstance(step, DeleteBuild):
        await deps.kubernetes.delete_object(CLUSTER_BUILDS, namespace, step.build, uid=step.uid)
    else:
        if isinstance(step, ResumeBuild):
            # A new value: the build may have ended as aborted meanwhile, and is not finished until it has seen this.
            orders: dict[str, str | None] = {ABORT_ANNOTATION: None, RETRY_ANNOTATION: f"{step.event}-resumed"}
        else:
            why = REPLACED if isinstance(step, AbortBuild) else UNWANTED
            orders = {ABORT_ANNOTATION: f"{why}{step.record.name}"}
        patch = {"metadata": {"annotations": orders}}
        await deps.kubernetes.patch_object(CLUSTER_BUILDS, namespace, step.build, patch)
    return replace(facts, builds=await list_builds(deps, facts.trigger))


async def _ask(
    deps: TriggerDeps, facts: Facts, step: CheckToken | ReadRefs | ReadHead | ResolveEvent | AskJob
) -> Facts:
    """Ask GitLab, and remember the answer; a failure is remembered as well, and when to ask again."""
    memory = deps.memories.get((facts.trigger.namespace, facts.trigger.name))
    try:
        gitlab, _ = await use_gitlab(deps, facts, memory)
        repository = gitlab.repository
        match step:
            case CheckToken():
                expiry = await repository.get_expiry()
                memory.source = replace(memory.source, expires_at=expiry, expiry_read=deps.now())
            case ReadRefs():
                await _read_refs(deps, facts, repository, memory)
            case ReadHead():
                await _read_head(deps, facts, repository, memory, step)
            case ResolveEvent():
                await _resolve(deps, facts, repository, memory, step)
            case AskJob():
                await _ask_job(deps, facts, repository, memory, step.record)
    except (Invalid, Retry) as error:
        _note_failure(deps, memory, error)
    else:
        memory.failures = 0
        memory.source = replace(memory.source, asked=True, problem=None, retry_at=None)
    facts = replace(facts, source=memory.source, refs=memory.refs, unread=memory.unread, jobs=dict(memory.jobs))
    return replace(facts, heads=dict(memory.heads), answers=dict(memory.answers))


async def _read_refs(deps: TriggerDeps, facts: Facts, repository: Repository, memory: Memory) -> None:
    """Read the branches and tags of one project. Of a group, the first step lists its projects, and all are compared
    when the last one was read.
    """
    spec = facts.trigger.spec
    if spec is None:
        return
    if spec.gitlab.group is None:
        if memory.project_id is None:
            memory.project_id = await repository.get_project_id(spec.gitlab.project or "")
        known = memory.round = memory.round or Round([""])
    elif memory.round is None:
        listed = await repository.list_projects(spec.gitlab.group)
        memory.round = Round(listed[:MOST_PROJECTS])
        if len(listed) > MOST_PROJECTS:
            memory.round.problem = Problem("RefsTooLarge", f"the group has more than {MOST_PROJECTS} projects")
        return
    else:
        known = memory.round
    if known.left:
        await _read_project(spec, repository, known)
    if not known.left:
        memory.refs, memory.unread, memory.round = known.refs, frozenset(known.unread), None
        memory.source = replace(memory.source, refs_read=deps.now(), refs_problem=known.problem)


async def _read_project(spec: BuildTriggerSpec, repository: Repository, known: Round) -> None:
    """Read the branches and tags of the next project; one that can't be read holds up no other."""
    project, key = known.left[0], known.left[0].lower()
    try:
        heads = await repository.list_heads(project or spec.gitlab.project or "")
        places = {(key, ref): head for ref, head in heads.items()}
        fitting = list_fitting(spec, places)
        if len(fitting) > MOST_REFS - len(known.refs):
            known.problem = Problem("RefsTooLarge", f"more than {MOST_REFS} branches and tags of the group have a rule")
        # Each later decision looks at all of them.
        known.refs |= {place: head for place, head, _ in fitting[: MOST_REFS - len(known.refs)]}
    except AnswerTooLarge as error:
        # Anyone who may push a branch can cause that: it must not hold up the events that webhooks tell.
        known.unread.add(key)
        known.problem = Problem("RefsTooLarge", f"{project}: {error.message}" if project else error.message)
    except (GitLabNotFound, GitLabRefused):
        if not project:
            raise
        known.unread.add(key)  # it has no repository, or was just deleted
    known.left.pop(0)


async def _read_head(deps: TriggerDeps, facts: Facts, repository: Repository, memory: Memory, step: ReadHead) -> None:
    spec = facts.trigger.spec
    if spec is not None:
        read_at = deps.now()  # before the call: an event that arrives meanwhile may be newer than the answer
        place = (step.project.lower() if spec.gitlab.group is not None else "", step.ref)
        events = frozenset(record.name for record in facts.records.own if record.event.place == place)
        try:
            head = await repository.get_head(step.project, step.ref)
            found = HeadFact(head, read_at, events=events)
            known = memory.heads.get(place)
            if known is not None and known.head != head:
                # Whether a rule holds depends on it: the ref may not be protected any more.
                memory.answers = {name: one for name, one in memory.answers.items() if name not in events}
        except AnswerTooSlow:
            raise
        except AnswerTooLarge as error:  # as of one ref: it must not hold up the events of others
            found = HeadFact(None, read_at, unreadable=error.message, events=events)
        memory.heads[place] = found


async def _resolve(deps: TriggerDeps, facts: Facts, repository: Repository, memory: Memory, step: ResolveEvent) -> None:
    spec, event = facts.trigger.spec, step.record.event
    if spec is None:
        return
    event = event.model_copy(update={"before": find_base(facts.records.own, step.record)})
    try:
        answer = await resolve_event(repository, facts.trigger, spec, event, step.head, deps.judging)
    except GitLabNotFound as error:
        if deps.now() - event.received < timedelta(seconds=LAG_SECONDS):
            raise  # right after a push, GitLab may not have the commit everywhere
        answer = Resolution(event.rule, refusal=Problem("CommitNotFound", error.message))
    memory.answers[step.record.name] = answer


async def _ask_job(deps: TriggerDeps, facts: Facts, repository: Repository, memory: Memory, record: Record) -> None:
    """Ask whether a job still runs. That GitLab does not know it, or does not answer, does not say that it is over."""
    spec, job, known = facts.trigger.spec, record.event.job, memory.jobs.get(record.name)
    if spec is None or job is None or known is None:
        return
    found = await repository.get_job(get_project(spec, record.event), job.id)
    memory.jobs[record.name] = replace(known, over=found is not None and found.state in OVER, asked_at=deps.now())


def _note_failure(deps: TriggerDeps, memory: Memory, error: BessemerError) -> None:
    asked = error.after if isinstance(error, Retry) else None
    pause = compute_pause(asked, memory.failures, LONGEST_PAUSE_SECONDS)
    memory.failures += 1
    retry_at = deps.now() + timedelta(seconds=pause)
    memory.source = replace(memory.source, asked=True, problem=Problem(error.reason, error.message), retry_at=retry_at)


async def _change_records(
    deps: TriggerDeps, facts: Facts, step: RecordAgain | RecordMissed | SettleEvents | ForgetRecords
) -> Facts:
    match step:
        case RecordAgain():
            return await _record(deps, facts, repeat_event(step.record.event, step.again, deps.now()))
        case RecordMissed():
            return await _record(deps, facts, step.event)
        case SettleEvents():
            return await _settle(deps, facts, step)
        case ForgetRecords():
            for name in step.names:
                await deps.kubernetes.delete_object(CONFIG_MAPS, facts.trigger.namespace, name)
            left = tuple(record for record in facts.records.own if record.name not in step.names)
            return replace(facts, records=replace(facts.records, own=left))


async def _record(deps: TriggerDeps, facts: Facts, event: RecordedEvent) -> Facts:
    seal = await deps.own_key.get_seal()
    body = build_record(facts.trigger, event, seal)
    try:
        raw = await deps.kubernetes.create_object(CONFIG_MAPS, facts.trigger.namespace, body)
    except AlreadyExists:  # an interrupted pass, or a webhook, has created it
        records, name = await list_records(deps, facts.trigger), body["metadata"]["name"]
        if all(record.name != name for record in records.own):
            records = records.disown(name)  # or a user of the namespace, who keeps the event from being recorded
        return replace(facts, records=records)
    return replace(facts, records=put_record(facts.trigger, facts.records, raw, seal))


async def _settle(deps: TriggerDeps, facts: Facts, step: SettleEvents) -> Facts:
    seal, records = await deps.own_key.get_seal(), facts.records
    for record, outcome in step.outcomes:
        patch = build_outcome_patch(facts.trigger, record, outcome, seal)
        try:
            await deps.kubernetes.patch_object(CONFIG_MAPS, facts.trigger.namespace, record.name, patch)
        except Refused:
            records = records.disown(record.name)
    # Without a new list: of a thousand records, that would take longer than all else.
    settled = {record.name: outcome for record, outcome in step.outcomes}
    own = tuple(replace(record, outcome=settled.get(record.name, record.outcome)) for record in records.own)
    return replace(facts, records=replace(records, own=own))


async def _apply(deps: TriggerDeps, facts: Facts, step: ApplyBuild) -> Facts:
    """Apply a ClusterBuild; one of that name that is not the trigger's is left alone."""
    trigger, spec = facts.trigger, facts.trigger.spec
    if spec is None:
        return facts
    name = step.cluster.name
    body = build_manifest(trigger, step.record, step.rule, step.cluster, get_project(spec, step.record.event))
    found = await deps.kubernetes.get_object(CLUSTER_BUILDS, trigger.namespace, name)
    if found is not None and not belongs_to(trigger.name, found):
        text = f"ClusterBuild {name} exists, and was not made by this trigger"
        return _note_refusal(facts, step, NAME_TAKEN, text)
    if found is not None:
        body["metadata"]["uid"] = found["metadata"]["uid"]
    try:
        written = await deps.kubernetes.apply_object(CLUSTER_BUILDS, trigger.namespace, body, force=found is not None)
    except Conflict as error:
        raise Retry("Conflict", error.message, after=0.2) from error
    except Refused as error:
        if error.reason == QUOTA_EXCEEDED:
            raise Retry(error.reason, error.message) from error
        return _note_refusal(facts, step, "BuildRefused", error.message)
    others: list[BuildFact] = [build for build in facts.builds if build.name != name]
    builds = sorted([*others, parse_build(written)], key=lambda build: build.name)
    return replace(facts, builds=tuple(builds))


def _note_refusal(facts: Facts, step: ApplyBuild, reason: str, message: str) -> Facts:
    refused = Problem(reason, f"{step.cluster.path}: {step.cluster.name}: {message}")
    return replace(facts, refusals={**facts.refusals, step.record.name: refused})
