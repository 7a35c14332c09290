"""Reconcile one build: the only module that sequences I/O.

One pass reads everything afresh, then decides and carries out one step at a time until nothing more can be done at
once, writes the whole status, and only then lets go of what the status now holds. A pass may die between any two calls:
the next one finds out from the objects what was done.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from time import monotonic
from typing import Any

from bessemer.api.base import build_merge_patch
from bessemer.api.clusterbuild.resource import ClusterBuild, parse_cluster_build
from bessemer.api.clusterbuild.status import ClusterBuildStatus, NodesStatus
from bessemer.api.phase_contract import INPUT_FILE
from bessemer.api.wellknown import BUILD_FINALIZER, SEAL_ANNOTATION
from bessemer.engine.boundary import NEVER
from bessemer.errors import Retry
from bessemer.kinds.clusterbuild.decide import decide
from bessemer.kinds.clusterbuild.deps import Deps
from bessemer.kinds.clusterbuild.facts import INVALID_SPEC, Claims, Facts, Refusal, SecretFact
from bessemer.kinds.clusterbuild.keys import create_keys
from bessemer.kinds.clusterbuild.leases import create_claims, delete_claims
from bessemer.kinds.clusterbuild.objects import (
    MOST_INPUT_BYTES,
    build_input,
    build_input_config_map,
    build_phase_pod,
    build_secret,
)
from bessemer.kinds.clusterbuild.observe import Reading, get_reading, list_build_pods, other_finalizers, parse_secret
from bessemer.kinds.clusterbuild.ownpods import build_seal, is_own
from bessemer.kinds.clusterbuild.plan import (
    AddFinalizer,
    Afterwork,
    ClaimMachines,
    CreateSecret,
    DeletePod,
    ForgetPod,
    Plan,
    ReleaseMachines,
    RemoveFinalizer,
    StartAttempt,
    Step,
    StopPod,
)
from bessemer.kinds.clusterbuild.status import compute_events
from bessemer.kube.pods import parse_pod
from bessemer.kube.protocol import (
    CLUSTER_BUILDS,
    CONFIG_MAPS,
    LEASES,
    PODS,
    SECRETS,
    AlreadyExists,
    Conflict,
    Object,
    Refused,
)

MAX_STEPS = 12
"""A pass takes five steps at most (finalizer, Secret, claims, stop, start); more is a decision that goes in rings."""
_log = logging.getLogger(__name__)


async def reconcile(deps: Deps, namespace: str, name: str, woken: float) -> float | None:
    """Reconcile a build; return the seconds until the next pass is due without an event.

    ``woken`` is the monotonic time at which the cause of this pass was heard of. Raises Retry (as Conflict or
    Unavailable may): the pass must be repeated soon.
    """
    reading = await get_reading(deps, namespace, name)
    if reading is None:
        deps.progress.forget((namespace, name))
        await _forget_orphans(deps, namespace, name)
        await delete_claims(deps, namespace, name)
        return NEVER
    deps.progress.know((namespace, name), reading.facts.build.uid, reading.progress_token)
    plan = await _advance(deps, reading, woken)
    try:
        written = await _write_status(deps, reading, plan.status)
    except Conflict as error:
        raise Retry("Conflict", error.message, after=0) from error
    if written is None:
        return 0
    for work in plan.afterwork:
        await _finish(deps, reading, work)
    _measure(deps, plan)
    for event in compute_events(reading.facts.build.status, plan.status, plan.settled):
        await deps.recorder.record(reading.facts.build.reference(), event)
    return plan.wake_after


async def _advance(deps: Deps, reading: Reading, woken: float) -> Plan:
    """Decide and act until no step is left; the facts are kept up to date with what was done."""
    for _ in range(MAX_STEPS):
        plan = decide(reading.facts, deps.now())
        if plan.step is None:
            return plan
        _log.info(
            "%s/%s: %s: %s",
            reading.facts.build.namespace,
            reading.facts.build.name,
            plan.move.reason,
            plan.move.message,
        )
        reading.facts = await _perform(deps, reading, plan, plan.step)
        if isinstance(plan.step, StartAttempt):
            deps.metrics.handoff_seconds.observe(monotonic() - woken)
    raise Retry("TooManySteps", "the decision does not come to an end", after=5)


async def _perform(deps: Deps, reading: Reading, plan: Plan, step: Step) -> Facts:
    facts = reading.facts
    try:
        match step:
            case AddFinalizer():
                return replace(facts, build=await _add_finalizer(deps, reading))
            case CreateSecret():
                return replace(facts, secret=await _create_secret(deps, facts))
            case ClaimMachines():
                held, conflict = await create_claims(deps, facts.build, step.claims)
                return replace(facts, claims=Claims(facts.claims.held | held, conflict))
            case StartAttempt():
                return await _start_attempt(deps, reading, step, plan.status.nodes)
            case StopPod():
                await deps.kubernetes.delete_object(PODS, facts.build.namespace, step.pod, uid=step.uid)
                pods = tuple(replace(pod, deleting=pod.deleting or pod.name == step.pod) for pod in facts.pods)
                return replace(facts, pods=pods)
    except Refused as error:
        return replace(facts, refusal=_explain_refusal(error))


def _explain_refusal(error: Refused) -> Refusal:
    if error.reason in ("NamespaceTerminating", "NameTaken", INVALID_SPEC):
        return Refusal(error.reason, error.message)
    return Refusal("QuotaExceeded" if "exceeded quota" in error.message else "PodRefused", error.message)


async def _add_finalizer(deps: Deps, reading: Reading) -> ClusterBuild:
    build = reading.facts.build
    metadata = {"finalizers": [*build.finalizers, BUILD_FINALIZER], "resourceVersion": build.resource_version}
    try:
        raw = await deps.kubernetes.patch_object(CLUSTER_BUILDS, build.namespace, build.name, {"metadata": metadata})
    except Conflict as error:
        raise Retry("Conflict", error.message, after=0) from error
    if raw is None:
        raise Retry("Vanished", "the build has just been deleted", after=0)
    reading.raw = raw
    return parse_cluster_build(raw)


async def _create_secret(deps: Deps, facts: Facts) -> SecretFact:
    build = facts.build
    given = build.spec is not None and build.spec.ssh.private_key_secret is not None
    body = build_secret(build, create_keys(with_ssh_key=not given))
    try:
        await deps.kubernetes.create_object(SECRETS, build.namespace, body)
    except AlreadyExists as error:
        raise Refused(
            error.reason, f"Secret {body['metadata']['name']} exists and belongs to something else"
        ) from error
    return parse_secret(build, body)


async def _start_attempt(deps: Deps, reading: Reading, start: StartAttempt, nodes: NodesStatus) -> Facts:
    facts, settings = reading.facts, deps.settings
    build = facts.build
    deps.progress.clear((build.namespace, build.name))
    config_map = build_input_config_map(build, build_input(build, nodes, start, settings.progress_url))
    if len(config_map["data"][INPUT_FILE]) > MOST_INPUT_BYTES:
        raise Refused(
            INVALID_SPEC, f"spec and nodes are longer than {MOST_INPUT_BYTES} bytes, which no ConfigMap can hold"
        )
    await _create_input(deps, build, config_map)
    pod = build_phase_pod(build, start, settings, config_map)
    name = pod["metadata"]["name"]
    pod["metadata"]["annotations"][SEAL_ANNOTATION] = build_seal(build, reading.seal, name, start.input_digest)
    try:
        raw = await deps.kubernetes.create_object(PODS, build.namespace, pod)
    except AlreadyExists as error:
        found = await deps.kubernetes.get_object(PODS, build.namespace, name)
        if found is None:
            raise Retry("Vanished", f"pod {name} has just been deleted", after=0) from error
        if not is_own(build, reading.seal, parse_pod(found)):
            text = f"pod {name} is there, and was not made for this build: delete it if it stays"
            raise Refused("NameTaken", text) from error
        raw = found
    reading.raw_pods[name] = raw
    return replace(facts, pods=(*facts.pods, parse_pod(raw)))


async def _create_input(deps: Deps, build: ClusterBuild, config_map: Object) -> None:
    """Create the attempt's input; one that was left by a pass that died before the pod was there is replaced."""
    name = config_map["metadata"]["name"]
    try:
        await deps.kubernetes.create_object(CONFIG_MAPS, build.namespace, config_map)
    except AlreadyExists:
        if await deps.kubernetes.get_object(PODS, build.namespace, name) is not None:
            return
        await deps.kubernetes.delete_object(CONFIG_MAPS, build.namespace, name)
        try:
            await deps.kubernetes.create_object(CONFIG_MAPS, build.namespace, config_map)
        except AlreadyExists as error:
            raise Retry("NameTaken", f"ConfigMap {name} is still being deleted", after=1) from error


