"""The Kubernetes objects of a pool, rendered by pure functions, one per object.

A runner pod gets only what it needs: no service account token, no root user, no capabilities, a read-only root file
system.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime

from bessemer.api.names import (
    runner_account_name,
    runner_pod_name,
    runner_secret_name,
    runner_system_id,
)
from bessemer.api.runnerpool.cache import Proxy
from bessemer.api.runnerpool.executors import DockerExecutor, ExecutorType
from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.api.runnerpool.spec import RunnerPoolSpec
from bessemer.api.wellknown import (
    JOB_ANNOTATION,
    POOL_LABEL,
    SENT_ANNOTATION,
    SLOT_LABEL,
    TEMPLATE_ANNOTATION,
)
from bessemer.engine.podtemplate import (
    SECRET_MODE,
    USER_ID,
    build_container_security,
    build_metadata,
    build_pod_spec,
    list_pull_secrets,
)
from bessemer.engine.settings import Settings
from bessemer.kinds.runnerpool.render.config import (
    CONFIG_DIRECTORY,
    ENTRYPOINT_KEY,
    HOME_DIRECTORY,
    build_proxies,
    list_files,
)
from bessemer.kinds.runnerpool.render.executor_config import BUILDS_DIRECTORY, CACHE_DIRECTORY, DOCKER_DIRECTORY
from bessemer.kube.protocol import Object

RUNNER_CONTAINER = "runner"
USERS_FILE = "/run/bessemer/passwd"
HOME_LIMIT = "16Mi"
END_SECONDS = 60
"""Time that a runner needs in addition to its job's: to upload artifacts and the end of the log."""
SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
"""Source: https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md"""
DOCKER_SECONDS = 60
"""A Docker daemon starts within seconds; if it has not started after this time, it lacks rights or disk space."""
_DIGEST_DIGITS = 16


def build_runner_secret(pool: RunnerPool, data: Mapping[str, str]) -> Object:
    """Return the Secret with the configuration of the pool's runners."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(pool, runner_secret_name(pool.name)),
        "type": "Opaque",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }


def build_service_account(pool: RunnerPool) -> Object:
    """Return the service account of runners that create pods for jobs."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(pool, runner_account_name(pool.name)),
        "automountServiceAccountToken": False,
    }


def build_role_binding(pool: RunnerPool, settings: Settings) -> Object:
    """Return the binding that gives these runners the rights of the chart's role in the pool's namespace."""
    name = runner_account_name(pool.name)
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": _metadata(pool, name),
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": settings.executor_role_kind,
            "name": settings.executor_role,
        },
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": pool.namespace}],
    }


def build_runner_pod(pool: RunnerPool, spec: RunnerPoolSpec, settings: Settings, slot: int, template: str) -> Object:
    """Return the pod of a slot; it waits until it is sent for a job."""
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
    """Return the annotations that send a pod for a job."""
    return {JOB_ANNOTATION: job, SENT_ANNOTATION: now.isoformat()}


def compute_template(pool: RunnerPool, spec: RunnerPoolSpec, settings: Settings, config_version: str) -> str:
    """Return the digest of everything from which pods are created: parts of the spec, and the version of the Secret."""
    pod = build_runner_pod(pool, spec, settings, 0, "")
    text = json.dumps([pod, config_version], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_DIGITS]


def _metadata(pool: RunnerPool, name: str) -> Object:
    return build_metadata(pool, name, POOL_LABEL)


def _build_pod_spec(pool: RunnerPool, spec: RunnerPoolSpec, settings: Settings, system_id: str) -> Object:
    pod, executor = spec.pod, spec.executor
    result: Object = {
        **build_pod_spec(_get_grace_period(spec) + END_SECONDS, mount_token=executor.type is ExecutorType.KUBERNETES),
        "initContainers": [_build_init_container(spec, settings)],
        "containers": [_build_container(pool, spec, settings, system_id)],
        "volumes": [*_build_volumes(pool, spec), *(volume.to_api() for volume in pod.volumes)],
    }
    if executor.docker is not None:
        result["initContainers"].append(_build_docker_daemon(executor.docker, spec.proxy))
    optional = {
        "serviceAccountName": runner_account_name(pool.name) if executor.type is ExecutorType.KUBERNETES else None,
        "nodeSelector": pod.node_selector,
        "tolerations": [toleration.to_api() for toleration in pod.tolerations],
        "affinity": pod.affinity.to_api() if pod.affinity is not None else None,
        "priorityClassName": pod.priority_class_name,
        "imagePullSecrets": [secret.to_api() for secret in pod.image_pull_secrets]
        or list_pull_secrets(settings.runner_pull_secrets),
    }
    return result | {key: value for key, value in optional.items() if value}


def _get_grace_period(spec: RunnerPoolSpec) -> int:
    """Return the seconds that a deleted pod may take to finish its job."""
    given = spec.runner.grace_period_seconds
    return spec.runner.maximum_timeout_seconds if given is None else given


def _build_volumes(pool: RunnerPool, spec: RunnerPoolSpec) -> list[Object]:
    files = [{"key": key, "path": key} for key in list_files(spec)]
    secret = {"secretName": runner_secret_name(pool.name), "defaultMode": SECRET_MODE, "items": files}
    volumes: list[Object] = [
        {"name": "config", "secret": secret},
        {"name": "pod", "downwardAPI": {"items": [_job_item()]}},
        {"name": "home", "emptyDir": {"medium": "Memory", "sizeLimit": HOME_LIMIT}},
        {"name": "builds", "emptyDir": {}},
        {"name": "tmp", "emptyDir": {}},
    ]
    if _has_cache_volume(spec) and spec.cache is not None and spec.cache.volume is not None:
        volumes.append({"name": "cache", "persistentVolumeClaim": {"claimName": spec.cache.volume.claim_name}})
    if spec.executor.docker is not None:
        volumes += [{"name": "docker", "emptyDir": {}}, {"name": "docker-data", "emptyDir": {}}]
    return volumes


