"""Renders the configuration of a pool's runners, which is in its Secret. Pure.

Source: https://docs.gitlab.com/runner/configuration/advanced-configuration/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from typing import Any

import tomli_w

from bessemer.api.references import SecretReference
from bessemer.api.runnerpool.cache import Proxy, S3Authentication, S3Cache
from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.api.runnerpool.spec import Mode, RunnerPoolSpec
from bessemer.engine.settings import Settings, build_proxy_environment
from bessemer.kinds.runnerpool.render import slurm_files
from bessemer.kinds.runnerpool.render.executor_config import (
    IDENTITY_FILE,
    KNOWN_HOSTS_FILE,
    build_executor_config,
    build_known_hosts,
)
from bessemer.kinds.runnerpool.render.slurm_files import SlurmHost, build_slurm_files

CONFIG_KEY = "config.toml"
ENTRYPOINT_KEY = "entrypoint.sh"
CA_KEY = "ca.crt"
ACCESS_KEY = "s3-access-key"
SECRET_KEY = "s3-secret-key"  # noqa: S105  the name of a key, not one
_OWNER_DIGITS = 8
CONFIG_DIRECTORY = "/etc/bessemer/runner"
"""Mount path of the Secret, in the init container only."""
UNHEALTHY_INTERVAL = "10s"
"""How long a manager stops asking after GitLab has refused it three times; the default would be an hour."""
HOME_DIRECTORY = "/run/bessemer/home"
"""Where the init container puts the runner's files: in memory; the configuration is deleted before a job starts."""


def list_references(spec: RunnerPoolSpec) -> dict[str, tuple[SecretReference, str]]:
    """Return the values of the user's Secrets that the configuration needs: reference and field by our name."""
    found: dict[str, tuple[SecretReference | None, str]] = {CA_KEY: (spec.gitlab.ca_secret, "spec.gitlab.caSecret")}
    if spec.executor.ssh is not None:
        found[IDENTITY_FILE] = spec.executor.ssh.identity_secret, "spec.executor.ssh.identitySecret"
    if spec.executor.slurm is not None:
        found[slurm_files.IDENTITY_FILE] = spec.executor.slurm.identity_secret, "spec.executor.slurm.identitySecret"
    if spec.cache is not None and spec.cache.s3 is not None:
        found[ACCESS_KEY] = spec.cache.s3.access_key_secret, "spec.cache.s3.accessKeySecret"
        found[SECRET_KEY] = spec.cache.s3.secret_key_secret, "spec.cache.s3.secretKeySecret"
    return {key: (reference, field) for key, (reference, field) in found.items() if reference is not None}


def list_files(spec: RunnerPoolSpec) -> list[str]:
    """Return the keys of the pool's Secret that are files of the runner; the Secret also holds the runner record."""
    optional = {CA_KEY: spec.gitlab.ca_secret, IDENTITY_FILE: spec.executor.ssh, KNOWN_HOSTS_FILE: spec.executor.ssh}
    slurm = slurm_files.FILES if spec.executor.slurm is not None else ()
    return [CONFIG_KEY, ENTRYPOINT_KEY, *(key for key, wanted in optional.items() if wanted is not None), *slurm]


_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?P<kind>([A-Z0-9]{1,16} )?PRIVATE KEY)-----(?P<body>[A-Za-z0-9+/=\s]+)-----END (?P=kind)-----"
)
"""A private key without a passphrase in PEM; an encrypted key in this form has headers."""


def build_config(pool: RunnerPool, spec: RunnerPoolSpec, token: str, secrets: Mapping[str, str]) -> str:
    """Return the text of config.toml; ``secrets`` are the values of :func:`list_references`."""
    claim = spec.cache.volume.claim_name if spec.cache and spec.cache.volume else None
    environment = build_proxies(spec.proxy) | {item.name: item.value for item in spec.pod.environment}
    runner: dict[str, Any] = {
        "name": pool.name,
        "url": spec.gitlab.url,
        "token": token,
        "environment": [f"{name}={value}" for name, value in environment.items()],
        **build_executor_config(pool, spec.executor, HOME_DIRECTORY, claim),
    }
    if spec.gitlab.ca_secret is not None:
        runner["tls-ca-file"] = f"{HOME_DIRECTORY}/{CA_KEY}"
    if spec.cache is not None and spec.cache.s3 is not None:
        runner["cache"] = _build_s3(spec.cache.s3, secrets)
    whole: dict[str, Any] = {"concurrent": 1, "check_interval": 3}
    if spec.mode is Mode.MANAGER:
        whole = {"concurrent": spec.max, "check_interval": 1}
        runner |= {"limit": spec.max, "unhealthy_interval": UNHEALTHY_INTERVAL}
    return tomli_w.dumps({**whole, "runners": [runner]})


