"""The secrets of one build inside a phase pod: one seed, and all that is derived from it.

Nothing per node is stored. The same build, host and attempt always give the same value, so a phase that is repeated
after a crash finds the machines with the keys and tokens that it expects. Derivation is HKDF with SHA-256 (RFC 5869);
the info string names the purpose, so that no two purposes share a value.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from bessemer.api.phase_contract import PhaseInput
from bessemer.api.reasons import SECRET_MISSING
from bessemer.errors import Invalid

SEED_BYTES = 32
MUNGE_KEY_BYTES = 1024
"""Longest key that munge takes. Source: https://github.com/dun/munge/blob/master/src/libcommon/munge_defs.h"""
TOKEN_BYTES = 24
"""192 bits in 32 characters: too many to guess, and free of = in a URL."""


@dataclass(frozen=True)
class SshKeyPair:
    """An ed25519 key as OpenSSH writes it."""

    private: str = field(repr=False)
    """Content of a private key file."""
    public: str
    """``ssh-ed25519 <base64>``, without a comment."""


@dataclass(frozen=True)
class BuildSecrets:
    """The secrets of one build; methods derive what is asked for."""

    uid: str
    """UID of the ClusterBuild."""
    seed: bytes = field(repr=False)
    """Random bytes made by the operator, once per build."""
    login_key: SshKeyPair
    """The key that logs in to boot host and nodes; its public half is planted on nodes."""

    def host_key(self, host: str) -> SshKeyPair:
        """Return the SSH host key that is planted on a host."""
        return derive_host_key(self.uid, self.seed, host)

    def install_token(self, host: str, phase: str, phase_attempt: int, node_attempt: int) -> str:
        """Return the one-time token with which a host's installer authenticates, in URL-safe base64."""
        info = f"install/{self.uid}/{host}/{phase}/{phase_attempt}/{node_attempt}"
        return base64.urlsafe_b64encode(self._derive(info, TOKEN_BYTES)).decode()

    @cached_property
    def homes_key(self) -> SshKeyPair:
        """Return the key with which compute nodes mount the homes of the management node by SSH."""
        return _key_pair(Ed25519PrivateKey.from_private_bytes(self._derive(f"homes/{self.uid}", 32)))

    @cached_property
    def munge_key(self) -> bytes:
        """Return the key that all munge daemons of the cluster share."""
        return self._derive(f"munge/{self.uid}", MUNGE_KEY_BYTES)

    def _derive(self, info: str, length: int) -> bytes:
        return _derive(self.seed, info, length)


def derive_host_key(uid: str, seed: bytes, host: str) -> SshKeyPair:
    """Return the SSH host key that a build plants on a host, from the build's UID and seed."""
    return _key_pair(Ed25519PrivateKey.from_private_bytes(_derive(seed, f"hostkey/{uid}/{host}", 32)))


def _derive(seed: bytes, info: str, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info.encode()).derive(seed)


def read_secrets(phase_input: PhaseInput, secret_directory: Path, ssh_key_directory: Path) -> BuildSecrets:
    """Read the mounted Secrets.

    The login key is the user's own where ``spec.ssh.privateKeySecret`` names one, else the build's.

    Raises:
        Invalid: a file is missing or doesn't hold what it should; names the Secret's key, never its content.
    """
    reference = phase_input.spec.ssh.private_key_secret
    if reference is None:
        key_file, origin = secret_directory / "ssh-privatekey", "the build's own Secret, key ssh-privatekey"
    else:
        key_file = ssh_key_directory / reference.key
        origin = f"spec.ssh.privateKeySecret: Secret {reference.name}, key {reference.key}"
    return BuildSecrets(
        uid=phase_input.uid,
        seed=parse_seed(_read(secret_directory / "seed", "the build's own Secret, key seed")),
        login_key=parse_login_key(_read(key_file, origin), origin),
    )


def read_progress_token(secret_directory: Path) -> str | None:
    """Read the bearer token for posts of progress; it must not depend on keys that may be missing or wrong."""
    token = secret_directory / "progress-token"
    return token.read_bytes().decode(errors="replace").strip() if token.exists() else None


def parse_login_key(text: bytes, origin: str) -> SshKeyPair:
    """Check and normalise a private key in OpenSSH format; ``origin`` says in errors where it came from.

    Raises:
        Invalid: it is no unencrypted ed25519 key.
    """
    try:
        key = load_ssh_private_key(text, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Invalid(
            "InvalidSshKey", f"{origin}: no ed25519 private key in OpenSSH format without a passphrase"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise Invalid("InvalidSshKey", f"{origin}: the key must be of type ed25519")
    return _key_pair(key)


def _read(file: Path, origin: str) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise Invalid(SECRET_MISSING, f"{origin}: it does not exist") from error
    except OSError as error:
        raise Invalid(SECRET_MISSING, f"{origin}: cannot be read ({error.strerror})") from error


def parse_seed(content: bytes) -> bytes:
    """Return the seed that stands in the build's Secret, in base64 or as it is; raises Invalid InvalidSeed."""
    try:
        seed = base64.b64decode(content, validate=True) if len(content) != SEED_BYTES else content
    except binascii.Error:
        seed = b""
    if len(seed) != SEED_BYTES:
        raise Invalid("InvalidSeed", f"the build's own Secret, key seed: must be {SEED_BYTES} bytes in base64")
    return seed


def _key_pair(key: Ed25519PrivateKey) -> SshKeyPair:
    return SshKeyPair(
        private=key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode(),
        public=key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode(),
    )
