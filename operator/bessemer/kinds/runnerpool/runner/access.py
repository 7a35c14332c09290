"""The user's Secrets that a pool names, read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bessemer.api.references import SecretReference
from bessemer.api.runnerpool.spec import GitLabConnection, RunnerPoolSpec
from bessemer.engine.destination import check_destination
from bessemer.errors import BessemerError, Invalid, Retry
from bessemer.foreign import Unreadable
from bessemer.gitlab.credentials import is_token
from bessemer.gitlab.hooks import check_secret
from bessemer.kinds.runnerpool.deps import PoolDeps
from bessemer.kinds.runnerpool.render.config import ACCESS_KEY, CA_KEY, SECRET_KEY, list_references
from bessemer.kube.protocol import SECRETS, Object
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


class _Reader:
    """Reads values of the Secrets of a namespace, each Secret once, and remembers the first thing that is wrong."""

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
        """Return one value; None where there is no reference, or something is wrong. Raises Unavailable.

        ``url`` is where it is sent, which the Secret itself has to allow; None where it is sent nowhere.
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
    """Read all Secrets that the spec names; what is wrong with one is in the answer. Raises Unavailable."""
    reader = _Reader(deps, namespace)
    found = {
        key: await reader.find(reference, where, url=_find_destination(spec, key))
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


def _find_destination(spec: RunnerPoolSpec, key: str) -> str | None:
    """Return where runners send a value of ``list_references``; None where it goes nowhere, such as a private key."""
    if key not in (ACCESS_KEY, SECRET_KEY) or spec.cache is None or spec.cache.s3 is None:
        return None
    return f"{'http' if spec.cache.s3.insecure else 'https'}://{spec.cache.s3.server}"


async def get_api_access(deps: PoolDeps, namespace: str, gitlab: GitLabConnection) -> Access:
    """Read only what GitLab's API is used with, in the same way."""
    reader = _Reader(deps, namespace)
    ca = await reader.find(gitlab.ca_secret, CA)
    api = await _find_api_token(reader, gitlab, ca)
    return Access(api, others={CA_KEY: ca} if ca is not None else {}, problem=reader.problem)


async def _find_api_token(reader: _Reader, gitlab: GitLabConnection, ca: str | None) -> str | None:
    token = await reader.find(gitlab.api_token_secret, API_TOKEN, check_token, gitlab.url)
    # Whose certificate can't be checked as the spec wants it is not shown the token.
    return token if gitlab.ca_secret is None or ca is not None else None


async def get_webhook_secret(deps: PoolDeps, namespace: str, gitlab: GitLabConnection) -> str | None:
    """Read only what webhooks prove themselves with; None where there is none, or it can't be used."""
    return await _Reader(deps, namespace).find(gitlab.webhook_secret, WEBHOOK_SECRET, check_webhook_secret)


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
    """Check what webhooks are to prove themselves with; raises Unreadable."""
    if len(text) > MOST_SECRET_CHARACTERS or not text.isprintable():
        raise Unreadable(f"is not one line of at most {MOST_SECRET_CHARACTERS} printable characters")
    check_secret(text)


def list_secrets(spec: RunnerPoolSpec) -> set[str]:
    """Name the user's Secrets that a pool reads."""
    own = (spec.gitlab.api_token_secret, spec.gitlab.webhook_secret, spec.runner.token_secret)
    others = (reference for reference, _ in list_references(spec).values())
    return {reference.name for reference in (*own, *others) if reference is not None}
