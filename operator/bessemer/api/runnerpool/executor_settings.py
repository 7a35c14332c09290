"""Executor settings that are rejected: those that Bessemer sets, and those of other sections of config.toml. Pure.

gitlab-runner ignores a setting in the wrong section, and matches names regardless of case. Without these checks, such
settings would be accepted and have no effect, or override what the pool depends on.
Source: common/config.go of gitlab-runner 19.4, and https://docs.gitlab.com/runner/configuration/advanced-configuration/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from bessemer.api.fields import FreeForm
from bessemer.api.group import GROUP
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
_OWN_CLUSTER = "can't be set: jobs run in the cluster of the pool"
_OWN_NAMESPACE = "can't be set: jobs run in the namespace of the pool"
_OWN_DAEMON = "can't be set: jobs use the Docker daemon in the runner pod"
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
"""Rejected settings of each executor's section, with the reason."""
KINDS = ("cpu", "memory", "ephemeral_storage")
"""Resources of the containers of job pods: the settings are <prefix><kind>_request and <prefix><kind>_limit."""
PREFIXES = ("", "helper_", "service_", "pod_")
"""Prefixes for the build container, the helper container, each service container, and the whole pod."""
_QUANTITIES = tuple(
    f"{prefix}{kind}_{suffix}" for prefix in PREFIXES for kind in KINDS for suffix in ("request", "limit")
)


def drop_nulls(value: Any, at: str = "") -> Any:
    """Return the settings without null members, as TOML has no null. Raises ValueError for a null in a list."""
    if isinstance(value, dict):
        return {str(name): drop_nulls(part, f"{at}.{name}") for name, part in value.items() if part is not None}
    if isinstance(value, list):
        return [drop_nulls(part, f"{at}[{number}]") for number, part in enumerate(value)]
    if not isinstance(value, str | bool | int | float):
        raise ValueError(f"{at.removeprefix('.')}: {value} can't stand in config.toml")
    return value


def refuse_both(settings: Mapping[str, Any], given: Mapping[str, tuple[object, str]]) -> None:
    """Raise ValueError for a setting that duplicates a field; ``given`` maps settings to the field's value and name."""
    for name, (value, field) in given.items():
        if value and name in settings:
            raise ValueError(f"settings.{name}: conflicts with {field}; remove one of them")


def _check_names(section: str, settings: dict[str, Any]) -> dict[str, Any]:
    for name in settings:
        why = _OWN[section].get(name) or _ELSEWHERE.get(name)
        if why is not None:
            raise ValueError(f"{name}: {why}, and not here" if why.startswith(("is ", "stands ")) else f"{name}: {why}")
        if not re.fullmatch("[a-z][a-z0-9_-]*", name):
            raise ValueError(
                f"{name}: names of settings consist of lower-case letters, digits, hyphens and underscores"
            )
    return settings


def _check_kubernetes(settings: dict[str, Any]) -> dict[str, Any]:
    """Check the types of settings that the pool extends or reads."""
    for name in ("pod_labels", "pod_annotations"):
        found = settings.get(name, {})
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            raise ValueError(f'{name}: must be a map of strings, such as team: "7"')
        ours = next((key for key in found if key.startswith(f"{GROUP}/") or key == MANAGED_BY_LABEL), None)
        if ours is not None:
            raise ValueError(f"{name}: {ours} is reserved for Bessemer")
    volumes = settings.get("volumes", {})
    if not isinstance(volumes, dict):
        raise ValueError("volumes: must map volume types, such as pvc, to lists of volumes")
    claims = volumes.get("pvc", [])
    if not isinstance(claims, list) or not all(isinstance(claim, dict) for claim in claims):
        raise ValueError("volumes.pvc: must be a list of volumes, each with name and mount_path")
    services = settings.get("services", [])
    if not isinstance(services, list) or not all(isinstance(one, dict) and one.get("name") for one in services):
        raise ValueError("services: must be a list of services, each with a name")
    for name in _QUANTITIES:
        found = settings.get(name, "1")
        if not isinstance(found, str) or not re.fullmatch(QUANTITY_PATTERN, found):
            raise ValueError(f'{name}: must be a quantity in quotes, such as "500m" or "2Gi"')
    if not isinstance(settings.get("priority_class_name", ""), str):
        raise ValueError("priority_class_name: must be the name of a PriorityClass")
    return settings


Settings = Annotated[FreeForm, AfterValidator(drop_nulls)]
"""Additional executor settings: any JSON that TOML can express."""
KubernetesSettings = Annotated[
    Settings, AfterValidator(lambda settings: _check_kubernetes(_check_names("kubernetes", settings)))
]
DockerSettings = Annotated[Settings, AfterValidator(lambda settings: _check_names("docker", settings))]
CustomSettings = Annotated[Settings, AfterValidator(lambda settings: _check_names("custom", settings))]
VirtualBoxSettings = Annotated[Settings, AfterValidator(lambda settings: _check_names("virtualbox", settings))]
