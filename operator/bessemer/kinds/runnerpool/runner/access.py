"""The values of the user's Secrets that a pool names, and errors in them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bessemer.api.runnerpool.spec import RunnerPoolSpec
from bessemer.errors import BessemerError
from bessemer.kinds.runnerpool.render.config import ACCESS_KEY, CA_KEY, SECRET_KEY, list_references

RUNNER_TOKEN = "spec.runner.tokenSecret"  # noqa: S105  a field


@dataclass(frozen=True)
class Access:
    """The current values of the Secrets; a deleted, empty or invalid one has no value."""

    api_token: str | None = field(repr=False)
    webhook_secret: str | None = field(default=None, repr=False)
    runner_token: str | None = field(default=None, repr=False)
    """The token given by the user; the token of a managed runner is in the pool's own Secret."""
    others: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Values for the runner's configuration, by the names of :func:`config.list_references`."""
    takes_webhooks: bool = False
    """Whether the spec names a secret for webhooks, whether or not it exists."""
    problem: BessemerError | None = None
    """Error of the first Secret without a value: SecretMissing or Invalid."""

    @property
    def ca(self) -> str | None:
        """CA bundle with which GitLab's certificate is verified."""
        return self.others.get(CA_KEY)

    def require(self) -> None:
        """Raise the error of a Secret, if there is one."""
        if self.problem is not None:
            raise self.problem


def list_secrets(spec: RunnerPoolSpec) -> set[str]:
    """Return the names of the user's Secrets that a pool reads."""
    own = (spec.gitlab.api_token_secret, spec.gitlab.webhook_secret, spec.runner.token_secret)
    others = (reference for reference, _ in list_references(spec).values())
    return {reference.name for reference in (*own, *others) if reference is not None}


def find_destination(spec: RunnerPoolSpec, key: str) -> str | None:
    """Return where runners send a value of ``list_references``; None if it is sent nowhere, such as a private key."""
    if key not in (ACCESS_KEY, SECRET_KEY) or spec.cache is None or spec.cache.s3 is None:
        return None
    return f"{'http' if spec.cache.s3.insecure else 'https'}://{spec.cache.s3.server}"
