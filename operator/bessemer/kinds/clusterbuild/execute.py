"""Executes the decisions for a build: steps before the status is written, and the work that must wait for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from time import monotonic
from typing import Any

from bessemer.api.clusterbuild.resource import ClusterBuild
from bessemer.api.clusterbuild.status import NodesStatus
from bessemer.api.phase_contract import INPUT_FILE
from bessemer.api.reasons import INVALID_SPEC, NAME_TAKEN
from bessemer.api.wellknown import SEAL_ANNOTATION
from bessemer.engine.objects import create_or_adopt, is_owned
from bessemer.engine.refusals import explain_refusal
from bessemer.errors import Retry
from bessemer.kinds.clusterbuild.deps import Deps
from bessemer.kinds.clusterbuild.facts import Claims, Facts, SecretFact
from bessemer.kinds.clusterbuild.keys import create_keys
from bessemer.kinds.clusterbuild.leases import create_claims
from bessemer.kinds.clusterbuild.objects import (
    MOST_INPUT_BYTES,
    build_input,
    build_input_config_map,
    build_phase_pod,
    build_secret,
)
from bessemer.kinds.clusterbuild.observe import Reading, list_build_pods, other_finalizers, parse_secret
from bessemer.kinds.clusterbuild.ownpods import build_seal, is_own
from bessemer.kinds.clusterbuild.plan import (
    Afterwork,
    ClaimMachines,
    CreateSecret,
    DeletePod,
    ForgetPod,
    Plan,
    ReleaseMachines,
    StartAttempt,
    StopPod,
)
from bessemer.kube.pods import parse_pod
from bessemer.kube.protocol import CONFIG_MAPS, LEASES, PODS, SECRETS, AlreadyExists, Object, Refused


async def perform(deps: Deps, reading: Reading, plan: Plan) -> Facts:
    """Execute the step of a plan; return the facts after it. A refusal by Kubernetes is one of these facts."""
    facts, step = reading.facts, plan.step
    try:
        match step:
            case CreateSecret():
                return replace(facts, secret=await _create_secret(deps, facts))
            case ClaimMachines():
                held, conflict = await create_claims(deps, facts.build, step.claims)
                return replace(facts, claims=Claims(facts.claims.held | held, conflict))
            case StartAttempt():
                facts = await _start_attempt(deps, reading, step, plan.status.nodes)
                deps.metrics.handoff_seconds.observe(monotonic() - reading.woken)
            case StopPod():
                await deps.kubernetes.delete_object(PODS, facts.build.namespace, step.pod, uid=step.uid)
                pods = tuple(replace(pod, deleting=pod.deleting or pod.name == step.pod) for pod in facts.pods)
                return replace(facts, pods=pods)
    except Refused as error:
        return replace(facts, refusal=explain_refusal(error))
    return facts


async def _create_secret(deps: Deps, facts: Facts) -> SecretFact:
    build = facts.build
    given = build.spec is not None and build.spec.ssh.private_key_secret is not None
    body = build_secret(build, create_keys(with_ssh_key=not given))
    raw = await create_or_adopt(
        deps.kubernetes, SECRETS, build.namespace, body, lambda found: is_owned(found, build.uid)
    )
    return parse_secret(build, raw)


async def _start_attempt(deps: Deps, reading: Reading, start: StartAttempt, nodes: NodesStatus) -> Facts:
    facts, settings = reading.facts, deps.settings
    build = facts.build
    deps.memories.get((build.namespace, build.name)).progress = None
    config_map = build_input_config_map(build, build_input(build, nodes, start, settings.progress_url))
    if len(config_map["data"][INPUT_FILE]) > MOST_INPUT_BYTES:
        raise Refused(
            INVALID_SPEC, f"spec and nodes are longer than {MOST_INPUT_BYTES} bytes, which no ConfigMap can hold"
        )
    await _create_input(deps, build, config_map)
    pod = build_phase_pod(build, start, settings, config_map)
    name = pod["metadata"]["name"]
    pod["metadata"]["annotations"][SEAL_ANNOTATION] = build_seal(build, reading.seal, name, start.input_digest)
    raw = await create_or_adopt(
        deps.kubernetes, PODS, build.namespace, pod, lambda found: is_own(build, reading.seal, parse_pod(found))
    )
    reading.raw_pods[name] = raw
    return replace(facts, pods=(*facts.pods, parse_pod(raw)))


async def _create_input(deps: Deps, build: ClusterBuild, config_map: Object) -> None:
    """Create the attempt's input; replace one left by a pass that died before it created the pod."""
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
            raise Retry(NAME_TAKEN, f"ConfigMap {name} is still being deleted", after=1) from error


async def finish(deps: Deps, reading: Reading, plan: Plan) -> None:
    """Do the work that requires the written status, and record metrics of the attempts that have ended."""
    for work in plan.afterwork:
        await _finish(deps, reading, work)
    _measure(deps, plan)


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


async def forget_orphans(deps: Deps, namespace: str, name: str) -> None:
    """Remove the finalizer from the pods of a deleted build."""
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
