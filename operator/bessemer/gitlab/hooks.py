"""GitLab's webhooks: whether one is genuine, and what it says. Pure.

Sources: https://docs.gitlab.com/user/project/integrations/webhooks/,
https://docs.gitlab.com/user/project/integrations/webhook_events/#job-events and, for the signed form,
https://gitlab.com/gitlab-org/gitlab/-/merge_requests/230944 and https://www.standardwebhooks.com/
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from bessemer.errors import Invalid
from bessemer.foreign import Unreadable, decode_json, parse_int
from bessemer.gitlab.jobs import make_name, parse_object, parse_path
from bessemer.gitlab.protocol import ProjectRef

TOLERANCE_SECONDS = 300
"""A signature that is older, or that much ahead of our clock, is refused: somebody may be repeating what was heard."""
_STAMP = re.compile(r"[0-9]{1,12}")
"""Seconds since 1970, to the year 33658."""
_SIGNING_PREFIX = "whsec_"


@dataclass(frozen=True)
class JobHook:
    """A job has changed its status."""

    project: str
    """Full path of its project, in any case; empty where GitLab does not say it."""
    job_id: int
    status: str
    """As in the jobs API: created, pending, running, success, failed, canceled and others."""
    name: str = ""
    ref: str = ""
    """Branch, tag, or the ref of a merge request."""
    by_tag: bool = False
    """Whether the ref is a tag."""
    project_id: int | None = None
    """Number of its project, where GitLab says it."""

    @property
    def project_ref(self) -> ProjectRef:
        """Its project."""
        return ProjectRef(self.project, self.project_id)


@dataclass(frozen=True)
class OtherHook:
    """Something that says nothing of a job."""

    kind: str


def verify(headers: Mapping[str, str], body: bytes, secrets: Iterable[str], now: datetime) -> bool:
    """Tell whether the sender knows one of the secrets: by a signature where there is one, else by the token itself.

    A comparison takes the same time, whatever differs.
    """
    signatures = headers.get("webhook-signature", "")
    if signatures:
        return any(_is_signed(headers, body, signatures, secret, now) for secret in secrets)
    token = _encode(headers.get("X-Gitlab-Token", ""))
    return any(hmac.compare_digest(token, secret.encode()) for secret in secrets if secret)


def parse_hook(headers: Mapping[str, str], body: bytes) -> JobHook | OtherHook:
    """Read a webhook; raises Invalid for what is none."""
    try:
        data = parse_object(decode_json(body, most_bytes=len(body)))
        kind = data.get("object_kind")
        if not isinstance(kind, str):
            raise Unreadable("no object_kind")
        if kind != "build":
            return OtherHook(make_name(kind))
        project = data.get("project")
        project = project if isinstance(project, dict) else {}
        path, number, status = project.get("path_with_namespace"), data.get("project_id"), data.get("build_status")
        if not isinstance(status, str):
            raise Unreadable("no build_status")
        return JobHook(
            project=parse_path(path) if path else "",
            job_id=parse_int(data.get("build_id"), least=1),
            status=make_name(status),
            name=make_name(data.get("build_name")),
            ref=make_name(data.get("ref")),
            by_tag=data.get("tag") is True,
            project_id=None if number is None else parse_int(number),
        )
    except Unreadable as error:
        event = make_name(headers.get("X-Gitlab-Event", "no X-Gitlab-Event"))
        raise Invalid("InvalidWebhook", f"{event}: not the body of a webhook: {error}") from error


def _is_signed(headers: Mapping[str, str], body: bytes, signatures: str, secret: str, now: datetime) -> bool:
    stamp = headers.get("webhook-timestamp", "")
    if not secret or not _STAMP.fullmatch(stamp) or abs(now.timestamp() - int(stamp)) > TOLERANCE_SECONDS:
        return False
    message = _encode(f"{headers.get('webhook-id', '')}.{stamp}.") + body
    digest = base64.b64encode(hmac.new(_parse_key(secret), message, hashlib.sha256).digest()).decode()
    given = [signature.removeprefix("v1,") for signature in signatures.split() if signature.startswith("v1,")]
    return any(hmac.compare_digest(digest.encode(), _encode(signature)) for signature in given)


def _encode(header: str) -> bytes:
    """Give the bytes of a header as they were sent: aiohttp reads them as UTF-8, whatever they are."""
    return header.encode(errors="surrogateescape")


def _parse_key(secret: str) -> bytes:
    """Give the key: what follows whsec_ in base64, or the text itself."""
    if secret.startswith(_SIGNING_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(_SIGNING_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            return secret.encode()
    return secret.encode()