def _has_cache_volume(spec: RunnerPoolSpec) -> bool:
    """Return whether the caches of jobs are on a volume of the runner pod: true if jobs run in it."""
    in_pod = spec.executor.type in (ExecutorType.SHELL, ExecutorType.CUSTOM)
    return in_pod and spec.cache is not None and spec.cache.volume is not None


def _job_item() -> Object:
    return {"path": "job", "fieldRef": {"fieldPath": f"metadata.annotations['{JOB_ANNOTATION}']"}}


def _build_init_container(spec: RunnerPoolSpec, settings: Settings) -> Object:
    """Return the init container, the only one that mounts the Secret.

    A job runs as the runner's user, and could read any Secret mounted in its container.
    """
    copy = f"umask 077; mkdir {HOME_DIRECTORY}; cp {CONFIG_DIRECTORY}/* {HOME_DIRECTORY}/"
    # Programs such as ssh fail for a user without a name, and the image need not define ours.
    user = f"runner:x:{USER_ID}:{USER_ID}::{_find_builds_directory(spec)}:/bin/bash"
    name = f"umask 022; {{ grep -v ':{USER_ID}:' /etc/passwd; echo {user}; }} >{USERS_FILE}"
    return {
        **_build_common(spec, settings),
        "name": "config",
        "command": ["bash", "-euc", f"{copy}; {name}"],
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_DIRECTORY, "readOnly": True},
            {"name": "home", "mountPath": "/run/bessemer"},
        ],
    }


def _build_docker_daemon(executor: DockerExecutor, proxy: Proxy | None) -> Object:
    """Return a sidecar with a Docker daemon, which only this pod's runner can reach: its socket is in a volume.

    Source: https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/
    """
    socket = f"unix://{DOCKER_DIRECTORY}/docker.sock"
    return {
        "name": "docker",
        "image": executor.daemon_image,
        "restartPolicy": "Always",
        "args": ["dockerd", f"--host={socket}", f"--group={USER_ID}"],
        "env": [
            {"name": name, "value": value}
            for name, value in ({"DOCKER_HOST": socket} | build_proxies(proxy)).items()  # the daemon pulls the images
        ],
        "resources": executor.daemon_resources.model_dump(exclude_defaults=True),
        "securityContext": {"privileged": True, "runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": False},
        "startupProbe": {
            "exec": {"command": ["docker", "info"]},
            "periodSeconds": 1,
            "failureThreshold": DOCKER_SECONDS,
        },
        "volumeMounts": [
            {"name": "docker", "mountPath": DOCKER_DIRECTORY},
            {"name": "docker-data", "mountPath": "/var/lib/docker"},
        ],
    }


def _build_common(spec: RunnerPoolSpec, settings: Settings) -> Object:
    return {
        "image": spec.pod.image or settings.runner_image,
        "imagePullPolicy": spec.pod.image_pull_policy or settings.runner_pull_policy,
        "resources": spec.pod.resources.model_dump(exclude_defaults=True),
        "securityContext": build_container_security(),
    }


def _find_builds_directory(spec: RunnerPoolSpec) -> str:
    """Return the parent of jobs' directories; with the executor Slurm, the same path as on the cluster."""
    return spec.executor.slurm.builds_directory if spec.executor.slurm is not None else BUILDS_DIRECTORY


def _build_container(pool: RunnerPool, spec: RunnerPoolSpec, settings: Settings, system_id: str) -> Object:
    environment = build_proxies(spec.proxy) | {
        "BESSEMER_MODE": spec.mode.value,
        "BESSEMER_RUNNER": pool.name,
        "BESSEMER_SYSTEM_ID": system_id,
        "BESSEMER_HOME": HOME_DIRECTORY,
        "BESSEMER_GRACE": str(_get_grace_period(spec)),
        "HOME": _find_builds_directory(spec),
    }
    mounts = [
        {"name": "pod", "mountPath": "/etc/bessemer/pod", "readOnly": True},
        {"name": "home", "mountPath": "/run/bessemer"},
        {"name": "builds", "mountPath": _find_builds_directory(spec)},
        {"name": "home", "mountPath": "/etc/passwd", "subPath": USERS_FILE.rpartition("/")[2], "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  a volume of the pod's own
    ]
    if _has_cache_volume(spec):
        mounts.append({"name": "cache", "mountPath": CACHE_DIRECTORY})
    if spec.executor.docker is not None:
        mounts.append({"name": "docker", "mountPath": DOCKER_DIRECTORY})
    return {
        **_build_common(spec, settings),
        "name": RUNNER_CONTAINER,
        "command": ["bash", f"{HOME_DIRECTORY}/{ENTRYPOINT_KEY}"],
        "env": [
            {"name": "BESSEMER_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
            *({"name": name, "value": value} for name, value in environment.items()),
        ],
        "terminationMessagePolicy": "File",
        "volumeMounts": [*mounts, *(mount.to_api() for mount in spec.pod.volume_mounts)],
    }
