"""The operator's settings from environment variables, which the chart sets."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network

from bessemer.api.reasons import INVALID_SETTING
from bessemer.errors import Invalid

PREFIX = "BESSEMER_"
_WORDS: Mapping[str, tuple[str, ...]] = {"log_level": ("info", "warning", "error"), "log_format": ("text", "json")}
"""Settings with a fixed set of values, the default first. No level is below info: at lower levels libraries log what
they send and receive, Secrets included."""
_PROXY = re.compile(r"(https?://[^\s@]+)?")
"""Without a password, which would appear in the pods' manifests."""


@dataclass(frozen=True)
class Settings:
    """The operator's settings; each field is read from the variable BESSEMER_<FIELD>."""

    image: str
    """Image of the phase pods, which is the operator's own image."""
    namespace: str
    """Namespace of the operator and of its Leases."""
    identity: str
    """Identity in the leader election: the pod's name, so that a restarted container leads at once."""
    image_pull_policy: str = "IfNotPresent"
    """imagePullPolicy of the phase pods."""
    image_pull_secrets: str = ""
    """Names of pull Secrets of the phase pods, separated by commas, in the build's namespace."""
    progress_url: str = ""
    """Base URL at which phase pods reach this operator; empty: phases post no progress."""
    listen_port: int = 8080
    """Port of GitLab's webhooks, which clients outside the cluster may reach."""
    internal_port: int = 8081
    """Port of metrics, probes and progress, for the cluster only."""
    deletion_seconds: int = 900
    """Seconds after which a deleted build is finalized even if Cleanup has not succeeded."""
    resync_seconds: int = 300
    """Seconds between passes over every object, even without events."""
    repeated_networks: str = ""
    """Networks of compute nodes, such as 10.141.0.0/16, that more than one cluster has, each behind its own management
    node; separated by commas. Addresses in them are not claimed."""
    runner_image: str = ""
    """Default image of runner pods."""
    runner_pull_policy: str = "IfNotPresent"
    """Default imagePullPolicy of runner pods."""
    runner_pull_secrets: str = ""
    """Names of the default pull Secrets of runner pods, separated by commas, in the pool's namespace."""
    executor_role: str = ""
    """Name of the role for runners that run jobs in separate pods."""
    executor_role_kind: str = "ClusterRole"
    """ClusterRole, or Role if each watched namespace has a Role of that name."""
    watch_namespaces: str = ""
    """Watched namespaces, separated by commas; they must include the operator's own. Empty: all."""
    secrets_name_hosts: int = 1
    """Whether a Secret is sent only to hosts that its annotation bessemer.dev/for names: 1 or 0."""
    gitlab_allowed_hosts: str = ""
    """Hosts that spec.gitlab.url of a RunnerPool may name, separated by commas; *.example.com means all hosts below
    example.com. Empty: any."""
    cpu_request: str = "100m"
    """CPU request of a phase pod."""
    memory_request: str = "256Mi"
    """Memory request of a phase pod."""
    memory_limit: str = "1Gi"
    """Memory limit of a phase pod, which includes its scratch directory."""
    log_level: str = "info"
    """Lowest level that is logged: info, warning or error."""
    log_format: str = "text"
    """text, or json: one JSON object per line."""
    http_proxy: str = ""
    """Proxy for http:// URLs, for phase pods and for pools that set no proxy."""
    https_proxy: str = ""
    """The same for https:// URLs."""
    no_proxy: str = ""
    """Destinations that are reached without a proxy: hosts, domains, addresses and networks, separated by commas."""

    @property
    def repeated_compute_networks(self) -> tuple[IPv4Network, ...]:
        """Networks of the setting repeated_networks."""
        return tuple(IPv4Network(text.strip()) for text in self.repeated_networks.split(",") if text.strip())

    @property
    def watched_namespaces(self) -> tuple[str, ...]:
        """Namespaces of the setting watch_namespaces; empty: all."""
        return tuple(name.strip() for name in self.watch_namespaces.split(",") if name.strip())


def build_proxy_environment(http: str | None, https: str | None, none: str) -> dict[str, str]:
    """Return the proxy variables in upper and lower case; ``none`` is the value of NO_PROXY."""
    given = {name: value for name, value in (("HTTP_PROXY", http), ("HTTPS_PROXY", https), ("NO_PROXY", none)) if value}
    return given | {name.lower(): value for name, value in given.items()}


def parse_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings; raises Invalid with the name of a missing or wrong variable."""
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
            raise Invalid(INVALID_SETTING, f"{variable} must be a whole number, not {text!r}")
    for name in ("image", "namespace", "identity"):
        if not values.get(name):
            raise Invalid(INVALID_SETTING, f"{PREFIX}{name.upper()} must be set")
    for name, words in _WORDS.items():
        if values.get(name, words[0]) not in words:
            raise Invalid(INVALID_SETTING, f"{PREFIX}{name.upper()} must be one of {', '.join(words)}")
    for name in ("http_proxy", "https_proxy"):
        if not _PROXY.fullmatch(str(values.get(name, ""))):
            raise Invalid(INVALID_SETTING, f"{PREFIX}{name.upper()} must be a URL, without user and password")
    settings = Settings(**values)  # type: ignore[arg-type]  # types were checked above, field by field
    try:
        _ = settings.repeated_compute_networks
    except ValueError as error:
        raise Invalid(INVALID_SETTING, f"{PREFIX}REPEATED_NETWORKS must be IPv4 networks: {error}") from error
    return settings


def get_settings() -> Settings:
    """Return the settings from the environment of the process."""
    return parse_settings(os.environ)
