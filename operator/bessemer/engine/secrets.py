"""Values of the Secrets that a spec names: read by reference, and what is wrong with one is a fact.

Every kind reads its users' Secrets here, and watches them by name with :mod:`bessemer.engine.secretwatch`. A problem
has one of four reasons: SecretMissing, SecretEmpty, SecretBroken and SecretNotForHost (docs/user/reasons.md). Messages
name the Secret, its key and the field of the spec, never a value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from bessemer.api.reasons import SECRET_EMPTY, SECRET_MISSING
from bessemer.engine.destination import check_destination
from bessemer.engine.settings import Settings
from bessemer.errors import BessemerError, Invalid, Retry
from bessemer.foreign import Unreadable
from bessemer.kube.protocol import SECRETS, Kubernetes, Object
from bessemer.kube.secretdata import read_secret

Check = Callable[[str], None]
"""Raises Unreadable, with what is wrong, for a value that can't be used."""


class KeyReference(Protocol):
    """One key of a Secret in the namespace of an object."""

    @property
    def name(self) -> str:
        """Name of the Secret."""

    @property
    def key(self) -> str:
        """Key in the Secret."""


class SecretMissing(Retry):
    """A Secret that the spec names does not exist, or its key is missing or empty."""

    def __init__(self, message: str, reason: str = SECRET_MISSING) -> None:
        super().__init__(reason, message)


class SecretReader:
    """Reads values of Secrets in a namespace, each Secret once, and keeps the first problem."""

    def __init__(self, kubernetes: Kubernetes, settings: Settings, namespace: str) -> None:
        self._kubernetes = kubernetes
        self._namespace = namespace
        self._names_hosts = settings.secrets_name_hosts
        self._read: dict[str, Object | None] = {}
        self.problem: BessemerError | None = None
        """SecretMissing or Invalid; None: all values that were asked for can be used."""

    async def find(
        self,
        reference: KeyReference | None,
        where: str,
        check: Check = lambda _text: None,
        url: str | None = None,
    ) -> str | None:
        """Return one value without white space around it; None without a reference, or for a value with a problem.

        ``where`` is the field that names the Secret. ``url`` is the destination, which the Secret itself must allow;
        None if the value is sent nowhere. Raises Unavailable.
        """
        if reference is None:
            return None
        raw = await self._get(reference.name)
        try:
            value = parse_value(raw, reference, where, check)
            if url is not None and raw is not None:
                self._check_destination(raw, where, url)
            return value
        except (SecretMissing, Invalid) as error:
            self.problem = self.problem or error
            return None

    async def allow(self, name: str, where: str, url: str) -> None:
        """Note a problem if a whole Secret, which a pod mounts, does not allow that it is sent to ``url``.

        A Secret that is missing is reported by the pod that mounts it. Raises Unavailable.
        """
        raw = await self._get(name)
        try:
            if raw is not None:
                self._check_destination(raw, where, url)
        except Invalid as error:
            self.problem = self.problem or error

    async def _get(self, name: str) -> Object | None:
        if name not in self._read:
            self._read[name] = await self._kubernetes.get_object(SECRETS, self._namespace, name)
        return self._read[name]

    def _check_destination(self, raw: Object, where: str, url: str) -> None:
        if self._names_hosts:
            check_destination(raw, self._namespace, where, url)


def parse_value(raw: Object | None, reference: KeyReference, where: str, check: Check) -> str:
    """Return one value of a Secret as it was read; ``where`` is the field that names it.

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
        raise SecretMissing(f"Secret {reference.name} ({where}): key {reference.key} is empty", SECRET_EMPTY)
    try:
        check(text)
    except Unreadable as error:
        data.refuse(reference.key, str(error))
    return text
