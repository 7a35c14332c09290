"""Where the statuses of an event go. Pure."""

from __future__ import annotations

from dataclasses import replace

from bessemer.api.buildtrigger.spec import BuildTriggerSpec
from bessemer.gitlab.events import MERGE_REQUEST
from bessemer.gitlab.reports import MergeRequest, Target
from bessemer.kinds.buildtrigger.records import Record
from bessemer.kinds.buildtrigger.reported import Known
from bessemer.kinds.buildtrigger.rules import get_short_name
from bessemer.kinds.buildtrigger.scope import get_project

REASON = "Reporting"
"""Why a step is taken that tells GitLab something; the message says what."""


def name_ref(ref: str) -> str:
    """Return a ref as GitLab's API has it: branches and tags by their names, others whole."""
    return ref if ref.startswith(MERGE_REQUEST) else get_short_name(ref)


def build_target(spec: BuildTriggerSpec, record: Record, known: Known) -> Target:
    """Return where the statuses of an event go: to the recorded pipeline, that of its job, the merge request's, or the
    latest one.
    """
    job = record.event.job
    pipeline = job.pipeline if job is not None else None
    plain = Target(get_project(spec, record.event), record.event.commit, name_ref(record.event.ref), pipeline)
    state = record.report
    if known.target is not None:
        return known.target
    if state is not None and state.pipeline is not None:
        return Target(plain.project, plain.commit, state.ref or plain.ref, state.pipeline)
    return plain


def adjust_target(target: Target, requests: list[MergeRequest]) -> Target:
    """Return where statuses go that a merge request of this ref waits for; a pipeline that is known already stays.

    A status in another pipeline of the commit would become the head pipeline of the merge request (GitLab issue
    34378). A fork's commit has no branch in the project, only the merge request's ref.
    """
    for one in requests:
        ref = f"{MERGE_REQUEST}{one.iid}/head"
        own = ref if one.from_fork else one.branch
        if target.pipeline is not None or one.commit != target.commit or target.ref not in (ref, own):
            continue
        if one.pipeline is not None and one.pipeline.commit == target.commit and not one.from_fork:
            return replace(target, ref=one.pipeline.ref, pipeline=one.pipeline.id)
        return replace(target, ref=own)
    return target