def build_secret_data(
    pool: RunnerPool, spec: RunnerPoolSpec, token: str, secrets: Mapping[str, str], slurm_host: SlurmHost | None = None
) -> dict[str, str]:
    """Return the contents of the Secret that runner pods mount; the executor Slurm requires ``slurm_host``."""
    contents = {
        **secrets,
        CONFIG_KEY: build_config(pool, spec, token, secrets),
        ENTRYPOINT_KEY: files("bessemer.kinds.runnerpool.render").joinpath("entrypoint.sh").read_text(),
    }
    if spec.executor.ssh is not None:
        contents[KNOWN_HOSTS_FILE] = build_known_hosts(spec.executor.ssh)
        contents[IDENTITY_FILE] = write_private_key(contents[IDENTITY_FILE])
    if spec.executor.slurm is not None and slurm_host is not None:
        identity, owner = write_private_key(contents[slurm_files.IDENTITY_FILE]), pool.uid[:_OWNER_DIGITS]
        contents |= build_slurm_files(spec.executor.slurm, slurm_host, owner, HOME_DIRECTORY, identity)
    return {key: contents[key] for key in list_files(spec)}


def write_private_key(text: str) -> str:
    """Return a private key as OpenSSH reads it: only line feeds as line ends, and exactly one at the end.

    A pasted key may have other line ends, a byte order mark, indented lines, or no line ends at all. Text that is no
    such key is returned unchanged, so that OpenSSH reports the error.
    """
    found = _PRIVATE_KEY.search(text)
    if found is None:
        return text.rstrip("\n") + "\n"
    kind, body = found["kind"], "".join(found["body"].split())
    width = 70 if kind.startswith("OPENSSH") else 64  # line widths of ssh-keygen and openssl
    lines = [body[begin : begin + width] for begin in range(0, len(body), width)]
    return "\n".join((f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----", ""))


def build_proxies(proxy: Proxy | None) -> dict[str, str]:
    """Return the environment variables for the pool's proxies, for the runner and its jobs."""
    return {} if proxy is None else build_proxy_environment(proxy.http, proxy.https, ",".join(proxy.none))


def add_site_proxy(pool: RunnerPool, settings: Settings) -> RunnerPool:
    """Return the pool with the site's proxy if its spec has none; a spec with an empty proxy has one."""
    if pool.spec is None or pool.spec.proxy is not None or not (settings.http_proxy or settings.https_proxy):
        return pool
    proxy = Proxy.model_construct(
        http=settings.http_proxy or None,
        https=settings.https_proxy or None,
        none=[name for name in settings.no_proxy.split(",") if name],
    )
    return replace(pool, spec=pool.spec.model_copy(update={"proxy": proxy}))


def _build_s3(cache: S3Cache, secrets: Mapping[str, str]) -> dict[str, Any]:
    s3: dict[str, Any] = {"ServerAddress": cache.server, "BucketName": cache.bucket, "Insecure": cache.insecure}
    if cache.region is not None:
        s3["BucketLocation"] = cache.region
    if cache.authentication is S3Authentication.IAM:
        s3["AuthenticationType"] = "iam"
    else:
        s3 |= {
            "AuthenticationType": "access-key",
            "AccessKey": secrets[ACCESS_KEY],
            "SecretKey": secrets[SECRET_KEY],
        }
    section: dict[str, Any] = {"Type": "s3", "Shared": cache.shared, "s3": s3}
    return section | ({"Path": cache.path} if cache.path else {})
