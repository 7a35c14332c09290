"""Serves jobs of GitLab: POST asks for a build, GET says how far it is, DELETE aborts it.

A job proves who it is before its body is read, and learns only of builds that its own pipeline has asked for. What it
wants is recorded; everything else is done by a pass.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from aiohttp import hdrs, web

from bessemer.api.base import ApiModel, write_json
from bessemer.api.buildtrigger.resource import BuildTrigger, parse_build_trigger
from bessemer.api.buildtrigger.spec import BuildTriggerSpec
from bessemer.api.jobprogress import JobProgress, LogQuery, Refusal
from bessemer.api.names import build_label_value
from bessemer.api.wellknown import TRIGGER_LABEL
from bessemer.engine.boundary import contain
from bessemer.engine.kind import Route
from bessemer.engine.loop import Key
from bessemer.errors import BessemerError, Invalid, Retry
from bessemer.gitlab.events import MERGE_REQUEST
from bessemer.gitlab.idtoken import ProofRefused
from bessemer.gitlab.jobidentity import RUNNING, JobIdentity
from bessemer.gitlab.limits import Budget
from bessemer.gitlab.protocol import Job, RateLimited, Repository
from bessemer.kinds.buildtrigger.access import Access
from bessemer.kinds.buildtrigger.calling import spend_call
from bessemer.kinds.buildtrigger.deps import TriggerDeps
from bessemer.kinds.buildtrigger.job.phaselog import (
    find_place,
    parse_query,
)
from bessemer.kinds.buildtrigger.job.progress import build_progress, list_own_builds
from bessemer.kinds.buildtrigger.job.readlog import read_log
from bessemer.kinds.buildtrigger.job.request import (
    MOST_BYTES,
    JobRefused,
    build_job_event,
    check_project,
    choose_job_rule,
    confirm_merge_request,
    list_audiences,
    parse_request,
    takes_job_tokens,
    takes_merge_requests,
)
from bessemer.kinds.buildtrigger.memory import JOB_CALLS, JOB_CALLS_PER_SECOND, MOST_JOBS, Memory
from bessemer.kinds.buildtrigger.records import Record, build_record, build_unwanted_patch, parse_records
from bessemer.kinds.buildtrigger.resource import CLUSTER_BUILDS
from bessemer.kinds.buildtrigger.rules import get_scope
from bessemer.kube.protocol import CONFIG_MAPS, AlreadyExists
from bessemer.web.body import BODY_SECONDS, BodyRefused, answer_at_once, read_body
from bessemer.web.connections import mark_proven

PATH = "/v1/triggers/{namespace}/{name}/job"
JOB_TOKEN_HEADER = "JOB-TOKEN"  # noqa: S105  the name that GitLab has for it
T = TypeVar("T")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,251}[a-z0-9])?")


class UnknownTarget(Invalid):
    """There is no such trigger, or no such record that the job may see."""


@dataclass(frozen=True)
class _Caller:
    """A job that has proven who it is, and the trigger that it speaks to."""

    trigger: BuildTrigger
    spec: BuildTriggerSpec
    memory: Memory
    access: Access
    identity: JobIdentity
    audience: str | None
    """The audience of its ID token."""
    project: str = ""
    """Full path of its project."""

    @property
    def key(self) -> Key:
        return self.trigger.namespace, self.trigger.name

    @property
    def project_in_group(self) -> str:
        """Its project, where the trigger is for a group."""
        return self.project if self.spec.gitlab.group is not None else ""


Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]
Work = Callable[[TriggerDeps, web.Request, _Caller], Awaitable[tuple[int, str, ApiModel]]]
"""Returns the status of the answer, the outcome that is counted, and the body."""


def build_job_routes(deps: TriggerDeps) -> tuple[Route, ...]:
    """Return the routes for jobs."""

    def serve(work: Work) -> Serve:
        return partial(_serve, deps, work)

    record = f"{PATH}/{{record}}"
    return (
        Route(PATH, serve(_build)),
        Route(record, serve(_show), hdrs.METH_GET),
        Route(record, serve(_abort), hdrs.METH_DELETE),
    )


async def _serve(
    deps: TriggerDeps,
    work: Work,
    request: web.Request,
) -> web.StreamResponse:
    """Answer one request, with a reason where it is refused."""
    headers = {}
    try:
        status, outcome, body = await contain("a request of a job", _admit(deps, work, request))
    except BodyRefused as refused:
        deps.trigger_metrics.count_request(refused.reason)
        return await answer_at_once(request, web.Response(status=refused.status))
    except BessemerError as error:
        status, outcome = _find_status(error), error.reason
        body = Refusal(reason=error.reason, message=error.message[:2048])
        if isinstance(error, Retry):
            headers[hdrs.RETRY_AFTER] = str(max(1, round(error.after or 5)))
    deps.trigger_metrics.count_request(outcome)
    return web.Response(status=status, text=write_json(body.to_api()), content_type="application/json", headers=headers)


def _find_status(error: BessemerError) -> int:
    kinds = ((ProofRefused, 401), (JobRefused, 403), (UnknownTarget, 404), (RateLimited, 429), (Retry, 503))
    return next((status for kind, status in kinds if isinstance(error, kind)), 400)


async def _admit(
    deps: TriggerDeps,
    work: Work,
    request: web.Request,
) -> tuple[int, str, ApiModel]:
    caller = await _authenticate(deps, request)
    mark_proven(request)
    _spend_call(caller.memory, caller.identity.job_id, deps.now().timestamp())
    return await work(deps, request, caller)


def _spend_call(memory: Memory, job: int, now: float) -> None:
    """Count a request of a job; raises RateLimited where it has sent too many."""
    budget = memory.job_calls.pop(job, None) or Budget(JOB_CALLS, JOB_CALLS_PER_SECOND)
    memory.job_calls[job] = budget
    if len(memory.job_calls) > MOST_JOBS:
        del memory.job_calls[next(iter(memory.job_calls))]
    wait = budget.spend(now)
    if wait > 0:
        raise RateLimited("the job asks too often", wait)


async def _authenticate(deps: TriggerDeps, request: web.Request) -> _Caller:
    """Return the job that has sent a request; raises ProofRefused, JobRefused, UnknownTarget, Retry."""
    key = (request.match_info["namespace"], request.match_info["name"])
    trigger, memory = deps.triggers.parse(key, parse_build_trigger), deps.memories.find(key)
    spec = trigger.spec if trigger is not None and trigger.deleted is None else None
    if trigger is None or spec is None or not any(rule.job for rule in spec.rules):
        raise UnknownTarget("UnknownTrigger", "there is no such trigger, or none of its rules is for jobs")
    access = memory.access if memory is not None else None
    if memory is None or access is None:
        raise Retry("NotReady", "the trigger was not looked at yet")
    if spec.gitlab.ca_secret is not None and access.ca is None:
        raise Retry("SecretMissing", "GitLab's certificate can't be verified as spec.gitlab.caSecret wants it")
    identity, audience = await _prove(deps, key, spec, access, request)
    if identity.merge_request and not takes_merge_requests(spec):
        raise ProofRefused("WrongPipeline", "the job's pipeline is that of a merge request, and no rule is for these")
    caller = _Caller(trigger, spec, memory, access, identity, audience)
    return replace(caller, project=await _find_project(deps, caller))


async def _find_project(deps: TriggerDeps, caller: _Caller) -> str:
    """Return the full path of a job's project; raises JobRefused OtherProject for one of no project of the trigger."""
    spec, memory, identity = caller.spec, caller.memory, caller.identity
    if spec.gitlab.group is None:
        project = spec.gitlab.project or ""
        if memory.project_id is None:
            repository = await _get_repository(deps, caller.key, spec, caller.access)
            memory.project_id = await _ask(repository.get_project_id(project))
        check_project(identity, memory.project_id)
        return project
    number = identity.project_id
    if number not in memory.paths:
        repository = await _get_repository(deps, caller.key, spec, caller.access)
        spend_call(memory.path_calls, deps.now().timestamp(), "jobs")
        path = await _ask(repository.get_project_path(number))
        if path is None or not get_scope(spec).has_project(path):
            raise JobRefused("OtherProject", f"the job is one of project {number}, which is not in the trigger's group")
        memory.paths[number] = path
    return memory.paths[number]


