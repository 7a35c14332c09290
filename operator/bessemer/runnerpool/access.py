"""The user's Secrets that a pool names, read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bessemer.errors import Retry
from bessemer.kube.client import SECRETS
from bessemer.kube.secretdata import read_secret
from bessemer.runnerpool.config import CA_KEY, list_references
from bessemer.runnerpool.deps import PoolDeps
from bessemer.runnerpool.references import SecretReference
from bessemer.runnerpool.spec import GitLabConnection, RunnerPoolSpec


class SecretMissing(Retry):
    """A Secret that the spec names is not there, or has no such key."""

    def __init__(self, message: str) -> None:
        super().__init__("SecretMissing", message)


@dataclass(frozen=True)
class Access:
    """The values of the Secrets, as they were read."""

    api_token: str | None = field(repr=False)
    webhook_secret: str | None = field(default=None, repr=False)
    others: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What the runner's configuration needs, by the names of :func:`config.list_references`."""

    @property
    def ca(self) -> str | None:
        """The authorities that GitLab's certificate is checked with."""
        return self.others.get(CA_KEY)


async def get_access(deps: PoolDeps, namespace: str, spec: RunnerPoolSpec) -> Access:
    """Read all Secrets that the spec names; raises SecretMissing naming the field."""
    others = {
        key: await get_secret(deps, namespace, reference, where) or ""
        for key, (reference, where) in list_references(spec).items()
    }
    return Access(
        await get_secret(deps, namespace, spec.gitlab.api_token_secret, "spec.gitlab.apiTokenSecret"),
        await get_secret(deps, namespace, spec.gitlab.webhook_secret, "spec.gitlab.webhookSecret"),
        others,
    )


async def get_api_access(deps: PoolDeps, namespace: str, gitlab: GitLabConnection) -> Access:
    """Read only what GitLab's API is used with; raises SecretMissing naming the field."""
    ca = await get_secret(deps, namespace, gitlab.ca_secret, "spec.gitlab.caSecret")
    return Access(
        await get_secret(deps, namespace, gitlab.api_token_secret, "spec.gitlab.apiTokenSecret"),
        others={CA_KEY: ca} if ca is not None else {},
    )


async def get_secret(deps: PoolDeps, namespace: str, reference: SecretReference | None, where: str) -> str | None:
    """Return the text of one key of a Secret; ``where`` is the field that names it.

    Raises:
        SecretMissing: it is not there, or has no such key.
        Invalid: SecretBroken, the value is no text.

    """
    if reference is None:
        return None
    secret = await deps.kubernetes.get_object(SECRETS, namespace, reference.name)
    if secret is None:
        raise SecretMissing(f"Secret {reference.name} ({where}) does not exist")
    value = (read_secret(secret, f"{reference.name} ({where})").get_text(reference.key) or "").strip()
    if not value:
        raise SecretMissing(f"Secret {reference.name} ({where}) has no key {reference.key}")
    return value


def list_secrets(spec: RunnerPoolSpec) -> set[str]:
    """Name the user's Secrets that a pool reads."""
    own = (spec.gitlab.api_token_secret, spec.gitlab.webhook_secret, spec.runner.token_secret)
    others = (reference for reference, _ in list_references(spec).values())
    return {reference.name for reference in (*own, *others) if reference is not None}
