"""What a job is told by its variables. Pure, but for reading the file of a token.

A token is never an argument: arguments are in the list of processes, and in logs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from bessemer.errors import Invalid

URL, MANIFEST, CLUSTER, AUTH = "BESSEMER_TRIGGER_URL", "BESSEMER_MANIFEST", "BESSEMER_CLUSTER", "BESSEMER_AUTH"
ID_TOKEN, ID_TOKEN_FILE, JOB_TOKEN = "BESSEMER_ID_TOKEN", "BESSEMER_ID_TOKEN_FILE", "CI_JOB_TOKEN"
CA_FILE, FOLDER = "BESSEMER_CA_FILE", "BESSEMER_FOLDER"
MOST_TOKEN = 8192


@dataclass(frozen=True)
class JobSettings:
    """Where the operator is, what is wanted of it, and how the job proves who it is."""

    url: str
    """URL of the trigger, without a slash at its end."""
    headers: Mapping[str, str] = field(repr=False)
    """The proof."""
    manifest: str = ""
    cluster: str = ""
    ca_file: str = ""
    """PEM bundle of certificate authorities; empty: those of the system."""
    folder: Path = Path(".bessemer")
    """Where the files for GitLab are written."""


def read_settings(environment: Mapping[str, str]) -> JobSettings:
    """Return the settings; raises Invalid with the name of the variable that is wrong."""
    url = environment.get(URL, "").strip().rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or "@" in url:
        text = f"{URL} must be the URL of the trigger, such as https://bessemer.example.org/v1/triggers/lab/clusters"
        raise Invalid("InvalidSetting", text)
    return JobSettings(
        url=url,
        headers=_build_proof(environment),
        manifest=environment.get(MANIFEST, ""),
        cluster=environment.get(CLUSTER, ""),
        ca_file=environment.get(CA_FILE, ""),
        folder=Path(environment.get(FOLDER) or ".bessemer"),
    )


def _build_proof(environment: Mapping[str, str]) -> dict[str, str]:
    auth = environment.get(AUTH) or "id_tokens"
    if auth == "job-token":
        return {"JOB-TOKEN": _check(environment.get(JOB_TOKEN, ""), JOB_TOKEN)}
    if auth != "id_tokens":
        raise Invalid("InvalidSetting", f"{AUTH} must be id_tokens or job-token")
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
