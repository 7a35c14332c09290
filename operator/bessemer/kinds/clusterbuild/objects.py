"""The Kubernetes objects of a build, rendered by pure functions, one per object.

The pod gets only what it needs: no service account token, no root user, no capabilities, a read-only root file system.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from bessemer.api.base import write_json
from bessemer.api.clusterbuild.resource import ClusterBuild
from bessemer.api.clusterbuild.spec import ClusterBuildSpec, PlaybookRepository
from bessemer.api.clusterbuild.status import NodesStatus
from bessemer.api.names import attempt_name, secret_name
from bessemer.api.phase_contract import (
    INPUT_DIGEST_VARIABLE,
    INPUT_DIRECTORY,
    INPUT_FILE,
    PLAYBOOK_DIRECTORY,
    SCRATCH_DIRECTORY,
    SECRET_DIRECTORY,
    SSH_KEY_DIRECTORY,
    PhaseInput,
    PhaseName,
)
from bessemer.api.wellknown import (
    ATTEMPT_LABEL,
    BUILD_LABEL,
    BUILD_UID_LABEL,
    INPUT_DIGEST_ANNOTATION,
    MACHINE_ANNOTATION,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    PHASE_LABEL,
    RESULT_FINALIZER,
)
from bessemer.engine.podtemplate import (
    SECRET_MODE,
    build_container_security,
    build_metadata,
    build_pod_spec,
    list_pull_secrets,
)
from bessemer.engine.settings import Settings, build_proxy_environment
from bessemer.kinds.clusterbuild import checkout
from bessemer.kinds.clusterbuild.claims import Claim
from bessemer.kinds.clusterbuild.keys import BuildKeys
from bessemer.kinds.clusterbuild.plan import StartAttempt
from bessemer.kube.pods import PHASE_CONTAINER, PLAYBOOK_CONTAINER
from bessemer.kube.protocol import Object

GRACE_SECONDS = 30
"""A phase stops cleanly within 20 s of SIGTERM; the rest is for the kubelet."""
MOST_INPUT_BYTES = 1 << 20
"""Maximum size of all data in a ConfigMap. Source:
https://kubernetes.io/docs/concepts/configuration/configmap/#motivation"""
SCRATCH_LIMIT = "256Mi"


def build_input(build: ClusterBuild, nodes: NodesStatus, start: StartAttempt, progress_url: str) -> PhaseInput:
    """Return the input of the attempt."""
    if build.spec is None:
        raise ValueError("no attempt is started without a spec")
    url = f"{progress_url.rstrip('/')}/v1/progress/{build.namespace}/{build.name}" if progress_url else None
    return PhaseInput(
        namespace=build.namespace,
        build=build.name,
        uid=build.uid,
        phase=start.phase,
        attempt=start.attempt,
        spec=build.spec,
        nodes=nodes.groups,
        remove_hosts=nodes.removed or None,
        power_off=start.power_off,
        keep_persistent=start.keep_persistent,
        progress_url=url,
    )


def build_input_config_map(build: ClusterBuild, phase_input: PhaseInput) -> Object:
    """Return the ConfigMap with the input of one attempt."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(build, attempt_name(build.name, phase_input.phase, phase_input.attempt)),
        "immutable": True,
        "data": {INPUT_FILE: write_json(phase_input.to_api())},
    }


def build_phase_pod(build: ClusterBuild, start: StartAttempt, settings: Settings, config_map: Object) -> Object:
    """Return the pod of one attempt of one phase; it mounts only its own input, ``config_map``."""
    spec = build.spec
    if spec is None:
        raise ValueError("no attempt is started without a spec")
    name = attempt_name(build.name, start.phase, start.attempt)
    metadata = _metadata(build, name)
    metadata["labels"] |= {PHASE_LABEL: start.phase.value, ATTEMPT_LABEL: str(start.attempt)}
    metadata["annotations"] = {INPUT_DIGEST_ANNOTATION: start.input_digest}
    metadata["finalizers"] = [RESULT_FINALIZER]
    playbooks = spec.configuration.playbooks if start.phase in checkout.PHASES else None
    pod_spec: Object = {
        **build_pod_spec(GRACE_SECONDS),
        "activeDeadlineSeconds": spec.deadlines.phase_seconds,
        "volumes": [*_volumes(build, spec, name), *_playbook_volumes(playbooks)],
        "containers": [_phase_container(start.phase, spec, settings, config_map["data"][INPUT_FILE])],
    }
    if playbooks is not None:
        pod_spec["initContainers"] = [_playbook_container(playbooks, settings)]
    if spec.priority_class_name:
        pod_spec["priorityClassName"] = spec.priority_class_name
    if settings.image_pull_secrets:
        pod_spec["imagePullSecrets"] = list_pull_secrets(settings.image_pull_secrets)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec}


def build_secret(build: ClusterBuild, keys: BuildKeys) -> Object:
    """Return the Secret of the build."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(build, secret_name(build.name)),
        "type": "Opaque",
        "data": keys.to_secret_data(),
    }