async def _write_status(deps: Deps, reading: Reading, status: ClusterBuildStatus) -> Object | None:
    """Write the status if it has changed; None where the build has vanished. Raises Conflict where it has changed."""
    build, before = reading.facts.build, reading.raw.get("status") or {}
    after = status.to_api()
    if before == after:
        return reading.raw
    patch = build_merge_patch(before, after)
    body = {"metadata": {"resourceVersion": build.resource_version}, "status": patch}
    raw = await deps.kubernetes.patch_object(CLUSTER_BUILDS, build.namespace, build.name, body, subresource="status")
    if raw is not None:
        reading.raw = raw
    return raw


async def _finish(deps: Deps, reading: Reading, work: Afterwork) -> None:
    build = reading.facts.build
    match work:
        case ForgetPod():
            await _forget_pod(deps, build.namespace, reading.raw_pods[work.pod])
        case DeletePod():
            await deps.kubernetes.delete_object(PODS, build.namespace, work.pod, uid=work.uid)
            await deps.kubernetes.delete_object(CONFIG_MAPS, build.namespace, work.pod)
        case ReleaseMachines():
            for lease in work.leases:
                await deps.kubernetes.delete_object(LEASES, deps.settings.namespace, lease)
        case RemoveFinalizer():
            metadata = reading.raw["metadata"]
            left = [finalizer for finalizer in metadata.get("finalizers") or () if finalizer != BUILD_FINALIZER]
            patch = {"metadata": {"finalizers": left, "resourceVersion": metadata["resourceVersion"]}}
            try:
                await deps.kubernetes.patch_object(CLUSTER_BUILDS, build.namespace, build.name, patch)
            except Conflict as error:
                raise Retry("Conflict", error.message, after=0) from error


async def _forget_orphans(deps: Deps, namespace: str, name: str) -> None:
    """Remove the finalizer from the pods of a build that does not exist any more."""
    for raw in await list_build_pods(deps, namespace, name):
        await _forget_pod(deps, namespace, raw)


async def _forget_pod(deps: Deps, namespace: str, raw: Mapping[str, Any]) -> None:
    left = other_finalizers(raw)
    if len(left) != len(raw["metadata"].get("finalizers") or ()):
        await deps.kubernetes.patch_object(PODS, namespace, raw["metadata"]["name"], {"metadata": {"finalizers": left}})


def _measure(deps: Deps, plan: Plan) -> None:
    for attempt in plan.settled:
        deps.metrics.phase_attempts.labels(attempt.name.value, attempt.reason or "").inc()
        if attempt.start_time and attempt.end_time:
            seconds = (attempt.end_time - attempt.start_time).total_seconds()
            deps.metrics.phase_seconds.labels(attempt.name.value, attempt.state.value).observe(seconds)
