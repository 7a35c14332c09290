"""The Secrets of the GitLab that a spec names, in the same way for each kind that has one."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from bessemer.engine.deps import Deps
from bessemer.engine.secrets import KeyReference, SecretReader
from bessemer.gitlab.credentials import require_token
from bessemer.gitlab.hooks import check_secret

API_TOKEN, WEBHOOK_SECRET, CA = "spec.gitlab.apiTokenSecret", "spec.gitlab.webhookSecret", "spec.gitlab.caSecret"
REFRESH_PAUSE = timedelta(seconds=2)
"""Time between two reads of Secrets after a refusal: any client can cause refusals as often as it likes."""


class GitLab(Protocol):
    """``spec.gitlab`` of an object."""

    @property
    def url(self) -> str:
        """URL of GitLab."""

    @property
    def ca_secret(self) -> KeyReference | None:
        """The Secret with its certificate authorities."""

    @property
    def api_token_secret(self) -> KeyReference | None:
        """The Secret with the access token."""

    @property
    def webhook_secret(self) -> KeyReference | None:
        """The Secret with which its webhooks authenticate."""


async def find_api_token(reader: SecretReader, gitlab: GitLab, ca: str | None) -> str | None:
    """Return the access token, where it may be sent to GitLab. Raises Unavailable.

    If GitLab's certificate can't be verified as the spec wants it, which ``ca`` was read for, the token is not sent.
    """
    token = await reader.find(gitlab.api_token_secret, API_TOKEN, require_token, gitlab.url)
    return token if gitlab.ca_secret is None or ca is not None else None


async def find_webhook_secret(reader: SecretReader, gitlab: GitLab) -> str | None:
    """Return what webhooks authenticate with. Raises Unavailable."""
    return await reader.find(gitlab.webhook_secret, WEBHOOK_SECRET, check_secret)


async def read_webhook_secret(deps: Deps, namespace: str, gitlab: GitLab) -> str | None:
    """Read only the secret of webhooks; None if it does not exist or is invalid. Raises Unavailable."""
    return await find_webhook_secret(SecretReader(deps.kubernetes, deps.settings, namespace), gitlab)


def may_refresh(last: datetime, now: datetime) -> bool:
    """Return whether a refusal may cause another read of a Secret, which a client may have caused before."""
    return now - last >= REFRESH_PAUSE
