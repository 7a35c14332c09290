"""What a job asks for, and by which rule it may. Pure."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime

from pydantic import Field, ValidationError

from bessemer.api.base import ApiModel, PrintableLine
from bessemer.api.buildtrigger.rules import Job, JobProof, Rule
from bessemer.api.buildtrigger.spec import BuildTriggerSpec
from bessemer.api.gitlab import matches_ref
from bessemer.errors import Invalid
from bessemer.foreign import Unreadable, decode_json
from bessemer.gitlab.events import MERGE_REQUEST
from bessemer.gitlab.jobidentity import JobIdentity, ProofKind
from bessemer.gitlab.protocol import Head
from bessemer.kinds.buildtrigger.records import JOB_KIND, RecordedEvent, RecordedJob
from bessemer.kinds.buildtrigger.rules import list_job_rules

_REQUEST = re.compile(re.escape(MERGE_REQUEST) + r"[1-9][0-9]*/head")
MOST_BYTES = 4096
"""Of the body of a request."""


class JobRequest(ApiModel):
    """What a job asks for."""

    manifest: PrintableLine = Field(default="", max_length=1024)
    """Path of the file with the ClusterBuild; empty: all files of the trigger."""
    cluster: PrintableLine = Field(default="", max_length=253)
    """Name of the ClusterBuild; empty: all in the files."""


class JobRefused(Invalid):
    """A job that has proven who it is may not have a build; the reason is a CamelCase word."""


def parse_request(body: bytes) -> JobRequest:
    """Return what a job asks for; raises Invalid InvalidRequest."""
    try:
        return JobRequest.model_validate(decode_json(body or b"{}", most_bytes=MOST_BYTES))
    except (Unreadable, ValidationError):
        text = "the request must be a JSON object with the texts manifest and cluster"
        raise Invalid("InvalidRequest", text) from None


def list_audiences(spec: BuildTriggerSpec) -> list[str]:
    """List the audiences that ID tokens for a trigger may have, in the order of the rules."""
    found = [rule.job.audience for rule in spec.rules if rule.job is not None and JobProof.ID_TOKEN in rule.job.proofs]
    return list(dict.fromkeys(found))


def takes_merge_requests(spec: BuildTriggerSpec) -> bool:
    """Return whether a rule is for jobs of merge requests' pipelines: only then is GitLab asked about one."""
    return any(rule.job is not None and rule.job.merge_requests for rule in spec.rules)


def confirm_merge_request(identity: JobIdentity, ref: str, head: Head | None) -> JobIdentity:
    """Return a job of a merge request's pipeline with what GitLab says of the merge request.

    ``ref`` is the job's, ``head`` where that points. Raises JobRefused for anything but the latest commit of an open
    merge request within the project: a fork's pipeline is not for its project to start, and a commit of merged results
    is in no branch.
    """
    if not _REQUEST.fullmatch(ref):
        raise JobRefused("WrongPipeline", f"the job's pipeline is not that of a merge request's own commit, but {ref}")
    if head is None or head.commit != identity.commit:
        raise JobRefused("NotLatest", f"{identity.commit[:12]} is not the latest commit of {ref}, or that is closed")
    if head.fork:
        raise JobRefused("FromFork", "the merge request is from a fork: only a comment of a member can have it built")
    return replace(identity, ref=ref, target=head.target or "", protected=head.protected)


def takes_job_tokens(spec: BuildTriggerSpec) -> bool:
    """Return whether a rule takes job tokens: only then is GitLab asked about one."""
    return any(rule.job is not None and JobProof.JOB_TOKEN in rule.job.proofs for rule in spec.rules)


def check_project(identity: JobIdentity, project_id: int) -> None:
    """Raise JobRefused OtherProject for a job of another project than the trigger's."""
    if identity.project_id != project_id:
        raise JobRefused("OtherProject", f"the job is one of project {identity.project_id}, not of the trigger's")


def choose_job_rule(spec: BuildTriggerSpec, identity: JobIdentity, audience: str | None, project: str = "") -> Rule:
    """Return the first rule by which a job may have a build; ``audience`` is that of its ID token, ``project`` its
    project in a trigger's group.

    Raises JobRefused with what is wrong with the first rule for its branch or tag.
    """
    problems = []
    for rule in list_job_rules(spec.rules, identity.ref, identity.target, project):
        problem = _find_problem(rule.job, identity, audience) if rule.job is not None else None
        if problem is None:
            return rule
        problems.append((problem[0], f"rule {rule.name}: {problem[1]}"))
    raise JobRefused(*(problems[0] if problems else ("NoRule", "no rule is for jobs of this branch or tag")))


def _find_problem(job: Job, identity: JobIdentity, audience: str | None) -> tuple[str, str] | None:
    """Return why a job may not use a rule. Whether the ref is protected may not be known yet: it is asked later."""
    if JobProof(identity.proof) not in job.proofs:
        return "ProofNotAccepted", f"it does not take a proof of the kind {identity.proof}"
    if identity.proof is ProofKind.ID_TOKEN and audience != job.audience:
        return "WrongAudience", "it takes ID tokens for another audience"
    if job.protected_only and identity.protected is False:
        return "RefNotProtected", "the branch or tag is not protected"
    if job.environments and (identity.environment is None or not matches_ref(identity.environment, job.environments)):
        return "WrongEnvironment", "the job has none of its environments, or its token does not say it"
    return None


def build_job_event(
    identity: JobIdentity, rule: Rule, request: JobRequest, now: datetime, project: str = ""
) -> RecordedEvent:
    """Return what is recorded of a job's request; a job has one record, however often it asks."""
    return RecordedEvent(
        kind=JOB_KIND,
        project=project,
        ref=identity.ref,
        commit=identity.commit,
        rule=rule.name,
        actor=identity.user,
        received=now,
        job=RecordedJob(
            id=identity.job_id, pipeline=identity.pipeline_id, manifest=request.manifest, cluster=request.cluster
        ),
        again=f"{JOB_KIND} {identity.job_id}",
    )
