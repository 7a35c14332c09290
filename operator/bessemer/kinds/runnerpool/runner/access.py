"""The values of the user's Secrets that a pool names, and errors in them. Pure."""

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
"""Maximum length of the secret of webhooks; usual ones have a few dozen characters."""


class SecretMissing(Retry):
    """A Secret that the spec names does not exist, or its key is missing or empty."""

    def __init__(self, message: str, reason: str = "SecretMissing") -> None:
        super().__init__(reason, message)


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


def parse_value(raw: Object | None, reference: SecretReference, where: str, check: Check) -> str:
    """Return one value of a Secret; ``where`` is the field that names it, ``check`` raises Unreadable.

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
    """Check a value that is sent in a header; raises Unreadable."""
    if not is_token(text):
        raise Unreadable("can't be a token: tokens are one line of printable ASCII characters without blanks")


def check_webhook_secret(text: str) -> None:
    """Check the secret that authenticates webhooks; raises Unreadable."""
    if len(text) > MOST_SECRET_CHARACTERS or not text.isprintable():
        raise Unreadable(f"is not one line of at most {MOST_SECRET_CHARACTERS} printable characters")
    check_secret(text)


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
