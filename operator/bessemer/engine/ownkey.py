"""The operator's own key: it distinguishes objects that the operator made from copies made by users.

Labels, owner references and annotations can be copied, and ``managedFields`` contains any manager name that the writer
chose. So each object that the operator must recognize after a crash has a seal: an HMAC that only the holder of the key
can make. The key is stored in a Secret in the operator's namespace, which tenants can't read.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass, field

from bessemer.api.wellknown import MANAGED_BY, MANAGED_BY_LABEL, OWN_KEY_SECRET
from bessemer.kube.protocol import SECRETS, AlreadyExists, Kubernetes
from bessemer.kube.secretdata import read_secret

_KEY = "key"
_KEY_BYTES = 32


@dataclass(frozen=True)
class Seal:
    """Makes and verifies seals."""

    key: bytes = field(repr=False)

    def sign(self, *parts: str) -> str:
        """Return the seal of these texts in this order: 64 hexadecimal digits."""
        return hmac.new(self.key, json.dumps(parts).encode(), hashlib.sha256).hexdigest()

    def verify(self, seal: str, *parts: str) -> bool:
        """Return whether a seal was made from these texts by the holder of the key."""
        return hmac.compare_digest(self.sign(*parts).encode(), seal.encode("utf-8", "replace"))


class OwnKey:
    """The key: read when it is first needed, and created if it is missing."""

    def __init__(self, kubernetes: Kubernetes, namespace: str) -> None:
        self._kubernetes = kubernetes
        self._namespace = namespace
        self._seal: Seal | None = None

    async def get_seal(self) -> Seal:
        """Return the object that makes seals.

        Raises:
            Invalid: SecretBroken, a user changed the Secret. If it is deleted, a new one is created; pods that had
                been created, but whose UIDs were not recorded yet, are then no longer recognized.
            Unavailable: the API server can't be reached.
        """
        if self._seal is None:
            raw = await self._kubernetes.get_object(SECRETS, self._namespace, OWN_KEY_SECRET)
            if raw is None:
                try:
                    raw = await self._kubernetes.create_object(SECRETS, self._namespace, self._build())
                except AlreadyExists:  # another replica was faster
                    raw = await self._kubernetes.get_object(SECRETS, self._namespace, OWN_KEY_SECRET)
            secret = read_secret(raw, f"{self._namespace}/{OWN_KEY_SECRET}")
            key = secret.require_bytes(_KEY)
            if len(key) < _KEY_BYTES:
                secret.refuse(_KEY, f"is shorter than {_KEY_BYTES} bytes")
            self._seal = Seal(key)
        return self._seal

    def _build(self) -> dict[str, object]:
        key = base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": OWN_KEY_SECRET,
                "namespace": self._namespace,
                "labels": {MANAGED_BY_LABEL: MANAGED_BY},
            },
            "type": "Opaque",
            "data": {_KEY: key},
        }
