"""Which settings an executor can't be given: what Bessemer sets itself, and what stands elsewhere in config.toml. Pure.

gitlab-runner passes over a setting at the wrong place, and reads one written in other letters as if it were its own, so
both would be accepted and do nothing, or undo what the pool depends on.
Source: common/config.go of gitlab-runner 19.4, and https://docs.gitlab.com/runner/configuration/advanced-configuration/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from bessemer.api.base import GROUP
from bessemer.api.fields import FreeForm
from bessemer.api.runnerpool.podtypes import QUANTITY_PATTERN
from bessemer.api.wellknown import MANAGED_BY_LABEL

_GLOBAL = """
check_interval concurrent connection_max_age connection_max_idle_time listen_address log_format log_level
sentry_dsn session_server shutdown_timeout
"""
_RUNNER = """
artifact builds_dir cache clean_git_config clone_url custom custom_build_dir debug_trace_disabled docker environment
executor experimental feature_flags get_sources_timeout id instance job_status_final_update_retry_limit kubernetes
labels limit machine monitoring name output_limit parallels post_build_script post_clone_script
post_get_sources_script pre_build_script pre_clone_script pre_get_sources_script prepare_timeout proxy_exec referees
request_concurrency safe_directory_checkout shell slot_cgroup_template ssh step_runner_image strict_check_interval
tls-ca-file tls-cert-file tls-key-file token token_expires_at token_obtained_at unhealthy_interval
unhealthy_requests_limit url use_slot_cgroups virtualbox
"""
_ELSEWHERE = {
    **dict.fromkeys(_GLOBAL.split(), "stands at the top of config.toml, which has no field here"),
    **dict.fromkeys(_RUNNER.split(), "stands in [[runners]]"),
    "environment": "stands in [[runners]]: spec.pod.environment",
    "feature_flags": "stands in [[runners]]: name the flags in spec.pod.environment, such as FF_NAME: true",
    "cache": "stands in [[runners]]: spec.cache",
    "concurrent": "stands at the top of config.toml: spec.max",
    "limit": "stands in [[runners]]: spec.max",
    "url": "stands in [[runners]]: spec.gitlab.url",
    "token": "stands in [[runners]]: spec.runner.tokenSecret",
    "tls-ca-file": "stands in [[runners]]: spec.gitlab.caSecret",
}
_OWN_CLUSTER = "can't be given: jobs run in the cluster of the pool"
_OWN_NAMESPACE = "can't be given: jobs run in the namespace of the pool"
_OWN_DAEMON = "can't be given: the Docker daemon is the one in the runner's pod"
_OWN = {
    "kubernetes": {
        "image": "is spec.executor.kubernetes.image",
        "poll_timeout": "is spec.executor.kubernetes.startSeconds",
        "cache_dir": "stands in [[runners]]: spec.cache",
        "bearer_token": _OWN_CLUSTER,
        "bearer_token_overwrite_allowed": _OWN_CLUSTER,
        "ca_file": _OWN_CLUSTER,
        "cert_file": _OWN_CLUSTER,
        "context": _OWN_CLUSTER,
        "host": _OWN_CLUSTER,
        "key_file": _OWN_CLUSTER,
        "namespace": _OWN_NAMESPACE,
        "namespace_overwrite_allowed": _OWN_NAMESPACE,
        "namespace_per_job": _OWN_NAMESPACE,
    },
    "docker": {
        "image": "is spec.executor.docker.image",
        "host": _OWN_DAEMON,
        "tls_cert_path": _OWN_DAEMON,
        "tls_verify": _OWN_DAEMON,
    },
    "custom": {
        "run_exec": "is spec.executor.custom.run",
        "run_args": "is spec.executor.custom.runArguments",
        "config_exec": "is spec.executor.custom.config",
        "prepare_exec": "is spec.executor.custom.prepare",
        "cleanup_exec": "is spec.executor.custom.cleanup",
        "cache_dir": "stands in [[runners]]: spec.cache",
    },
    "virtualbox": {"base_name": "is spec.executor.virtualbox.baseName"},
}
"""Of each executor's section; what stands in no other field is refused only where a field says it, too."""
KINDS = ("cpu", "memory", "ephemeral_storage")
"""Of what a container of a job's pod asks for: <kind>_request and <kind>_limit, after a prefix."""
PREFIXES = ("", "helper_", "service_", "pod_")
"""Of the build container, the helper container, each service's, and of the pod as a whole."""
_QUANTITIES = tuple(
    f"{prefix}{kind}_{suffix}" for prefix in PREFIXES for kind in KINDS for suffix in ("request", "limit")
)