async def _prove(
    deps: TriggerDeps, key: Key, spec: BuildTriggerSpec, access: Access, request: web.Request
) -> tuple[JobIdentity, str | None]:
    """Return the job and, of an ID token, its audience."""
    job_token = request.headers.get(JOB_TOKEN_HEADER)
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    client = await deps.proofs.use(key, spec.gitlab.url, None, access.ca)
    if job_token is not None:
        if not takes_job_tokens(spec):
            raise ProofRefused("ProofNotAccepted", "no rule of the trigger takes job tokens")
        return await client.prove_job_token(job_token), None
    if scheme.lower() != "bearer" or not token:
        raise ProofRefused("NoProof", f"neither an ID token as a bearer token, nor the header {JOB_TOKEN_HEADER}")
    refused = ProofRefused("ProofNotAccepted", "no rule of the trigger takes ID tokens")
    for audience in list_audiences(spec):
        try:
            return await client.prove_id_token(token.strip(), audience, deps.now()), audience
        except ProofRefused as error:
            refused = error
            if error.reason != "WrongAudience":
                break
    raise refused


async def _get_repository(deps: TriggerDeps, key: Key, spec: BuildTriggerSpec, access: Access) -> Repository:
    if access.api_token is None:
        raise Retry("SecretMissing", "the trigger has no access token that can be used")
    return (await deps.gitlabs.use(key, spec.gitlab.url, access.api_token, access.ca)).repository


async def _ask(question: Awaitable[T]) -> T:
    """Return GitLab's answer to a question of the operator's; a refusal of its token says nothing of the job."""
    try:
        return await question
    except Invalid as error:
        raise Retry(error.reason, error.message) from error


