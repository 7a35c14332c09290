"""The runner record: data in the pool's own Secret about the runner that was created in GitLab. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from bessemer.api.runnerpool.spec import GitLabConnection, ManagedRunner
from bessemer.errors import Invalid
from bessemer.foreign import Unreadable, parse_int, parse_time
from bessemer.gitlab.credentials import is_token
from bessemer.gitlab.protocol import Registration
from bessemer.kinds.runnerpool.runner.request import build_scope
from bessemer.kube.secretdata import read_secret
from bessemer.pauses import compute_growing_pause

FIRST_PAUSE = timedelta(hours=1)
"""Pause between two replacements of a refused token; doubled each time. The first replacement is immediate."""
LONGEST_PAUSE = timedelta(days=1)
"""Also the age from which a token that GitLab accepts is trusted."""
RECORD_KEYS = frozenset({"token", "runner-id", "expires-at", "url", "scope", "request-digest", "issued-at", "refusals"})
"""Keys of the Secret that belong to the record."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class Record:
    """A runner that was created for a pool."""

    registration: Registration
    url: str
    """URL of its GitLab."""
    scope: str
    """Whose jobs it takes, in the text form of :class:`Scope`."""
    request_digest: str
    """Digest of the last request that GitLab received for it."""
    issued: datetime
    """When its token was issued."""
    refusals: int = 0
    """How many times in a row its token was replaced because GitLab refused it."""

    @property
    def id(self) -> int:
        """The runner's number in GitLab."""
        return self.registration.id

    @property
    def token(self) -> str:
        """The runner's authentication token."""
        return self.registration.token

    def is_at(self, gitlab: GitLabConnection) -> bool:
        """Return whether it is in the GitLab and scope of the spec."""
        return (self.url, self.scope) == (gitlab.url, str(build_scope(gitlab)))

    def is_expiring(self, managed: ManagedRunner, now: datetime) -> bool:
        """Return whether the token is due for rotation: at ``rotate_before_seconds`` before its end, or half its
        lifetime.
        """
        expires = self.registration.expires_at
        if expires is None:
            return False
        early = min(timedelta(seconds=managed.rotate_before_seconds), (expires - self.issued) / 2)
        return expires - early <= now

    def compute_rotation(self) -> datetime:
        """Return when a refused token is replaced next; at once for the first time."""
        if self.refusals == 0:
            return self.issued
        return self.issued + compute_growing_pause(FIRST_PAUSE, self.refusals, LONGEST_PAUSE)

    def to_data(self) -> dict[str, str]:
        """Return the record as data of the Secret."""
        expires = self.registration.expires_at
        return {
            "token": self.registration.token,
            "runner-id": str(self.registration.id),
            "expires-at": expires.isoformat() if expires else "",
            "url": self.url,
            "scope": self.scope,
            "request-digest": self.request_digest,
            "issued-at": self.issued.isoformat(),
            "refusals": str(self.refusals),
        }


@dataclass(frozen=True)
class PoolSecret:
    """The pool's own Secret: the runner's configuration and the record."""

    version: str
    """Its resourceVersion."""
    data: Mapping[str, Any] = field(repr=False)
    """In base64, as in the API."""

    @property
    def has_record(self) -> bool:
        """Return whether it has a record, readable or not."""
        return "runner-id" in self.data

    def get_values(self) -> dict[str, str]:
        """Return its values; those that are not text are left out, so that the next write replaces them."""
        data = read_secret({"data": self.data}, "")
        found: dict[str, str] = {}
        for key in data.values:
            try:
                found[key] = data.get_text(key) or ""
            except Invalid:
                continue
        return found


def parse_record(secret: PoolSecret | None, name: str) -> Record | None:
    """Read the record in a pool's Secret; None if there is none. Raises Invalid SecretBroken naming the key."""
    if secret is None or not secret.has_record:
        return None
    data = read_secret({"data": secret.data}, name)

    def read(key: str, parse: Callable[[str], _T]) -> _T:
        try:
            return parse(data.require_text(key))
        except Unreadable as error:
            data.refuse(key, f"is {error}")

    ends = read("expires-at", parse_time) if data.get_text("expires-at") else None
    if not is_token(data.require_text("token")):
        data.refuse("token", "is no token")
    return Record(
        Registration(read("runner-id", partial(parse_int, least=1)), data.require_text("token"), ends),
        data.require_text("url"),
        data.require_text("scope"),
        data.require_text("request-digest"),
        read("issued-at", parse_time),
        read("refusals", parse_int) if data.get_text("refusals") else 0,
    )
