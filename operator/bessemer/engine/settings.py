"""What the operator is told by its environment; each value is set by the chart."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network

from bessemer.errors import Invalid

PREFIX = "BESSEMER_"
_WORDS: Mapping[str, tuple[str, ...]] = {"log_level": ("info", "warning", "error"), "log_format": ("text", "json")}
"""Settings that are one of some words, the default first. No level is below info: libraries log what they send and
receive there, Secrets among it."""
_PROXY = re.compile(r"(https?://[^\s@]+)?")
"""Without a password: it would stand in the pods' manifests."""


@dataclass(frozen=True)
class Settings:
    """The operator's settings; every field is read from the variable BESSEMER_<FIELD>."""

    image: str
    """Image of the phase pods: the operator's own."""
    namespace: str
    """Namespace of the operator; Leases lie there."""
    identity: str
    """Who this process is in the leader election: the pod's name, so that a restarted container leads at once."""
    image_pull_policy: str = "IfNotPresent"
    """imagePullPolicy of the phase pods."""
    image_pull_secrets: str = ""
    """Names of pull Secrets of the phase pods, separated by commas; they lie in the namespace of the build."""
    progress_url: str = ""
    """Base URL under which phase pods reach this operator; empty: no progress is posted."""
    listen_port: int = 8080
    """Port of GitLab's webhooks, which strangers may reach."""
    internal_port: int = 8081
    """Port of metrics, probes and progress, for the cluster alone."""
    deletion_seconds: int = 900
    """After that a deleted build goes, even where Cleanup has not succeeded."""
    resync_seconds: int = 300
    """Seconds between passes over every object, even without events."""
    repeated_networks: str = ""
    """Networks of compute nodes that more than one cluster has, each behind its own management node, such as
    10.141.0.0/16; separated by commas. Addresses in them are not claimed."""
    runner_image: str = ""
    """Image of runner pods whose pool names none."""
    runner_pull_policy: str = "IfNotPresent"
    """imagePullPolicy of runner pods whose pool names none."""
    runner_pull_secrets: str = ""
    """Names of pull Secrets of runner pods whose pool names none, separated by commas; in the pool's namespace."""
    executor_role: str = ""
    """Name of the role for runners that run jobs in separate pods."""
    executor_role_kind: str = "ClusterRole"
    """Whether that is a ClusterRole, or a Role of the name in each namespace that is watched."""
    watch_namespaces: str = ""
    """Namespaces that are watched, separated by commas; the operator's own has to be among them. Empty: all."""
    secrets_name_hosts: int = 1
    """Whether a Secret is sent only to hosts that its annotation bessemer.dev/for names: 1, or 0."""
    gitlab_allowed_hosts: str = ""
    """Hosts that spec.gitlab.url of a RunnerPool may name, separated by commas; *.example.com stands for all below
    example.com. Empty: any."""
    cpu_request: str = "100m"
    """CPU that a phase pod asks for."""
    memory_request: str = "256Mi"
    """Memory that a phase pod asks for."""
    memory_limit: str = "1Gi"
    """Memory that a phase pod may use, its scratch directory included."""
    log_level: str = "info"
    """The least that is logged: info, warning or error."""
    log_format: str = "text"
    """text, or json: one JSON object for each line."""
    http_proxy: str = ""
    """Proxy for http:// of phase pods, and of pools that set no proxy."""
    https_proxy: str = ""
    """The same for https://."""
    no_proxy: str = ""
    """What these reach without a proxy: hosts, domains, addresses and networks, separated by commas."""

    @property
    def repeated_compute_networks(self) -> tuple[IPv4Network, ...]:
        """The networks of repeated_networks."""
        return tuple(IPv4Network(text.strip()) for text in self.repeated_networks.split(",") if text.strip())

    @property
    def watched_namespaces(self) -> tuple[str, ...]:
        """The namespaces of watch_namespaces; empty: all."""
        return tuple(name.strip() for name in self.watch_namespaces.split(",") if name.strip())


def build_proxy_environment(http: str | None, https: str | None, none: str) -> dict[str, str]:
    """Return the variables that programs look for, in both spellings; ``none`` is what NO_PROXY is."""
    given = {name: value for name, value in (("HTTP_PROXY", http), ("HTTPS_PROXY", https), ("NO_PROXY", none)) if value}
    return given | {name.lower(): value for name, value in given.items()}


def parse_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings; raises Invalid naming the variable that is missing or wrong."""
    values: dict[str, str | int] = {}
    for name, field in Settings.__dataclass_fields__.items():
        variable = PREFIX + name.upper()
        text = environment.get(variable)
        if text is None:
            continue
        if field.type != "int":
            values[name] = text
        elif text.isdecimal():
            values[name] = int(text)
        else:
            raise Invalid("InvalidSetting", f"{variable} must be a whole number, not {text!r}")
    for name in ("image", "namespace", "identity"):
        if not values.get(name):
            raise Invalid("InvalidSetting", f"{PREFIX}{name.upper()} must be set")
    for name, words in _WORDS.items():
        if values.get(name, words[0]) not in words:
            raise Invalid("InvalidSetting", f"{PREFIX}{name.upper()} must be one of {', '.join(words)}")
    for name in ("http_proxy", "https_proxy"):
        if not _PROXY.fullmatch(str(values.get(name, ""))):
            raise Invalid("InvalidSetting", f"{PREFIX}{name.upper()} must be a URL, without user and password")
    settings = Settings(**values)  # type: ignore[arg-type]  # types were checked above, field by field
    try:
        _ = settings.repeated_compute_networks
    except ValueError as error:
        raise Invalid("InvalidSetting", f"{PREFIX}REPEATED_NETWORKS must be IPv4 networks: {error}") from error
    return settings


def get_settings() -> Settings:
    """Read the settings from the process's environment."""
    return parse_settings(os.environ)
