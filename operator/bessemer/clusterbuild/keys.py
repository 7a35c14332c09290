"""The random part of a build: its seed, the key that it logs in with, and the token of its progress posts."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

_SEED_BYTES = 32
_TOKEN_BYTES = 32
SEED_KEY = "seed"
SSH_KEY = "ssh-privatekey"
TOKEN_KEY = "progress-token"  # noqa: S105  the name of a key, not its value


@dataclass(frozen=True)
class BuildKeys:
    """What is secret about a build; made once."""

    seed: bytes = field(repr=False)
    progress_token: str = field(repr=False)
    ssh_private_key: bytes | None = field(repr=False)
    """OpenSSH format; None where the user gave a key."""

    def to_secret_data(self) -> dict[str, str]:
        """Give the data of a Kubernetes Secret. The seed is base64 in itself, so that it can be read as text."""
        values = {SEED_KEY: base64.b64encode(self.seed), TOKEN_KEY: self.progress_token.encode()}
        if self.ssh_private_key is not None:
            values[SSH_KEY] = self.ssh_private_key
        return {name: base64.b64encode(value).decode() for name, value in values.items()}


def create_keys(*, with_ssh_key: bool) -> BuildKeys:
    """Draw new keys from the system's random source."""
    private = None
    if with_ssh_key:
        private = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return BuildKeys(secrets.token_bytes(_SEED_BYTES), secrets.token_urlsafe(_TOKEN_BYTES), private)


def parse_public_key(data: Mapping[str, str]) -> str | None:
    """Give the public half of the key in a Secret's data, as OpenSSH writes it; None where there is no readable key."""
    if SSH_KEY not in data:
        return None
    try:
        private = load_ssh_private_key(base64.b64decode(data[SSH_KEY]), password=None)
    except ValueError:
        return None
    return private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def parse_progress_token(data: Mapping[str, str]) -> str | None:
    """Give the token that progress posts of the build must bear."""
    return base64.b64decode(data[TOKEN_KEY]).decode() if TOKEN_KEY in data else None
