"""The objects that a pool consists of, rendered: pure functions, one per object.

A runner pod gets only what it needs: no service account token, no root, no capabilities, a read-only root file system.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime

from bessemer.kube.client import Object
from bessemer.names import build_label_value, runner_pod_name, runner_secret_name, runner_system_id
from bessemer.runnerpool.config import (
    BUILDS_DIRECTORY,
    CA_KEY,
    CONFIG_DIRECTORY,
    CONFIG_KEY,
    ENTRYPOINT_KEY,
    HOME_DIRECTORY,
)
from bessemer.runnerpool.resource import RunnerPool
from bessemer.runnerpool.spec import RunnerPoolSpec
from bessemer.settings import Settings
from bessemer.wellknown import (
    JOB_ANNOTATION,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    POOL_LABEL,
    SENT_ANNOTATION,
    SLOT_LABEL,
    TEMPLATE_ANNOTATION,
)

RUNNER_CONTAINER = "runner"
USER_ID = 65532
"""The unprivileged user of the runner image, as of the operator's own; also the group that may read the Secret."""
SECRET_MODE = 0o440
HOME_LIMIT = "16Mi"
END_SECONDS = 60
"""What a runner needs beyond its job's time: to upload artifacts and the end of the log."""
SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
"""Source: https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md"""
_DIGEST_DIGITS = 16


def build_runner_secret(pool: RunnerPool, data: Mapping[str, str]) -> Object:
    """Give the Secret with the configuration of the pool's runners."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(pool, runner_secret_name(pool.name)),
        "type": "Opaque",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }


def build_runner_pod(pool: RunnerPool, spec: RunnerPoolSpec, settings: Settings, slot: int, template: str) -> Object:
    """Give the pod of a slot; it waits until it is sent for a job."""
    metadata = _metadata(pool, runner_pod_name(pool.name, slot))
    metadata["labels"] = {**spec.pod.labels, **metadata["labels"], SLOT_LABEL: str(slot)}
    metadata["annotations"] = {SAFE_TO_EVICT: "false", **spec.pod.annotations, TEMPLATE_ANNOTATION: template}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": _build_pod_spec(pool, spec, settings, runner_system_id(pool.uid, slot)),
    }


def build_sending(job: str, now: datetime) -> dict[str, str]:
    """Give the annotations that send a pod for a job."""
    return {JOB_ANNOTATION: job, SENT_ANNOTATION: now.isoformat()}


def compute_template(pool: RunnerPool, spec: RunnerPoolSpec, settings: Settings, config_version: str) -> str:
    """Digest what the pods are made from: the spec's parts that show in a pod, and the version of the Secret."""
    pod = build_runner_pod(pool, spec, settings, 0, "")
    text = json.dumps([pod, config_version], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_DIGITS]


def _metadata(pool: RunnerPool, name: str) -> Object:
    return {
        "name": name,
        "namespace": pool.namespace,
        "labels": {MANAGED_BY_LABEL: MANAGED_BY, POOL_LABEL: build_label_value(pool.name)},
        "ownerReferences": [pool.owner_reference()],
    }


def _build_pod_spec(pool: RunnerPool, spec: RunnerPoolSpec, settings: Settings, system_id: str) -> Object:
    pod = spec.pod
    result: Object = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": spec.runner.maximum_timeout_seconds + END_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [_build_init_container(spec, settings)],
        "containers": [_build_container(pool, spec, settings, system_id)],
        "volumes": [
            {"name": "config", "secret": {"secretName": runner_secret_name(pool.name), "defaultMode": SECRET_MODE}},
            {"name": "pod", "downwardAPI": {"items": [_job_item()]}},
            {"name": "home", "emptyDir": {"medium": "Memory", "sizeLimit": HOME_LIMIT}},
            {"name": "builds", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
            *pod.volumes,
        ],
    }
    optional = {
        "nodeSelector": pod.node_selector,
        "tolerations": pod.tolerations,
        "affinity": pod.affinity,
        "priorityClassName": pod.priority_class_name,
        "imagePullSecrets": [{"name": name} for name in pod.image_pull_secrets],
    }
    return result | {key: value for key, value in optional.items() if value}


def _job_item() -> Object:
    return {"path": "job", "fieldRef": {"fieldPath": f"metadata.annotations['{JOB_ANNOTATION}']"}}


def _build_init_container(spec: RunnerPoolSpec, settings: Settings) -> Object:
    """Give the container that alone sees the Secret: a job runs as the runner's user, and could read what it mounts."""
    copy = f"cp {CONFIG_DIRECTORY}/{CONFIG_KEY} {CONFIG_DIRECTORY}/{ENTRYPOINT_KEY} {HOME_DIRECTORY}/"
    copy_ca = f"[ ! -e {CONFIG_DIRECTORY}/{CA_KEY} ] || cp {CONFIG_DIRECTORY}/{CA_KEY} {HOME_DIRECTORY}/"
    return {
        **_build_common(spec, settings),
        "name": "config",
        "command": ["bash", "-euc", f"umask 077; mkdir {HOME_DIRECTORY}; {copy}; {copy_ca}"],
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_DIRECTORY, "readOnly": True},
            {"name": "home", "mountPath": "/run/bessemer"},
        ],
    }


def _build_common(spec: RunnerPoolSpec, settings: Settings) -> Object:
    return {
        "image": spec.pod.image or settings.runner_image,
        "imagePullPolicy": spec.pod.image_pull_policy or settings.runner_pull_policy,
        "resources": spec.pod.resources.model_dump(exclude_defaults=True),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _build_container(pool: RunnerPool, spec: RunnerPoolSpec, settings: Settings, system_id: str) -> Object:
    environment = {
        "BESSEMER_RUNNER": pool.name,
        "BESSEMER_SYSTEM_ID": system_id,
        "BESSEMER_HOME": HOME_DIRECTORY,
        "HOME": BUILDS_DIRECTORY,
    }
    return {
        **_build_common(spec, settings),
        "name": RUNNER_CONTAINER,
        "command": ["bash", f"{HOME_DIRECTORY}/{ENTRYPOINT_KEY}"],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "terminationMessagePolicy": "File",
        "volumeMounts": [
            {"name": "pod", "mountPath": "/etc/bessemer/pod", "readOnly": True},
            {"name": "home", "mountPath": "/run/bessemer"},
            {"name": "builds", "mountPath": BUILDS_DIRECTORY},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  a volume of the pod's own
            *spec.pod.volume_mounts,
        ],
    }
