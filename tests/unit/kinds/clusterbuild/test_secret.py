"""A build's own Secret may be edited by hand: what is wrong with it is told, and mending or deleting goes on."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tests.support.world import NAMESPACE, World, manifest

SECRET = "oxygen-bessemer"


def encode(value: bytes) -> str:
    return base64.b64encode(value).decode()


def dump(key: Any, phrase: bytes = b"") -> bytes:
    encryption = BestAvailableEncryption(phrase) if phrase else NoEncryption()
    data: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, encryption)
    return data


ENCRYPTED = dump(Ed25519PrivateKey.generate(), b"secret")
RSA = dump(generate_private_key(65537, 2048))


def start(world: World, own_key: bool = True) -> None:
    world.apply(manifest(ssh={"privateKeySecret": None} if own_key else {}))
    world.step()
    world.step()


def edit(world: World, **data: Any) -> None:
    world.kubernetes.edit("secrets", NAMESPACE, SECRET, {"data": {k.replace("_", "-"): v for k, v in data.items()}})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"ssh_privatekey": encode(ENCRYPTED)}, "key ssh-privatekey is no ed25519 private key"),
        ({"ssh_privatekey": encode(RSA)}, "key ssh-privatekey is no ed25519 private key"),
        ({"ssh_privatekey": encode(b"hunter2")}, "key ssh-privatekey is no ed25519 private key"),
        ({"ssh_privatekey": None}, "key ssh-privatekey is missing"),
        ({"seed": None}, "key seed is missing"),
        ({"seed": ""}, "key seed is empty"),
        ({"seed": encode(b"%%")}, "key seed must be 32 bytes in base64"),
        ({"seed": encode(b"\xff\xfe")}, "key seed must be 32 bytes in base64"),
        ({"seed": encode(encode(b"short").encode())}, "key seed must be 32 bytes in base64"),
        ({"progress_token": encode(b"\xff")}, "key progress-token is not text in UTF-8"),
        ({"progress_token": None}, "key progress-token is missing"),
    ],
)
def test_a_broken_secret_is_named_and_deletion_goes_on(world: World, data: dict[str, Any], said: str) -> None:
    start(world)
    before = dict(world.kubernetes.objects["secrets", NAMESPACE, SECRET]["data"])
    edit(world, **data)
    world.run_pods()
    assert world.step() == 5
    status, reason, message = world.condition("Progressing")
    assert (status, reason) == ("True", "SecretBroken")
    assert message.startswith(f"Secret {SECRET}: {said}")
    assert "hunter2" not in message
    started = world.started()
    world.pass_time(60)
    world.step()
    assert world.started() == started, "no phase begins with a broken Secret"
    edit(world, **before)
    world.settle()
    assert world.condition("Ready")[0] == "True", "a mended Secret is used"
    edit(world, **data)
    world.delete()
    world.settle()
    assert not world.exists()


def test_a_secret_without_data_is_broken_and_deletion_goes_on(world: World) -> None:
    start(world, own_key=False)
    world.kubernetes.objects["secrets", NAMESPACE, SECRET]["data"] = None
    world.run_pods()
    world.step()
    assert world.condition("Progressing")[1] == "SecretBroken"
    world.delete()
    world.settle()
    assert not world.exists()
