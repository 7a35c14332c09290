"""The job that calls: how it proves who it is, and what GitLab says of it."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, replace
from typing import TypeVar

from aiohttp import hdrs, web

from bessemer.api.buildtrigger.resource import BuildTrigger, parse_build_trigger
from bessemer.api.buildtrigger.spec import BuildTriggerSpec
from bessemer.engine.loop import Key
from bessemer.errors import Invalid, Retry
from bessemer.gitlab.events import MERGE_REQUEST
from bessemer.gitlab.idtoken import ProofRefused
from bessemer.gitlab.jobidentity import RUNNING, JobIdentity
from bessemer.gitlab.limits import Budget
from bessemer.gitlab.protocol import Job, RateLimited, Repository
from bessemer.kinds.buildtrigger.access import Access
from bessemer.kinds.buildtrigger.calling import spend_call
from bessemer.kinds.buildtrigger.deps import TriggerDeps
from bessemer.kinds.buildtrigger.job.request import (
    JobRefused,
    check_project,
    confirm_merge_request,
    list_audiences,
    takes_job_tokens,
    takes_merge_requests,
)
from bessemer.kinds.buildtrigger.memory import JOB_CALLS, JOB_CALLS_PER_SECOND, MOST_JOBS, Memory
from bessemer.kinds.buildtrigger.rules import get_scope

JOB_TOKEN_HEADER = "JOB-TOKEN"  # noqa: S105  the name that GitLab has for it
T = TypeVar("T")


class UnknownTarget(Invalid):
    """There is no such trigger, or no such record that the job may see."""


@dataclass(frozen=True)
class Caller:
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
        """Namespace and name of the trigger."""
        return self.trigger.namespace, self.trigger.name

    @property
    def project_in_group(self) -> str:
        """Its project, where the trigger is for a group."""
        return self.project if self.spec.gitlab.group is not None else ""


async def authenticate(deps: TriggerDeps, request: web.Request) -> Caller:
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
    caller = Caller(trigger, spec, memory, access, identity, audience)
    return replace(caller, project=await _find_project(deps, caller))


async def _find_project(deps: TriggerDeps, caller: Caller) -> str:
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


def spend_job_call(memory: Memory, job: int, now: float) -> None:
    """Count a request of a job; raises RateLimited where it has sent too many."""
    budget = memory.job_calls.pop(job, None) or Budget(JOB_CALLS, JOB_CALLS_PER_SECOND)
    memory.job_calls[job] = budget
    if len(memory.job_calls) > MOST_JOBS:
        del memory.job_calls[next(iter(memory.job_calls))]
    wait = budget.spend(now)
    if wait > 0:
        raise RateLimited("the job asks too often", wait)


async def get_job(deps: TriggerDeps, caller: Caller) -> Job | None:
    """Return the job as GitLab has it."""
    repository = await _get_repository(deps, caller.key, caller.spec, caller.access)
    return await _ask(repository.get_job(caller.project, caller.identity.job_id))


async def confirm(deps: TriggerDeps, caller: Caller, job: Job | None) -> JobIdentity:
    """Return a job of a merge request's pipeline with that merge request; ``job`` is how GitLab has it.

    Raises JobRefused, ProofRefused, Retry.
    """
    repository = await _get_repository(deps, caller.key, caller.spec, caller.access)
    ref = job.ref if job is not None else ""
    of_request = ref.startswith(MERGE_REQUEST)
    head = await _ask(repository.get_head(caller.project, ref)) if of_request else None
    return confirm_merge_request(caller.identity, ref, head)


def check_running(identity: JobIdentity, job: Job | None) -> None:
    """Raise ProofRefused for a job that is over, since an ID token may outlive its job, or of another ref.

    The ID token of a child pipeline of a merge request's pipeline names the source branch, and no merge request.
    Source: child_params in app/models/ci/bridge.rb of gitlab-org/gitlab
    """
    if job is None or job.state != RUNNING:
        said = job.state if job is not None else "that there is none"
        raise ProofRefused("JobNotRunning", f"the job is not running: GitLab says {said}")
    if job.ref != identity.ref:
        raise ProofRefused("WrongPipeline", f"the job's pipeline is not that of {identity.ref}, but {job.ref}")
