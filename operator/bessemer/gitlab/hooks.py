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
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from bessemer.foreign import Unreadable, parse_int
from bessemer.gitlab.hookreader import HookReader
from bessemer.gitlab.jobs import make_name, parse_path
from bessemer.gitlab.protocol import ProjectRef
from bessemer.jsonmembers import Path, Scalar

TOLERANCE_SECONDS = 300
"""Seconds. A signature that is older, or that far in the future, is refused: it may be a replayed request."""
_STAMP = re.compile(r"[0-9]{1,12}")
"""Seconds since 1970, to the year 33658."""
_SIGNING_PREFIX = "whsec_"
LEAST_KEY_BYTES = 24
"""Of a signing key. Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""
MOST_SECRET_CHARACTERS = 4096
"""Maximum length of the secret of webhooks; usual ones have a few dozen characters."""
HOOK_BYTES = 25 * 1024 * 1024
"""GitLab sends no webhook that is longer.
Source: https://docs.gitlab.com/administration/instance_limits/#webhook-payload-size"""
_KIND: Path = ("object_kind",)
_PROJECT: Path = ("project", "path_with_namespace")
_NUMBER: Path = ("project_id",)
_JOB: Path = ("build_id",)
_STATUS: Path = ("build_status",)
_NAME: Path = ("build_name",)
_REF: Path = ("ref",)
_TAG: Path = ("tag",)


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


class Proof:
    """How the sender of a webhook proves that it knows the secret: by the secret itself, among the headers."""

    in_headers = True
    """Whether it is proven before the body is read."""

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body."""

    def holds(self) -> bool:
        """Return whether it is proven, now that the whole body was fed."""
        return True


class SignatureProof(Proof):
    """The same by a signature of the body. A comparison takes the same time, whatever differs."""

    in_headers = False

    def __init__(self, headers: Mapping[str, str], secret: str) -> None:
        stamp = headers.get("webhook-timestamp", "")
        self._digest = hmac.new(parse_key(secret), digestmod=hashlib.sha256)
        self._digest.update(_encode(f"{headers.get('webhook-id', '')}.{stamp}."))
        given = headers.get("webhook-signature", "").split()
        self._given = [_encode(one.removeprefix("v1,")) for one in given if one.startswith("v1,")]

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        self._digest.update(piece)

    def holds(self) -> bool:
        """Return whether one of the signatures is right, now that the whole body was fed."""
        right = base64.b64encode(self._digest.digest())
        return any(hmac.compare_digest(right, one) for one in self._given)


def begin_proof(headers: Mapping[str, str], secret: str, now: datetime) -> Proof | None:
    """Return how a sender proves itself by its headers, None where it can't.

    Where there is a signature it counts, and not the token; one that was not made just now is none.
    """
    if headers.get("webhook-signature"):
        stamp = headers.get("webhook-timestamp", "")
        if not _STAMP.fullmatch(stamp) or abs(now.timestamp() - int(stamp)) > TOLERANCE_SECONDS:
            return None
        return SignatureProof(headers, secret)
    token = _encode(headers.get("X-Gitlab-Token", ""))
    return Proof() if token and hmac.compare_digest(token, secret.encode()) else None


class JobHookReader(HookReader[JobHook | OtherHook]):
    """Reads which job a webhook is about, and how that is."""

    def __init__(self) -> None:
        super().__init__((_KIND, _PROJECT, _NUMBER, _JOB, _STATUS, _NAME, _REF, _TAG), _parse_members)


def check_secret(secret: str) -> None:
    """Check the secret that authenticates webhooks; raises Unreadable with the problem."""
    if len(secret) > MOST_SECRET_CHARACTERS or not secret.isprintable():
        raise Unreadable(f"is not one line of at most {MOST_SECRET_CHARACTERS} printable characters")
    if secret.startswith(_SIGNING_PREFIX) and len(parse_key(secret)) < LEAST_KEY_BYTES:
        raise Unreadable(f"what follows whsec_ is not the base64 of a key of {LEAST_KEY_BYTES} bytes or more")


def parse_key(secret: str) -> bytes:
    """Return the key of signatures: what follows whsec_ in base64, nothing where it is none; else the text itself."""
    if not secret.startswith(_SIGNING_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_SIGNING_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _parse_members(found: Mapping[Path, Scalar]) -> JobHook | OtherHook:
    kind = _get_text(found, _KIND)
    if not kind:
        raise Unreadable("no object_kind")
    if kind != "build":
        return OtherHook(kind)
    status = _get_text(found, _STATUS)
    path, number = found.get(_PROJECT), found.get(_NUMBER)
    if not status:
        raise Unreadable("no build_status")
    return JobHook(
        project=parse_path(path) if path else "",
        job_id=parse_int(found.get(_JOB), least=1),
        status=status,
        name=_get_text(found, _NAME),
        ref=_get_text(found, _REF),
        by_tag=found.get(_TAG) is True,
        project_id=None if number is None else parse_int(number),
    )


def _get_text(found: Mapping[Path, Scalar], path: Path) -> str:
    return make_name(found.get(path))


def _encode(header: str) -> bytes:
    """Return the bytes of a header as they were sent: aiohttp reads them as UTF-8, whatever they are."""
    return header.encode(errors="surrogateescape")
