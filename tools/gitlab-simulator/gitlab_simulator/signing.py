"""The keys by which tokens of jobs are signed and checked: RFC 7515, 7517, 7638."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

KEY_BITS = 2048


class SigningKeys:
    """The keys that are told to others; tokens are signed by the last one."""

    def __init__(self) -> None:
        self._keys: list[RSAPrivateKey] = []

    def rotate(self, *, keep: bool) -> None:
        """Sign with a new key from now on; the old ones are told on if they are kept."""
        self._keys = [*(self._keys if keep else []), generate_private_key(65537, KEY_BITS)]

    def build_jwks(self) -> dict[str, Any]:
        """Return the public keys as a JSON Web Key Set."""
        self._ensure()
        common = {"kty": "RSA", "use": "sig", "alg": "RS256"}
        return {"keys": [common | {"kid": _get_name(key)} | _build_numbers(key) for key in self._keys]}

    def sign(self, claims: dict[str, Any]) -> str:
        """Return a JSON Web Token."""
        self._ensure()
        key = self._keys[-1]
        head = {"kid": _get_name(key), "typ": "JWT", "alg": "RS256"}
        signed = ".".join(_encode(json.dumps(part).encode()) for part in (head, claims))
        signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_encode(signature)}"

    def _ensure(self) -> None:
        if not self._keys:
            self.rotate(keep=False)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _build_numbers(key: RSAPrivateKey) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    return {
        name: _encode(number.to_bytes((number.bit_length() + 7) // 8, "big"))
        for name, number in (("n", numbers.n), ("e", numbers.e))
    }


def _get_name(key: RSAPrivateKey) -> str:
    """The thumbprint of RFC 7638."""
    numbers = _build_numbers(key)
    text = json.dumps({"e": numbers["e"], "kty": "RSA", "n": numbers["n"]}, separators=(",", ":"))
    return _encode(hashlib.sha256(text.encode()).digest())
