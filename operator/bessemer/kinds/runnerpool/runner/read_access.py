"""Reads the user's Secrets that a pool names; writes nothing."""

from __future__ import annotations

from bessemer.api.references import SecretReference
from bessemer.api.runnerpool.spec import GitLabConnection, RunnerPoolSpec
from bessemer.engine.destination import check_destination
from bessemer.errors import BessemerError, Invalid
from bessemer.kinds.runnerpool.deps import PoolDeps
from bessemer.kinds.runnerpool.render.config import CA_KEY, list_references
from bessemer.kinds.runnerpool.runner.access import (
    API_TOKEN,
    CA,
    RUNNER_TOKEN,
    WEBHOOK_SECRET,
    Access,
    Check,
    SecretMissing,
    check_token,
    check_webhook_secret,
    find_destination,
    parse_value,
)
from bessemer.kube.protocol import SECRETS, Object


class _Reader:
    """Reads values of Secrets in a namespace, each Secret once, and keeps the first error."""

    def __init__(self, deps: PoolDeps, namespace: str) -> None:
        self._deps = deps
        self._namespace = namespace
        self._read: dict[str, Object | None] = {}
        self.problem: BessemerError | None = None

    async def find(
        self,
        reference: SecretReference | None,
        where: str,
        check: Check = lambda _text: None,
        url: str | None = None,
    ) -> str | None:
        """Return one value; None if there is no reference, or the value has an error. Raises Unavailable.

        ``url`` is the destination, which the Secret itself must allow; None if the value is sent nowhere.
        """
        if reference is None:
            return None
        if reference.name not in self._read:
            self._read[reference.name] = await self._deps.kubernetes.get_object(
                SECRETS, self._namespace, reference.name
            )
        try:
            raw = self._read[reference.name]
            value = parse_value(raw, reference, where, check)
            if url is not None and raw is not None and self._deps.settings.secrets_name_hosts:
                check_destination(raw, self._namespace, where, url)
            return value
        except (SecretMissing, Invalid) as error:
            self.problem = self.problem or error
            return None


async def get_access(deps: PoolDeps, namespace: str, spec: RunnerPoolSpec) -> Access:
    """Read all Secrets that the spec names; errors in them are part of the result. Raises Unavailable."""
    reader = _Reader(deps, namespace)
    found = {
        key: await reader.find(reference, where, url=find_destination(spec, key))
        for key, (reference, where) in list_references(spec).items()
    }
    api = await _find_api_token(reader, spec.gitlab, found.get(CA_KEY))
    return Access(
        api_token=api,
        webhook_secret=await reader.find(spec.gitlab.webhook_secret, WEBHOOK_SECRET, check_webhook_secret),
        runner_token=await reader.find(spec.runner.token_secret, RUNNER_TOKEN, check_token, spec.gitlab.url),
        others={key: value for key, value in found.items() if value is not None},
        takes_webhooks=spec.gitlab.webhook_secret is not None,
        problem=reader.problem,
    )


async def get_api_access(deps: PoolDeps, namespace: str, gitlab: GitLabConnection) -> Access:
    """Read only the values for GitLab's API, in the same way."""
    reader = _Reader(deps, namespace)
    ca = await reader.find(gitlab.ca_secret, CA)
    api = await _find_api_token(reader, gitlab, ca)
    return Access(api, others={CA_KEY: ca} if ca is not None else {}, problem=reader.problem)


async def _find_api_token(reader: _Reader, gitlab: GitLabConnection, ca: str | None) -> str | None:
    token = await reader.find(gitlab.api_token_secret, API_TOKEN, check_token, gitlab.url)
    # If GitLab's certificate can't be verified as the spec wants it, the token must not be sent.
    return token if gitlab.ca_secret is None or ca is not None else None


async def get_webhook_secret(deps: PoolDeps, namespace: str, gitlab: GitLabConnection) -> str | None:
    """Read only the secret of webhooks; None if it does not exist or is invalid."""
    return await _Reader(deps, namespace).find(gitlab.webhook_secret, WEBHOOK_SECRET, check_webhook_secret)
