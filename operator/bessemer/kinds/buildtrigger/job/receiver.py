"""Serves jobs of GitLab: POST asks for a build, GET says how far it is, DELETE aborts it.

A job proves who it is before its body is read, and learns only of builds that its own pipeline has asked for. What it
wants is recorded; everything else is done by a pass.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from aiohttp import hdrs, web

from bessemer.api.base import ApiModel, write_json
from bessemer.api.jobprogress import JobProgress, LogQuery, Refusal
from bessemer.api.names import build_label_value
from bessemer.api.wellknown import TRIGGER_LABEL
from bessemer.engine.boundary import contain
from bessemer.engine.kind import Route
from bessemer.errors import BessemerError, Retry
from bessemer.gitlab.idtoken import ProofRefused
from bessemer.gitlab.protocol import RateLimited
from bessemer.kinds.buildtrigger.deps import TriggerDeps
from bessemer.kinds.buildtrigger.job.caller import (
    Caller,
    UnknownTarget,
    authenticate,
    check_running,
    confirm,
    get_job,
    spend_job_call,
)
from bessemer.kinds.buildtrigger.job.phaselog import find_place, parse_query
from bessemer.kinds.buildtrigger.job.progress import build_progress, list_own_builds
from bessemer.kinds.buildtrigger.job.readlog import read_log
from bessemer.kinds.buildtrigger.job.request import (
    MOST_BYTES,
    JobRefused,
    build_job_event,
    choose_job_rule,
    parse_request,
)
from bessemer.kinds.buildtrigger.records import Record, build_record, build_unwanted_patch, parse_records
from bessemer.kinds.buildtrigger.resource import CLUSTER_BUILDS
from bessemer.kube.protocol import CONFIG_MAPS, AlreadyExists
from bessemer.web.body import BODY_SECONDS, BodyRefused, answer_at_once, read_body
from bessemer.web.connections import mark_proven

PATH = "/v1/triggers/{namespace}/{name}/job"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,251}[a-z0-9])?")


Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]
Work = Callable[[TriggerDeps, web.Request, Caller], Awaitable[tuple[int, str, ApiModel]]]
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
    caller = await authenticate(deps, request)
    mark_proven(request)
    spend_job_call(caller.memory, caller.identity.job_id, deps.now().timestamp())
    return await work(deps, request, caller)


async def _build(deps: TriggerDeps, request: web.Request, caller: Caller) -> tuple[int, str, ApiModel]:
    """Record that a job wants a build."""
    until = asyncio.get_running_loop().time() + BODY_SECONDS
    wanted = parse_request(await read_body(request, MOST_BYTES, until))
    of_request = caller.identity.merge_request
    job = await get_job(deps, caller) if of_request else None
    identity = await confirm(deps, caller, job) if of_request else caller.identity
    rule = choose_job_rule(caller.spec, identity, caller.audience, caller.project_in_group)
    seal = await deps.own_key.get_seal()
    event = build_job_event(identity, rule, wanted, deps.now(), caller.project_in_group)
    body = build_record(caller.trigger, event, seal)
    name = body["metadata"]["name"]
    if await deps.kubernetes.get_object(CONFIG_MAPS, caller.trigger.namespace, name) is None:
        check_running(identity, job or await get_job(deps, caller))
        with suppress(AlreadyExists):  # the same request, sent twice
            await deps.kubernetes.create_object(CONFIG_MAPS, caller.trigger.namespace, body)
    deps.wake(caller.key)
    record = await _find_record(deps, caller, name)
    return 202, "Taken", build_progress(record, [])


async def _show(deps: TriggerDeps, request: web.Request, caller: Caller) -> tuple[int, str, ApiModel]:
    """Return how far a build is; that the job asks says that it still runs."""
    record = await _find_record(deps, caller, request.match_info["record"])
    known = caller.memory.jobs.get(record.name)
    if known is not None and record.event.job is not None and record.event.job.id == caller.identity.job_id:
        caller.memory.jobs[record.name] = replace(known, heard_at=deps.now())
    return 200, "Shown", await _get_progress(deps, caller, record, parse_query(request.query))


async def _abort(deps: TriggerDeps, request: web.Request, caller: Caller) -> tuple[int, str, ApiModel]:
    """Record that a job does not want its build any more."""
    record = await _find_record(deps, caller, request.match_info["record"])
    if not record.unwanted:
        patch = build_unwanted_patch(caller.trigger, record.name, await deps.own_key.get_seal())
        await deps.kubernetes.patch_object(CONFIG_MAPS, caller.trigger.namespace, record.name, patch)
    deps.wake(caller.key)
    return 202, "Aborted", await _get_progress(deps, caller, replace(record, unwanted=True))


async def _find_record(deps: TriggerDeps, caller: Caller, name: str) -> Record:
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
    deps: TriggerDeps, caller: Caller, record: Record, query: LogQuery | None = None
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