def build_lease(build: ClusterBuild, claim: Claim, namespace: str) -> Object:
    """Return the Lease that records a build's claim on a machine; all are in the operator's namespace."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": claim.lease,
            "namespace": namespace,
            "labels": {MANAGED_BY_LABEL: MANAGED_BY, BUILD_UID_LABEL: build.uid},
            "annotations": {MACHINE_ANNOTATION: claim.what},
        },
        "spec": {"holderIdentity": f"{build.namespace}/{build.name}"},
    }


def _metadata(build: ClusterBuild, name: str) -> Object:
    return build_metadata(build, name, BUILD_LABEL)


def _volumes(build: ClusterBuild, spec: ClusterBuildSpec, input_name: str) -> list[Object]:
    volumes: list[Object] = [
        {"name": "input", "configMap": {"name": input_name}},
        {"name": "secret", "secret": {"secretName": secret_name(build.name), "defaultMode": SECRET_MODE}},
        {"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": SCRATCH_LIMIT}},
    ]
    key = spec.ssh.private_key_secret
    if key is not None:
        # Optional, so that Preflight starts and reports the missing Secret together with all other errors.
        secret = {"secretName": key.name, "defaultMode": SECRET_MODE, "optional": True}
        volumes.append({"name": "ssh", "secret": {**secret, "items": [{"key": key.key, "path": key.key}]}})
    return volumes


def _playbook_volumes(playbooks: PlaybookRepository | None) -> list[Object]:
    if playbooks is None:
        return []
    volumes: list[Object] = [{"name": "playbooks", "emptyDir": {"sizeLimit": SCRATCH_LIMIT}}]
    if playbooks.login_secret_name:
        secret = {"secretName": playbooks.login_secret_name, "defaultMode": SECRET_MODE}
        volumes.append({"name": "login", "secret": secret})
    return volumes


def _phase_container(phase: PhaseName, spec: ClusterBuildSpec, settings: Settings, told: str) -> Object:
    mounts: list[Object] = [
        {"name": "input", "mountPath": INPUT_DIRECTORY, "readOnly": True},
        {"name": "secret", "mountPath": SECRET_DIRECTORY, "readOnly": True},
        {"name": "scratch", "mountPath": SCRATCH_DIRECTORY},
    ]
    if spec.ssh.private_key_secret is not None:
        mounts.append({"name": "ssh", "mountPath": SSH_KEY_DIRECTORY, "readOnly": True})
    if spec.configuration.playbooks is not None and phase in checkout.PHASES:
        mounts.append({"name": "playbooks", "mountPath": PLAYBOOK_DIRECTORY, "readOnly": True})
    return {
        **_container(PHASE_CONTAINER, settings, mounts),
        # An init process, because signals for which process 1 has no handler (while Python is still importing) are not
        # delivered.
        "command": ["tini", "--", "python", "-m", "bessemer.phases", phase.value],
        "env": _environment(
            settings,
            {
                "HOME": SCRATCH_DIRECTORY,
                "TMPDIR": SCRATCH_DIRECTORY,
                INPUT_DIGEST_VARIABLE: hashlib.sha256(told.encode()).hexdigest(),
            },
        ),
        "terminationMessagePolicy": "File",
    }


def _playbook_container(playbooks: PlaybookRepository, settings: Settings) -> Object:
    mounts: list[Object] = [
        {"name": "playbooks", "mountPath": PLAYBOOK_DIRECTORY},
        {"name": "scratch", "mountPath": SCRATCH_DIRECTORY},
    ]
    if playbooks.login_secret_name:
        mounts.append({"name": "login", "mountPath": checkout.LOGIN_DIRECTORY, "readOnly": True})
    return {
        **_container(PLAYBOOK_CONTAINER, settings, mounts),
        "command": list(checkout.COMMAND),
        "env": _environment(settings, checkout.build_environment(playbooks)),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _environment(settings: Settings, variables: Mapping[str, str]) -> list[Object]:
    """Return these variables and the site's proxies as the ``env`` of a container."""
    proxies = build_proxy_environment(settings.http_proxy, settings.https_proxy, settings.no_proxy)
    return [{"name": name, "value": value} for name, value in {**variables, **proxies}.items()]


def _container(name: str, settings: Settings, mounts: list[Object]) -> dict[str, Any]:
    return {
        "name": name,
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        "volumeMounts": mounts,
        "resources": {
            "requests": {"cpu": settings.cpu_request, "memory": settings.memory_request},
            "limits": {"memory": settings.memory_limit},
        },
        "securityContext": build_container_security(),
    }