def drop_nulls(value: Any, at: str = "") -> Any:
    """Leave out fields that are null, as if they were absent: TOML can't say it. In a list nothing can be left out."""
    if isinstance(value, dict):
        return {str(name): drop_nulls(part, f"{at}.{name}") for name, part in value.items() if part is not None}
    if isinstance(value, list):
        return [drop_nulls(part, f"{at}[{number}]") for number, part in enumerate(value)]
    if not isinstance(value, str | bool | int | float):
        raise ValueError(f"{at.removeprefix('.')}: {value} can't stand in config.toml")
    return value


def refuse_both(settings: Mapping[str, Any], given: Mapping[str, tuple[object, str]]) -> None:
    """Raise ValueError where a setting is given that a field says, too; ``given`` has the field's value and name."""
    for name, (value, field) in given.items():
        if value and name in settings:
            raise ValueError(f"settings.{name}: is {field}, which is given, too")


def _check_names(section: str, settings: dict[str, Any]) -> dict[str, Any]:
    for name in settings:
        why = _OWN[section].get(name) or _ELSEWHERE.get(name)
        if why is not None:
            raise ValueError(f"{name}: {why}, and not here" if why.startswith(("is ", "stands ")) else f"{name}: {why}")
        if not re.fullmatch("[a-z][a-z0-9_-]*", name):
            raise ValueError(f"{name}: GitLab's names of settings have small letters, digits and underscores alone")
    return settings


def _check_kubernetes(settings: dict[str, Any]) -> dict[str, Any]:
    """Refuse what can't be added to, of those settings that the pool adds something of its own to, or reads itself."""
    for name in ("pod_labels", "pod_annotations"):
        found = settings.get(name, {})
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            raise ValueError(f'{name}: must be texts by their names, such as team: "7"')
        ours = next((key for key in found if key.startswith(f"{GROUP}/") or key == MANAGED_BY_LABEL), None)
        if ours is not None:
            raise ValueError(f"{name}: {ours} is for Bessemer to give")
    volumes = settings.get("volumes", {})
    if not isinstance(volumes, dict):
        raise ValueError("volumes: must be lists of volumes by their kinds, such as pvc")
    claims = volumes.get("pvc", [])
    if not isinstance(claims, list) or not all(isinstance(claim, dict) for claim in claims):
        raise ValueError("volumes.pvc: must be a list of volumes, each with its name and mount_path")
    services = settings.get("services", [])
    if not isinstance(services, list) or not all(isinstance(one, dict) and one.get("name") for one in services):
        raise ValueError("services: must be a list of services, each with its name")
    for name in _QUANTITIES:
        found = settings.get(name, "1")
        if not isinstance(found, str) or not re.fullmatch(QUANTITY_PATTERN, found):
            raise ValueError(f'{name}: must be a quantity in quotes, such as "500m" or "2Gi"')
    if not isinstance(settings.get("priority_class_name", ""), str):
        raise ValueError("priority_class_name: must be the name of a PriorityClass")
    return settings


Settings = Annotated[FreeForm, AfterValidator(drop_nulls)]
"""What an executor can be told beyond our fields: whatever JSON may be, as far as TOML can say it."""
KubernetesSettings = Annotated[
    Settings, AfterValidator(lambda settings: _check_kubernetes(_check_names("kubernetes", settings)))
]
DockerSettings = Annotated[Settings, AfterValidator(lambda settings: _check_names("docker", settings))]
CustomSettings = Annotated[Settings, AfterValidator(lambda settings: _check_names("custom", settings))]
VirtualBoxSettings = Annotated[Settings, AfterValidator(lambda settings: _check_names("virtualbox", settings))]
