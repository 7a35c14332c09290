"""The random secrets of a build: its seed, its SSH login key, and the token of its progress posts."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from bessemer.api.reasons import SECRET_BROKEN
from bessemer.errors import Invalid
from bessemer.kube.secretdata import SecretData
from bessemer.machines.secrets import parse_login_key, parse_seed

_SEED_BYTES = 32
_TOKEN_BYTES = 32
_MOST_TOKEN_BYTES = 256
SEED_KEY = "seed"
SSH_KEY = "ssh-privatekey"
TOKEN_KEY = "progress-token"  # noqa: S105  the name of a key, not its value


@dataclass(frozen=True)
class BuildKeys:
    """The secrets of a build; created once."""

    seed: bytes = field(repr=False)
    progress_token: str = field(repr=False)
    ssh_private_key: bytes | None = field(repr=False)
    """In OpenSSH format; None if the user provided a key."""

    def to_secret_data(self) -> dict[str, str]:
        """Return the data of a Kubernetes Secret. The seed itself is base64, so that it can be read as text."""
        values = {SEED_KEY: base64.b64encode(self.seed), TOKEN_KEY: self.progress_token.encode()}
        if self.ssh_private_key is not None:
            values[SSH_KEY] = self.ssh_private_key
        return {name: base64.b64encode(value).decode() for name, value in values.items()}


def create_keys(*, with_ssh_key: bool) -> BuildKeys:
    """Return new keys from the system's random source."""
    private = None
    if with_ssh_key:
        private = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return BuildKeys(secrets.token_bytes(_SEED_BYTES), secrets.token_urlsafe(_TOKEN_BYTES), private)


def check_secret(secret: SecretData, *, with_ssh_key: bool) -> str | None:
    """Return the public half of the build's own key in OpenSSH format; None if the user provided a key.

    Raises:
        Invalid: SecretBroken, something that a phase needs is missing or can't be used.
    """
    read_seed(secret)
    secret.require_text(TOKEN_KEY)
    return read_public_key(secret) if with_ssh_key else None


def read_seed(secret: SecretData) -> bytes:
    """Return the seed from which all keys and tokens of a build's machines are derived; raises Invalid SecretBroken."""
    try:
        return parse_seed(secret.require_bytes(SEED_KEY))
    except Invalid as error:
        if error.reason == SECRET_BROKEN:
            raise
        secret.refuse(SEED_KEY, f"must be {_SEED_BYTES} bytes in base64")


def read_public_key(secret: SecretData) -> str:
    """Return the public half of the key in a build's Secret in OpenSSH format; raises Invalid SecretBroken."""
    try:
        return parse_login_key(secret.require_bytes(SSH_KEY), SSH_KEY).public
    except Invalid as error:
        if error.reason == SECRET_BROKEN:
            raise
        secret.refuse(SSH_KEY, "is no ed25519 private key in OpenSSH format without a passphrase")


def read_progress_token(secret: SecretData) -> str | None:
    """Return the token of the build's progress posts; None if there is no usable one.

    A trailing line end is not part of it: phases strip it, too.
    """
    try:
        return (secret.get_text(TOKEN_KEY, most=_MOST_TOKEN_BYTES) or "").strip() or None
    except Invalid:
        return None
