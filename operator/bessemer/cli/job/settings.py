"""What a job is told by its variables. Pure, but for reading the file of a token.

A token is never an argument: arguments are in the list of processes, and in logs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from bessemer.errors import Invalid
from bessemer.foreign import Unreadable, parse_int

URL, MANIFEST, CLUSTER, AUTH = "BESSEMER_TRIGGER_URL", "BESSEMER_MANIFEST", "BESSEMER_CLUSTER", "BESSEMER_AUTH"
ID_TOKEN, ID_TOKEN_FILE, JOB_TOKEN = "BESSEMER_ID_TOKEN", "BESSEMER_ID_TOKEN_FILE", "CI_JOB_TOKEN"
CA_FILE, FOLDER = "BESSEMER_CA_FILE", "BESSEMER_FOLDER"
CONTEXT, NAMESPACE, JOB_ID, COMMIT = "BESSEMER_CONTEXT", "BESSEMER_NAMESPACE", "CI_JOB_ID", "CI_COMMIT_SHA"
KUBECONFIG_AUTH = "kubeconfig"
MOST_TOKEN = 8192


@dataclass(frozen=True)
class Wanted:
    """What a job wants, however it is told."""

    manifest: str = ""
    cluster: str = ""
    folder: Path = Path(".bessemer")
    """Where the files for GitLab are written."""


@dataclass(frozen=True)
class JobSettings:
    """Where the operator is, what is wanted of it, and how the job proves who it is."""

    url: str
    """URL of the trigger, without a slash at its end."""
    headers: Mapping[str, str] = field(repr=False)
    """The proof."""
    wanted: Wanted = Wanted()
    ca_file: str = ""
    """PEM bundle of certificate authorities; empty: those of the system."""


@dataclass(frozen=True)
class KubeSettings:
    """Which cluster a job with a kubeconfig applies its manifest to."""

    wanted: Wanted
    job: int
    """Number of the job in GitLab."""
    commit: str
    """The pipeline's commit."""
    context: str | None = None
    """Context of the kubeconfig; None: the current one."""
    namespace: str | None = None
    """None: that of the context."""


Settings = JobSettings | KubeSettings


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings; raises Invalid with the name of the variable that is wrong."""
    wanted = Wanted(
        manifest=environment.get(MANIFEST, ""),
        cluster=environment.get(CLUSTER, ""),
        folder=Path(environment.get(FOLDER) or ".bessemer"),
    )
    if environment.get(AUTH) == KUBECONFIG_AUTH:
        return _read_kube_settings(environment, wanted)
    url = environment.get(URL, "").strip().rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or "@" in url:
        text = f"{URL} must be the URL of the trigger, such as https://bessemer.example.org/v1/triggers/lab/clusters"
        raise Invalid("InvalidSetting", text)
    return JobSettings(
        url=url,
        headers=_build_proof(environment),
        wanted=wanted,
        ca_file=environment.get(CA_FILE, ""),
    )


def _read_kube_settings(environment: Mapping[str, str], wanted: Wanted) -> KubeSettings:
    if not wanted.manifest:
        raise Invalid("InvalidSetting", f"{MANIFEST} must be the path of the manifest where {AUTH} is kubeconfig")
    try:
        job = parse_int(environment.get(JOB_ID, ""), least=1)
    except Unreadable:
        raise Invalid("InvalidSetting", f"{JOB_ID} must be the number of the job, as GitLab sets it") from None
    return KubeSettings(
        wanted=wanted,
        job=job,
        commit=environment.get(COMMIT, ""),
        context=environment.get(CONTEXT) or None,
        namespace=environment.get(NAMESPACE) or None,
    )


def _build_proof(environment: Mapping[str, str]) -> dict[str, str]:
    auth = environment.get(AUTH) or "id_tokens"
    if auth == "job-token":
        return {"JOB-TOKEN": _check(environment.get(JOB_TOKEN, ""), JOB_TOKEN)}
    if auth != "id_tokens":
        raise Invalid("InvalidSetting", f"{AUTH} must be id_tokens, job-token or kubeconfig")
    path = environment.get(ID_TOKEN_FILE)
    if path:
        try:
            with Path(path).open(encoding="ascii") as file:
                return {"Authorization": f"Bearer {_check(file.read(MOST_TOKEN + 1), ID_TOKEN_FILE)}"}
        except (OSError, ValueError):
            raise Invalid("InvalidSetting", f"the file of {ID_TOKEN_FILE} can't be read") from None
    return {"Authorization": f"Bearer {_check(environment.get(ID_TOKEN, ''), ID_TOKEN)}"}


def _check(token: str, variable: str) -> str:
    token = token.strip()
    if not token:
        raise Invalid("InvalidSetting", f"{variable} is empty: the job has no token to prove who it is")
    if len(token) > MOST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise Invalid("InvalidSetting", f"{variable} has something that can't be a token")
    return token