async def _build(deps: TriggerDeps, request: web.Request, caller: _Caller) -> tuple[int, str, ApiModel]:
    """Record that a job wants a build."""
    until = asyncio.get_running_loop().time() + BODY_SECONDS
    wanted = parse_request(await read_body(request, MOST_BYTES, until))
    identity = await _confirm(deps, caller)
    rule = choose_job_rule(caller.spec, identity, caller.audience, caller.project_in_group)
    seal = await deps.own_key.get_seal()
    event = build_job_event(identity, rule, wanted, deps.now(), caller.project_in_group)
    body = build_record(caller.trigger, event, seal)
    name = body["metadata"]["name"]
    if await deps.kubernetes.get_object(CONFIG_MAPS, caller.trigger.namespace, name) is None:
        _check_running(identity, await _get_job(deps, caller))
        with suppress(AlreadyExists):  # the same request, sent twice
            await deps.kubernetes.create_object(CONFIG_MAPS, caller.trigger.namespace, body)
    deps.wake(caller.key)
    record = await _find_record(deps, caller, name)
    return 202, "Taken", build_progress(record, [])


async def _confirm(deps: TriggerDeps, caller: _Caller) -> JobIdentity:
    """Return the job, with the merge request that its pipeline is for; raises JobRefused, ProofRefused, Retry."""
    if not caller.identity.merge_request:
        return caller.identity
    job = await _get_job(deps, caller)
    repository = await _get_repository(deps, caller.key, caller.spec, caller.access)
    ref = job.ref if job is not None else ""
    of_request = ref.startswith(MERGE_REQUEST)
    head = await _ask(repository.get_head(caller.project, ref)) if of_request else None
    return confirm_merge_request(caller.identity, ref, head)


async def _get_job(deps: TriggerDeps, caller: _Caller) -> Job | None:
    repository = await _get_repository(deps, caller.key, caller.spec, caller.access)
    return await _ask(repository.get_job(caller.project, caller.identity.job_id))


def _check_running(identity: JobIdentity, job: Job | None) -> None:
    """Raise ProofRefused for a job that is over, since an ID token may outlive its job, or of another ref.

    The ID token of a child pipeline of a merge request's pipeline names the source branch, and no merge request.
    Source: child_params in app/models/ci/bridge.rb of gitlab-org/gitlab
    """
    if job is None or job.state != RUNNING:
        said = job.state if job is not None else "that there is none"
        raise ProofRefused("JobNotRunning", f"the job is not running: GitLab says {said}")
    if job.ref != identity.ref:
        raise ProofRefused("WrongPipeline", f"the job's pipeline is not that of {identity.ref}, but {job.ref}")


async def _show(deps: TriggerDeps, request: web.Request, caller: _Caller) -> tuple[int, str, ApiModel]:
    """Return how far a build is; that the job asks says that it still runs."""
    record = await _find_record(deps, caller, request.match_info["record"])
    known = caller.memory.jobs.get(record.name)
    if known is not None and record.event.job is not None and record.event.job.id == caller.identity.job_id:
        caller.memory.jobs[record.name] = replace(known, heard_at=deps.now())
    return 200, "Shown", await _get_progress(deps, caller, record, parse_query(request.query))


async def _abort(deps: TriggerDeps, request: web.Request, caller: _Caller) -> tuple[int, str, ApiModel]:
    """Record that a job does not want its build any more."""
    record = await _find_record(deps, caller, request.match_info["record"])
    if not record.unwanted:
        patch = build_unwanted_patch(caller.trigger, record.name, await deps.own_key.get_seal())
        await deps.kubernetes.patch_object(CONFIG_MAPS, caller.trigger.namespace, record.name, patch)
    deps.wake(caller.key)
    return 202, "Aborted", await _get_progress(deps, caller, replace(record, unwanted=True))


async def _find_record(deps: TriggerDeps, caller: _Caller, name: str) -> Record:
    """Return a record that a job of the same pipeline has caused; raises UnknownTarget for any other."""
    raw = None
    if _NAME.fullmatch(name):
        raw = await deps.kubernetes.get_object(CONFIG_MAPS, caller.trigger.namespace, name)
    own = parse_records(caller.trigger, [raw], await deps.own_key.get_seal()).own if raw is not None else ()
    for record in own:
        if record.event.job is not None and record.event.job.pipeline == caller.identity.pipeline_id:
            return record
    raise UnknownTarget("UnknownRecord", "the job's pipeline has not asked for a build of this name")


async def _get_progress(
    deps: TriggerDeps, caller: _Caller, record: Record, query: LogQuery | None = None
) -> JobProgress:
    """Return how far a build is, with the lines of a log that were asked for.

    The log is read after the state: that of a phase which has ended is read to its end.
    """
    namespace = caller.trigger.namespace
    labels = f"{TRIGGER_LABEL}={build_label_value(caller.trigger.name)}"
    raw = await deps.kubernetes.list_objects(CLUSTER_BUILDS, namespace, labels=labels)
    builds = list_own_builds(record, raw)
    progress = build_progress(record, builds)
    place = find_place(builds, query) if query is not None else None
    if query is not None and place is not None:
        progress = progress.model_copy(update={"log": await read_log(deps.kubernetes, namespace, query, place)})
    return progress
