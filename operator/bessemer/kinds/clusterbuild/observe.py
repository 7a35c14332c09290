"""Reads all facts about a build: the object itself, its pods, its machine Leases, its Secret."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from bessemer.api.clusterbuild.resource import ClusterBuild
from bessemer.api.names import build_label_value, secret_name
from bessemer.api.wellknown import BUILD_LABEL, BUILD_UID_LABEL, RESULT_FINALIZER
from bessemer.engine.objects import is_owned
from bessemer.engine.ownkey import Seal
from bessemer.engine.secrets import SecretReader
from bessemer.errors import BessemerError, Invalid
from bessemer.kinds.clusterbuild.deps import Deps
from bessemer.kinds.clusterbuild.facts import Claims, Facts, SecretFact
from bessemer.kinds.clusterbuild.keys import check_secret, read_progress_token
from bessemer.kinds.clusterbuild.ownpods import is_own
from bessemer.kube.pods import WAITING, PodFact, parse_pod
from bessemer.kube.podwarnings import PodWarning, get_pod_warning
from bessemer.kube.protocol import LEASES, PODS, SECRETS, Object
from bessemer.kube.secretdata import read_secret

SILENT_SECONDS = 3
"""If a pod has waited this long without giving a reason, its Warning events are read."""


@dataclass
class Reading:
    """The raw objects of one pass and the facts parsed from them."""

    raw_pods: dict[str, Object]
    facts: Facts
    seal: Seal
    woken: float
    """Monotonic time at which the pass was requested."""
    progress_token: str | None = field(default=None, repr=False)
    """Token of the build's progress posts; None until the build has its Secret."""


async def get_reading(deps: Deps, build: ClusterBuild, woken: float) -> Reading:
    """Read everything that belongs to a build."""
    namespace, name = build.namespace, build.name
    memory = deps.memories.find((namespace, name))
    seal = await deps.own_key.get_seal()
    pods, leases, secret, key_problem, login_problem = await asyncio.gather(
        list_build_pods(deps, namespace, name),
        deps.kubernetes.list_objects(LEASES, deps.settings.namespace, labels=f"{BUILD_UID_LABEL}={build.uid}"),
        deps.kubernetes.get_object(SECRETS, namespace, secret_name(name)),
        get_key_problem(deps, build),
        get_login_problem(deps, build),
    )
    facts = tuple(parse_pod(pod) for pod in pods)
    own = tuple(pod for pod in facts if is_own(build, seal, pod))
    return Reading(
        raw_pods={fact.name: pod for fact, pod in zip(facts, pods, strict=True)},
        seal=seal,
        woken=woken,
        facts=Facts(
            build=build,
            pods=own,
            orphans=tuple(pod.name for pod in facts if pod.owner_uid != build.uid and pod.holds_result),
            claims=Claims(held=frozenset(lease["metadata"]["name"] for lease in leases)),
            secret=parse_secret(build, secret),
            key_problem=key_problem,
            login_problem=login_problem,
            live=memory.progress if memory is not None and memory.uid == build.uid else None,
            pod_warning=await _get_warning(deps, namespace, own),
            deletion_seconds=deps.settings.deletion_seconds,
            repeated_networks=deps.settings.repeated_compute_networks,
        ),
        progress_token=parse_progress_token(build, secret),
    )


async def list_build_pods(deps: Deps, namespace: str, name: str) -> list[Object]:
    """Return the phase pods of all builds that have had this name."""
    return await deps.kubernetes.list_objects(PODS, namespace, labels=f"{BUILD_LABEL}={build_label_value(name)}")


def parse_secret(build: ClusterBuild, raw: Mapping[str, Any] | None) -> SecretFact:
    """Return whether the Secret exists and belongs to this build, what is wrong with it, and its public key."""
    if raw is None or not is_owned(raw, build.uid):
        return SecretFact()
    given = build.spec is not None and build.spec.ssh.private_key_secret is not None
    try:
        public_key = check_secret(read_secret(raw, secret_name(build.name)), with_ssh_key=not given)
    except Invalid as error:
        return SecretFact(exists=True, problem=error)
    return SecretFact(exists=True, ssh_public_key=public_key)


def parse_progress_token(build: ClusterBuild, raw: Mapping[str, Any] | None) -> str | None:
    """Return the token in the build's own Secret; None if there is none."""
    if raw is None or not is_owned(raw, build.uid):
        return None
    return read_progress_token(read_secret(raw, secret_name(build.name)))


def other_finalizers(raw: Mapping[str, Any]) -> list[str]:
    """Return a pod's finalizers except ours."""
    return [finalizer for finalizer in raw["metadata"].get("finalizers") or () if finalizer != RESULT_FINALIZER]


async def get_key_problem(deps: Deps, build: ClusterBuild) -> BessemerError | None:
    """Return why the login key that the spec names can't be used; the key itself is not kept."""
    reader = SecretReader(deps.kubernetes, deps.settings, build.namespace)
    if build.spec is not None:
        await reader.find(build.spec.ssh.private_key_secret, "spec.ssh.privateKeySecret")
    return reader.problem


async def get_login_problem(deps: Deps, build: ClusterBuild) -> BessemerError | None:
    """Return why the login may not be sent to the playbooks' server.

    If the Secret is missing, the pod's events report it instead.
    """
    reader = SecretReader(deps.kubernetes, deps.settings, build.namespace)
    playbooks = build.spec.configuration.playbooks if build.spec else None
    if playbooks is not None and playbooks.login_secret_name is not None:
        where = "spec.configuration.playbooks.loginSecretName"
        await reader.allow(playbooks.login_secret_name, where, playbooks.repository)
    return reader.problem


async def _get_warning(deps: Deps, namespace: str, pods: tuple[PodFact, ...]) -> PodWarning | None:
    """Return the Warning event of a pod that waits without giving a reason."""
    since = deps.now() - timedelta(seconds=SILENT_SECONDS)
    silent = [pod for pod in pods if pod.state in WAITING and not pod.message and pod.created <= since]
    return await get_pod_warning(deps.kubernetes, namespace, silent[-1].uid) if silent else None
