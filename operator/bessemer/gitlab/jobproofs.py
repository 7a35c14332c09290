"""Asks GitLab whether a job is who it says: the keys of ID tokens, and the job of a job token.

Any client of the operator can cause these requests, so each has a rate. The keys come from the GitLab of the trigger's
spec, whatever issuer a token names. Sources: https://docs.gitlab.com/ci/secrets/id_token_authentication/,
https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig and
https://docs.gitlab.com/api/jobs/#retrieve-a-job-by-job-token
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any, Protocol
from urllib.parse import urlsplit

from bessemer.errors import Invalid
from bessemer.foreign import Unreadable
from bessemer.gitlab.credentials import is_token
from bessemer.gitlab.failures import explain_unreadable
from bessemer.gitlab.idtoken import Keys, ProofRefused, parse_keys, read_header, verify_token
from bessemer.gitlab.jobidentity import AT_WORK, JobIdentity, read_claims, read_job
from bessemer.gitlab.limits import Budget
from bessemer.gitlab.protocol import AccessTokenRefused, GitLabNotFound, GitLabRefused, GitLabUnavailable, RateLimited
from bessemer.gitlab.transport import Transport

DISCOVERY = "/.well-known/openid-configuration"
FRESH_SECONDS = 3600.0
"""How long keys are used before they are read again."""
PAUSE_SECONDS = 10.0
"""Minimum time between two readings of the keys: tokens with unknown keys cause them, and so do failures."""
BURST, PER_SECOND = 20, 1.0
"""Of questions whose job token it is."""
ISSUER_CHARACTERS = 2048
_PATH = re.compile(r"(/[-A-Za-z0-9._~]{1,64}){1,16}")


class JobProofs(Protocol):
    """What is asked of one GitLab about jobs that want a build.

    Both raise, beside ProofRefused, RateLimited and GitLabUnavailable, which say nothing of the job.
    """

    async def prove_id_token(self, token: str, audience: str, now: datetime) -> JobIdentity:
        """Return the job whose ID token it is. Raises ProofRefused, with the reasons of :mod:`idtoken`."""
        ...

    async def prove_job_token(self, token: str) -> JobIdentity:
        """Return the job whose job token it is, while it runs or is being cancelled.

        Raises ProofRefused: TokenBroken, UnknownToken, JobNotRunning, ClaimsBroken, WrongPipeline.
        """
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


@dataclass(frozen=True)
class _Issuer:
    """What GitLab publishes of its ID tokens."""

    name: str
    keys: Keys
    read_at: float


class ProofClient:
    """One GitLab as the issuer of its jobs' tokens."""

    def __init__(self, transport: Transport, clock: Callable[[], float] = monotonic) -> None:
        self._transport, self._clock = transport, clock
        self._budget = Budget(BURST, PER_SECOND)
        self._issuer: _Issuer | None = None
        self._tried = float("-inf")
        self._reading = asyncio.Lock()

    async def prove_id_token(self, token: str, audience: str, now: datetime) -> JobIdentity:
        """Return the job whose ID token it is."""
        key_id = read_header(token).key_id
        issuer = await self._find_issuer(key_id)
        return read_claims(verify_token(token, issuer.keys, issuer.name, audience, now))

    async def prove_job_token(self, token: str) -> JobIdentity:
        """Return the job whose job token it is, while it runs or is being cancelled."""
        if not is_token(token):
            raise ProofRefused("TokenBroken", "the job token is not one line of printable characters")
        wait = self._budget.spend(self._clock())
        if wait > 0:
            raise RateLimited("too many job tokens were sent to the operator", wait)
        answer = await self._transport.fetch_as_job("/job", token)
        try:
            data = answer.get_data()
        except (AccessTokenRefused, GitLabRefused, GitLabNotFound):
            text = "GitLab does not know the job token: it is valid only while its job runs"
            raise ProofRefused("UnknownToken", text) from None
        identity, state = read_job(data)
        if state not in AT_WORK:
            raise ProofRefused(
                "JobNotRunning", f"the job is not running: GitLab says {state or 'nothing of its state'}"
            )
        return identity

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def _find_issuer(self, key_id: str) -> _Issuer:
        """Return the keys, read again where they are old or lack this one. Raises GitLabUnavailable."""
        # Without the lock: strangers have the keys read again, which takes long where GitLab is slow.
        known = self._get_fresh()
        if known is not None and key_id in known.keys:
            return known
        async with self._reading:
            known, now = self._get_fresh(), self._clock()
            if known is not None and (key_id in known.keys or now - self._tried < PAUSE_SECONDS):
                return known
            if now - self._tried < PAUSE_SECONDS:
                raise RateLimited("GitLab's keys could not be read a moment ago", PAUSE_SECONDS)
            self._tried = now
            self._issuer = await self._read_issuer()
            return self._issuer

    def _get_fresh(self) -> _Issuer | None:
        """Return the keys as they were last read; None where that is too long ago, also while GitLab does not answer:
        one of them may be revoked by now.
        """
        known = self._issuer
        return known if known is not None and self._clock() - known.read_at < FRESH_SECONDS else None

    async def _read_issuer(self) -> _Issuer:
        try:
            found = await self._get_public(DISCOVERY)
            issuer, address = (
                (found.get(name) for name in ("issuer", "jwks_uri")) if isinstance(found, dict) else (0, 0)
            )
            if not isinstance(issuer, str) or not isinstance(address, str) or len(issuer) > ISSUER_CHARACTERS:
                raise Unreadable("no issuer and jwks_uri in the OpenID configuration")
            keys = parse_keys(await self._get_public(self._find_path(address)))
        except Unreadable as error:
            raise explain_unreadable(error) from error
        return _Issuer(issuer, keys, self._clock())

    async def _get_public(self, path: str) -> Any:
        """Return the JSON of what GitLab publishes; a refusal says nothing of a job, so it is GitLabUnavailable too."""
        try:
            return (await self._transport.fetch_public(path)).get_data()
        except Invalid as error:
            raise GitLabUnavailable(f"GitLab does not publish the keys of ID tokens: {error.message}") from error

    def _find_path(self, address: str) -> str:
        """Return where the keys are, below our GitLab: it may call itself by another address than the operator does.

        Raises Unreadable. Nothing is requested from other hosts, whatever the OpenID configuration says.
        """
        try:
            path = urlsplit(address).path
        except ValueError:
            path = ""
        path = path.removeprefix(self._transport.base.raw_path.rstrip("/"))
        if not _PATH.fullmatch(path) or "/." in path:
            raise Unreadable("jwks_uri is not a URL with a plain path")
        return path
