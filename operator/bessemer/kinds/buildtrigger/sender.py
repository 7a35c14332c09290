"""Tells GitLab what was decided, and remembers its answers. A failure never concerns a build."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from bessemer.errors import BessemerError, Invalid, Retry
from bessemer.gitlab.protocol import AccessTokenRefused, GitLabNotFound, GitLabRejected, GitLabUnavailable
from bessemer.gitlab.reports import OPEN, CommitStatus, Deployment, Reports
from bessemer.kinds.buildtrigger.calling import compute_pause, spend_call, use_gitlab
from bessemer.kinds.buildtrigger.deps import TriggerDeps
from bessemer.kinds.buildtrigger.facts import Facts
from bessemer.kinds.buildtrigger.memory import Memory
from bessemer.kinds.buildtrigger.observe import list_records
from bessemer.kinds.buildtrigger.records import build_report_patch, put_record
from bessemer.kinds.buildtrigger.report.statuses import PREFIX, can_follow
from bessemer.kinds.buildtrigger.report.targets import adjust_target
from bessemer.kinds.buildtrigger.reported import (
    CreateDeployment,
    DeploymentStep,
    FindDeployment,
    FindMergeRequests,
    FindNote,
    Known,
    KnownNote,
    ReadStatuses,
    RecordReport,
    Refusal,
    ReportCall,
    ReportingFact,
    ReportStep,
    ResolveNote,
    SendStatus,
    UpdateDeployment,
    WriteNote,
)
from bessemer.kinds.buildtrigger.scope import get_project
from bessemer.kube.protocol import CONFIG_MAPS, Refused

CALL_SECONDS = 30.0
"""How long a pass waits for GitLab here; after a failure, the pass goes on without it."""
LONGEST_PAUSE_SECONDS = 300.0
"""After calls that fail, if GitLab does not ask for another one."""


async def send_report(deps: TriggerDeps, facts: Facts, step: ReportStep) -> Facts:
    """Execute a step; GitLab's errors become facts. Raises the errors of the Kubernetes client."""
    trigger = facts.trigger
    if isinstance(step, RecordReport):
        seal = await deps.own_key.get_seal()
        patch = build_report_patch(trigger, step.event, step.state, seal)
        try:
            raw = await deps.kubernetes.patch_object(CONFIG_MAPS, trigger.namespace, step.event, patch)
        except Refused:
            return replace(facts, records=facts.records.disown(step.event))
        if raw is None:  # it was deleted
            return replace(facts, records=await list_records(deps, trigger))
        return replace(facts, records=put_record(trigger, facts.records, raw, seal))
    memory = deps.memories.get((trigger.namespace, trigger.name))
    known = memory.reports.get(step.event, Known())
    try:
        known = await _call(deps, facts, memory, known, step)
    except (Retry, AccessTokenRefused) as error:
        known = _forget(known, step) if isinstance(error, GitLabUnavailable) else known
        _note_failure(deps, memory, error)
    except Invalid as error:
        known = _refuse(known, step, error)
    else:
        memory.reporting, memory.report_failures = ReportingFact(), 0
    memory.reports[step.event] = known
    return replace(facts, reports=dict(memory.reports), reporting=memory.reporting)


async def _call(deps: TriggerDeps, facts: Facts, memory: Memory, known: Known, step: ReportCall) -> Known:
    spend_call(memory.report_calls, deps.now().timestamp(), "reports")
    client, gitlab = await use_gitlab(deps, facts, memory)
    reports, project = client.reports, _find_project(facts, step)
    try:
        async with asyncio.timeout(CALL_SECONDS):
            match step:
                case ReadStatuses():
                    return _take_statuses(known, step, await reports.list_statuses(step.target, PREFIX))
                case SendStatus():
                    async with deps.commits.hold(gitlab.url, project, step.target.commit):
                        return _take_answer(known, step, await reports.set_status(step.target, step.status))
                case FindMergeRequests():
                    return await _find_merge_requests(reports, known, step)
                case FindNote() | WriteNote() | ResolveNote():
                    note = await _work_on_note(deps, reports, project, step)
                    return replace(known, notes={**known.notes, step.iid: note})
                case FindDeployment() | CreateDeployment() | UpdateDeployment():
                    found = await _work_on_deployment(reports, project, step)
                    return replace(known, deployments={**known.deployments, step.build: found})
    except TimeoutError:
        raise GitLabUnavailable(f"no whole answer within {CALL_SECONDS:g} s") from None


def _find_project(facts: Facts, step: ReportCall) -> str:
    """Return the project of an event."""
    spec = facts.trigger.spec
    event = next((record.event for record in facts.records.own if record.name == step.event), None)
    if spec is None or event is None:
        raise GitLabNotFound("the event was deleted")
    return get_project(spec, event)


def _take_statuses(known: Known, step: ReadStatuses, found: list[CommitStatus]) -> Known:
    """Return what is known after all statuses were read; where the pipeline was not recorded, the latest one counts."""
    own = [status for status in found if status.name in step.names]
    pipelines = [status.pipeline for status in own if status.pipeline is not None]
    pipeline = step.target.pipeline or (pipelines[-1] if pipelines else None)
    strays = tuple(status for status in own if status.pipeline != pipeline and status.state in OPEN)
    statuses = {status.name: status.state for status in own if status.pipeline == pipeline}
    target = replace(step.target, pipeline=pipeline)
    return replace(known, statuses=statuses, strays=strays, read=True, target=target)


