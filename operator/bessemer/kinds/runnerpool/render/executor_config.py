"""The executor's part of config.toml: one builder per type. Pure.

Our own values override the user's ``settings``; executor_settings.py refuses settings that would be lost in this way.
Source: https://docs.gitlab.com/runner/executors/
"""

from __future__ import annotations

from typing import Any

from bessemer.api.names import build_label_value
from bessemer.api.runnerpool.executors import (
    CustomExecutor,
    DockerExecutor,
    Executor,
    ExecutorType,
    KubernetesExecutor,
    SshExecutor,
    VirtualBoxExecutor,
)
from bessemer.api.runnerpool.podspec import Resources
from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.api.wellknown import JOB_POD_POOL_LABEL, MANAGED_BY, MANAGED_BY_LABEL, POOL_ANNOTATION, RUNNER_UID_LABEL
from bessemer.kinds.runnerpool.render.slurm_files import build_custom_section

Section = dict[str, Any]
RUNNER_UID = "@RUNNER_UID@"
"""Placeholder for the UID of the runner pod in the configuration; the entry point replaces it."""
BUILDS_DIRECTORY = "/builds"
CACHE_DIRECTORY = "/cache"
"""Mount path of the cache volume, in the runner pod or in job pods."""
DOCKER_DIRECTORY = "/run/docker"
"""Directory of the Docker daemon's socket: a volume shared with the runner."""
IDENTITY_FILE = "ssh-identity"
KNOWN_HOSTS_FILE = "ssh-known-hosts"


def build_executor_config(pool: RunnerPool, executor: Executor, home: str, cache_claim: str | None) -> Section:
    """Return the executor's settings of one runner; ``home`` is the directory of the runner's own files."""
    section: Section = {"executor": executor.type.value.lower()}
    if executor.type is ExecutorType.SHELL:
        section |= {"shell": "bash", **_build_directories(cache_claim)}
    elif executor.kubernetes is not None:
        section["kubernetes"] = _build_kubernetes(pool, executor.kubernetes, cache_claim)
        section["cache_dir"] = CACHE_DIRECTORY
    elif executor.docker is not None:
        section["docker"] = _build_docker(executor.docker)
    elif executor.ssh is not None:
        section["ssh"] = _build_ssh(executor.ssh, home)
    elif executor.custom is not None:
        section |= {"custom": _build_custom(executor.custom), **_build_directories(cache_claim)}
    elif executor.slurm is not None:
        section |= {"executor": "custom", "custom": build_custom_section(home)}
    elif executor.virtualbox is not None:
        section |= _build_virtualbox(executor.virtualbox)
    return section


def build_known_hosts(executor: SshExecutor) -> str:
    """Return the machine's line of a known_hosts file. Source: sshd(8), SSH_KNOWN_HOSTS FILE FORMAT."""
    host = executor.host if executor.port == 22 else f"[{executor.host}]:{executor.port}"
    return f"{host} {executor.host_key}\n"


def _build_directories(cache_claim: str | None) -> Section:
    """Return the directories of a job that runs in the runner pod."""
    cache = CACHE_DIRECTORY if cache_claim else f"{BUILDS_DIRECTORY}/cache"
    return {"builds_dir": BUILDS_DIRECTORY, "cache_dir": cache}


def _build_kubernetes(pool: RunnerPool, executor: KubernetesExecutor, cache_claim: str | None) -> Section:
    section: Section = {
        "automount_service_account_token": False,
        "cleanup_grace_period_seconds": 0,  # the job has ended; its shell ignores TERM for 30 s
        **executor.settings,
        "namespace": pool.namespace,
        "image": executor.image,
        "poll_timeout": executor.start_seconds,
        **_build_quantities(executor.resources),
    }
    # The operator watches only pods with Bessemer's labels. By these labels it knows the running jobs, and ends the pod
    # of a job whose runner was killed before it could delete it.
    section["pod_labels"] = (executor.settings.get("pod_labels") or {}) | {
        MANAGED_BY_LABEL: MANAGED_BY,
        RUNNER_UID_LABEL: RUNNER_UID,
        JOB_POD_POOL_LABEL: build_label_value(pool.name),
    }
    section["pod_annotations"] = (executor.settings.get("pod_annotations") or {}) | {POOL_ANNOTATION: pool.name}
    optional = {
        "helper_image": executor.helper_image,
        "pull_policy": _POLICIES.get(executor.pull_policy or ""),
        "image_pull_secrets": [secret.name for secret in executor.image_pull_secrets],
        "service_account": executor.service_account_name,
        "node_selector": executor.node_selector,
    }
    section |= {key: value for key, value in optional.items() if value}
    if cache_claim:
        volumes = dict(section.get("volumes") or {})
        volumes["pvc"] = [*(volumes.get("pvc") or ()), {"name": cache_claim, "mount_path": CACHE_DIRECTORY}]
        section["volumes"] = volumes
    return section


_POLICIES = {"Always": "always", "IfNotPresent": "if-not-present", "Never": "never"}


def _build_quantities(resources: Resources) -> Section:
    """Return the resource requests and limits of the build container."""
    found = {"request": resources.requests, "limit": resources.limits}
    return {
        f"{kind.replace('-', '_')}_{suffix}": quantity
        for suffix, quantities in found.items()
        for kind, quantity in quantities.items()
    }


def _build_docker(executor: DockerExecutor) -> Section:
    return {
        "volumes": [CACHE_DIRECTORY],
        **executor.settings,
        "image": executor.image,
        "host": f"unix://{DOCKER_DIRECTORY}/docker.sock",
    }


def _build_ssh(executor: SshExecutor, home: str) -> Section:
    return {
        "host": executor.host,
        "port": str(executor.port),
        "user": executor.user,
        "identity_file": f"{home}/{IDENTITY_FILE}",
        "known_hosts_file": f"{home}/{KNOWN_HOSTS_FILE}",
        "disable_strict_host_key_checking": False,
    }


def _build_custom(executor: CustomExecutor) -> Section:
    programs = {
        "run_exec": executor.run,
        "run_args": executor.run_arguments,
        "config_exec": executor.config,
        "prepare_exec": executor.prepare,
        "cleanup_exec": executor.cleanup,
    }
    return {**executor.settings, **{key: value for key, value in programs.items() if value}}


def _build_virtualbox(executor: VirtualBoxExecutor) -> Section:
    return {"ssh": {"user": executor.user}, "virtualbox": {**executor.settings, "base_name": executor.base_name}}
