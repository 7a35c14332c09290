"""The values of the user's Secrets that a pool names, and what is wrong with them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bessemer.api.references import SecretReference
from bessemer.api.runnerpool.spec import RunnerPoolSpec
from bessemer.errors import BessemerError, Retry
from bessemer.foreign import Unreadable
from bessemer.gitlab.credentials import is_token
from bessemer.gitlab.hooks import check_secret
from bessemer.kinds.runnerpool.render.config import ACCESS_KEY, CA_KEY, SECRET_KEY, list_references
from bessemer.kube.protocol import Object
from bessemer.kube.secretdata import read_secret

Check = Callable[[str], None]
API_TOKEN, WEBHOOK_SECRET = "spec.gitlab.apiTokenSecret", "spec.gitlab.webhookSecret"
RUNNER_TOKEN, CA = "spec.runner.tokenSecret", "spec.gitlab.caSecret"

EMPTY = "SecretEmpty"
MOST_SECRET_CHARACTERS = 4096
"""Of what webhooks prove themselves with; it has some dozens."""


class SecretMissing(Retry):
    """A Secret that the spec names is not there, or has no such key, or nothing in it."""

    def __init__(self, message: str, reason: str = "SecretMissing") -> None:
        super().__init__(reason, message)


@dataclass(frozen=True)
class Access:
    """The values of the Secrets, as they are now: one that is gone, empty or broken has no value any more."""

    api_token: str | None = field(repr=False)
    webhook_secret: str | None = field(default=None, repr=False)
    runner_token: str | None = field(default=None, repr=False)
    """The one that the user gives; of a managed runner's, the pool's own Secret has it."""
    others: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What the runner's configuration needs, by the names of :func:`config.list_references`."""
    takes_webhooks: bool = False
    """Whether the spec names a secret for webhooks, be it there or not."""
    problem: BessemerError | None = None
    """What is wrong with the first Secret that has no value: SecretMissing, or Invalid."""

    @property
    def ca(self) -> str | None:
        """The authorities that GitLab's certificate is checked with."""
        return self.others.get(CA_KEY)

    def require(self) -> None:
        """Raise what is wrong with a Secret, if anything is."""
        if self.problem is not None:
            raise self.problem


def parse_value(raw: Object | None, reference: SecretReference, where: str, check: Check) -> str:
    """Return one value of a Secret as it was read; ``where`` is the field that names it, ``check`` raises Unreadable.

    Raises SecretMissing, or Invalid SecretBroken.
    """
    if raw is None:
        raise SecretMissing(f"Secret {reference.name} ({where}) does not exist")
    data = read_secret(raw, f"{reference.name} ({where})")
    text = data.get_text(reference.key)
    if text is None:
        raise SecretMissing(f"Secret {reference.name} ({where}) has no key {reference.key}")
    text = text.strip()
    if not text:
        raise SecretMissing(f"Secret {reference.name} ({where}): key {reference.key} is empty", EMPTY)
    try:
        check(text)
    except Unreadable as error:
        data.refuse(reference.key, str(error))
    return text


def check_token(text: str) -> None:
    """Check what is sent in a header; raises Unreadable."""
    if not is_token(text):
        raise Unreadable("can't be a token: tokens are one line of printable ASCII characters without blanks")


def check_webhook_secret(text: str) -> None:
    """Check the secret that authenticates webhooks; raises Unreadable."""
    if len(text) > MOST_SECRET_CHARACTERS or not text.isprintable():
        raise Unreadable(f"is not one line of at most {MOST_SECRET_CHARACTERS} printable characters")
    check_secret(text)


def list_secrets(spec: RunnerPoolSpec) -> set[str]:
    """Name the user's Secrets that a pool reads."""
    own = (spec.gitlab.api_token_secret, spec.gitlab.webhook_secret, spec.runner.token_secret)
    others = (reference for reference, _ in list_references(spec).values())
    return {reference.name for reference in (*own, *others) if reference is not None}


def find_destination(spec: RunnerPoolSpec, key: str) -> str | None:
    """Return where runners send a value of ``list_references``; None where it goes nowhere, such as a private key."""
    if key not in (ACCESS_KEY, SECRET_KEY) or spec.cache is None or spec.cache.s3 is None:
        return None
    return f"{'http' if spec.cache.s3.insecure else 'https'}://{spec.cache.s3.server}"