def _take_answer(known: Known, step: SendStatus, answer: CommitStatus) -> Known:
    sent = step.status
    stray = next((one for one in known.strays if (one.name, one.pipeline) == (sent.name, step.target.pipeline)), None)
    if stray is not None:
        return replace(known, strays=tuple(one for one in known.strays if one is not stray))
    target = replace(step.target, pipeline=answer.pipeline or step.target.pipeline)
    known = replace(known, statuses={**(known.statuses or {}), sent.name: answer.state}, read=False, target=target)
    if answer.state is not sent.state and can_follow(answer.state, sent.state) is not None:
        text = f"it is {answer.state}, and can't become {sent.state}"
        return replace(known, refusals={**known.refusals, sent.name: Refusal("CannotTransition", text)})
    return known


async def _find_merge_requests(reports: Reports, known: Known, step: FindMergeRequests) -> Known:
    project = step.target.project
    try:
        listed = await reports.list_merge_requests(project, step.target.commit)
    except GitLabNotFound:
        listed = []  # the commit is gone; setting its statuses says so
    requests = [await reports.get_merge_request(project, one.iid) for one in listed]
    target = adjust_target(step.target, requests)
    found = {*(known.merge_requests or ()), *(one.iid for one in requests)}  # also one that was closed meanwhile
    return replace(known, merge_requests=tuple(sorted(found)), target=target, asked_last=step.last)


async def _work_on_note(
    deps: TriggerDeps, reports: Reports, project: str, step: FindNote | WriteNote | ResolveNote
) -> KnownNote:
    if isinstance(step, FindNote):
        found = await reports.find_note(project, step.iid, step.marker)
        return KnownNote(found.id, found.body, found.discussion, found.resolved) if found is not None else KnownNote()
    known = step.known
    if isinstance(step, ResolveNote):
        await reports.resolve_discussion(project, step.iid, known.discussion or "", resolved=step.resolved)
        return replace(known, resolved=step.resolved)
    if known.id is None:
        made = await reports.create_note(project, step.iid, step.body, discussion=step.discussion)
        return KnownNote(made.id, step.body, made.discussion, made.resolved, deps.now())
    try:
        await reports.update_note(project, step.iid, known.id, step.body)
    except GitLabNotFound:
        return KnownNote()  # a user has deleted it: there will be a new one
    return replace(known, body=step.body, written=deps.now())


async def _work_on_deployment(reports: Reports, project: str, step: DeploymentStep) -> Deployment | None:
    match step:
        case FindDeployment():
            return await reports.find_deployment(project, step.environment, step.commit)
        case CreateDeployment():
            return await reports.create_deployment(project, step.deployment)
        case UpdateDeployment():
            await reports.update_deployment(project, step.known.id, step.state)
            return Deployment(step.known.id, step.state)


def _forget(known: Known, step: ReportCall) -> Known:
    """Return what is known after a call without an answer: what it writes may be there, and is looked for again.

    A proxy gives up sooner than GitLab, and GitLab itself answers 500 to some of what it has done.
    """
    match step:
        case SendStatus():
            return replace(known, statuses=None, read=False)
        case WriteNote():
            return replace(known, notes={iid: note for iid, note in known.notes.items() if iid != step.iid})
        case CreateDeployment() | UpdateDeployment():
            left = {build: one for build, one in known.deployments.items() if build != step.build}
            return replace(known, deployments=left)
    return known


def _refuse(known: Known, step: ReportCall, error: BessemerError) -> Known:
    """Return what is known after GitLab has refused something; it is not asked for it again."""
    lost = isinstance(step, SendStatus) and step.target.pipeline is not None and isinstance(error, GitLabNotFound)
    if isinstance(step, SendStatus) and lost and not known.pipeline_lost and "ipeline" in error.message:
        return replace(known, target=replace(step.target, pipeline=None), pipeline_lost=True)
    if isinstance(step, FindMergeRequests):
        known = replace(known, merge_requests=known.merge_requests or (), asked_last=step.last)
    part = _name_part(step, error)
    return replace(known, refusals={**known.refusals, part: Refusal(error.reason, error.message)})


def _name_part(step: ReportCall, error: BessemerError) -> str:
    match step:
        case SendStatus():
            return step.status.name if isinstance(error, GitLabRejected) else "statuses"
        case ReadStatuses():
            return "statuses"
        case ResolveNote():
            return "discussions"
        case FindMergeRequests() | FindNote() | WriteNote():
            return "notes"
    return "deployments"


def _note_failure(deps: TriggerDeps, memory: Memory, error: BessemerError) -> None:
    asked = error.after if isinstance(error, Retry) else LONGEST_PAUSE_SECONDS
    pause = compute_pause(asked, memory.report_failures, LONGEST_PAUSE_SECONDS)
    memory.report_failures += 1
    memory.reporting = ReportingFact(error.reason, error.message, deps.now() + timedelta(seconds=pause))
