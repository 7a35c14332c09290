"""Machines out of a spec: hostlists in the user's order, secrets derived, OpenSSH files."""

from __future__ import annotations

import base64
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_ssh_private_key,
)

from bessemer.api.clusterbuild.spec import Ssh
from bessemer.api.fields import SecretKeyReference
from bessemer.api.phase_contract import PhaseInput, PhaseName
from bessemer.errors import Invalid
from bessemer.machines.machine import build_management_target, compute_min_ready, parse_compute_machines
from bessemer.machines.netboot.entries import InstallKind, build_boot_host_sources, build_management_sources
from bessemer.machines.secrets import BuildSecrets, read_progress_token, read_secrets
from bessemer.machines.ssh_files import build_ssh_targets, write_ssh_files
from tests.unit.phases.builders import LOGIN_KEY, SECRETS, build_input, build_spec


def test_macs_go_with_the_hosts_in_the_order_written() -> None:
    spec = build_spec(2).model_dump(by_alias=True)
    spec["compute"]["hosts"] = "oxygen[9,3]"
    machines = parse_compute_machines(build_spec().model_validate(spec))
    assert [(machine.host, machine.address, machine.mac) for machine in machines] == [
        ("oxygen9", "10.141.0.2", "52:54:00:8d:00:02"),
        ("oxygen3", "10.141.0.3", "52:54:00:8d:00:03"),
    ]


@pytest.mark.parametrize(("wanted", "count"), [("100%", 8), ("75%", 6), ("70%", 6), ("3", 3), ("1%", 1)])
def test_min_ready_is_a_count_or_a_percentage_rounded_up(wanted: str, count: int) -> None:
    compute = build_spec(8).model_dump(by_alias=True)["compute"]
    assert compute_min_ready(build_spec(8, compute={**compute, "minReady": wanted})) == count


def test_min_ready_above_the_number_of_nodes_is_invalid() -> None:
    compute = build_spec(8).model_dump(by_alias=True)["compute"]
    with pytest.raises(Invalid, match="minReady"):
        compute_min_ready(build_spec(8, compute={**compute, "minReady": "9"}))


def make_openssh_key(**encryption: Any) -> bytes:
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, encryption.get("encryption", NoEncryption()))


def write_secrets(directory: Path, **files: bytes) -> Path:
    directory.mkdir(exist_ok=True)
    for name, content in files.items():
        (directory / name.replace("_", "-")).write_bytes(content)
    return directory


def given_key_input(key: str = "ssh-privatekey") -> PhaseInput:
    spec = build_spec().model_copy(update={"ssh": Ssh(private_key_secret=SecretKeyReference(name="mine", key=key))})
    return build_input(PhaseName.PREFLIGHT, spec)


def test_the_builds_own_key_or_the_users_is_read(tmp_path: Path) -> None:
    own, users = make_openssh_key(), make_openssh_key()
    directory = write_secrets(
        tmp_path / "secret", seed=base64.b64encode(b"x" * 32), ssh_privatekey=own, progress_token=b"t\n"
    )
    ssh_directory = write_secrets(tmp_path / "ssh", id=users)
    made = read_secrets(build_input(PhaseName.PREFLIGHT), directory, ssh_directory)
    given_one = read_secrets(given_key_input("id"), directory, ssh_directory)
    assert read_progress_token(directory) == "t"
    assert read_progress_token(ssh_directory) is None
    assert made.login_key.public != given_one.login_key.public
    assert made.host_key("oxygen1").public == given_one.host_key("oxygen1").public


@pytest.mark.parametrize(
    ("seed", "key", "field"),
    [
        (b"short", make_openssh_key(), "seed"),
        (b"!" * 44, make_openssh_key(), "seed"),
        (base64.b64encode(b"x" * 32), b"no key", "Secret mine, key ssh-privatekey"),
        (base64.b64encode(b"x" * 32), make_openssh_key(encryption=BestAvailableEncryption(b"p")), "passphrase"),
        (
            base64.b64encode(b"x" * 32),
            rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
            "ed25519",
        ),
    ],
)
def test_unusable_secrets_are_told_without_their_content(tmp_path: Path, seed: bytes, key: bytes, field: str) -> None:
    directory = write_secrets(tmp_path / "secret", seed=seed)
    ssh_directory = write_secrets(tmp_path / "ssh", ssh_privatekey=key)
    with pytest.raises(Invalid) as caught:
        read_secrets(given_key_input(), directory, ssh_directory)
    assert field in caught.value.message


def test_a_missing_secret_is_named(tmp_path: Path) -> None:
    directory = write_secrets(tmp_path / "secret", seed=b"x" * 32)
    with pytest.raises(Invalid, match=r"Secret mine, key ssh-privatekey: it does not exist"):
        read_secrets(given_key_input(), directory, tmp_path)


def test_every_derived_secret_is_its_own_and_always_the_same() -> None:
    again = BuildSecrets("uid-1", b"s" * 32, LOGIN_KEY)
    other_build = BuildSecrets("uid-2", b"s" * 32, LOGIN_KEY)
    tokens = {
        secrets.install_token(host, "BootCompute", phase_attempt, node_attempt)
        for secrets in (SECRETS, other_build)
        for host in ("a", "b")
        for phase_attempt in (1, 2)
        for node_attempt in (1, 2)
    }
    assert len(tokens) == 16
    assert SECRETS.host_key("a").public == again.host_key("a").public != other_build.host_key("a").public
    assert SECRETS.munge_key == again.munge_key != other_build.munge_key
    assert len(SECRETS.munge_key) == 1024
    keys = [SECRETS.homes_key, again.homes_key, other_build.homes_key, SECRETS.host_key("homes")]
    assert [key.public == keys[0].public for key in keys] == [True, True, False, False]
    key = load_ssh_private_key(SECRETS.host_key("a").private.encode(), None)
    assert isinstance(key, Ed25519PrivateKey)


def test_secrets_do_not_show_in_a_representation() -> None:
    assert "private half" not in repr(SECRETS)
    assert "ssss" not in repr(SECRETS)


def test_openssh_files_are_private_and_strict(tmp_path: Path) -> None:
    spec = build_spec(2)
    files = write_ssh_files(tmp_path / "ssh", build_ssh_targets(spec, SECRETS, parse_compute_machines(spec)), SECRETS)
    config = files.config.read_text()
    assert (
        "Host oxygen3\n  HostName 10.141.0.3\n  Port 22\n  User root\n  HostKeyAlias oxygen3\n  ProxyJump oxygen1\n"
        in config
    )
    assert "StrictHostKeyChecking yes" in config
    names = [line.split()[0] for line in files.known_hosts.read_text().splitlines()]
    assert names == ["boot-host", "oxygen1", "oxygen2", "oxygen3"]
    assert stat.S_IMODE(files.private_key.stat().st_mode) == 0o600


def test_a_given_management_node_has_the_host_key_of_the_spec() -> None:
    management = build_spec().model_dump(by_alias=True)["management"]
    ssh = {"address": "m.example", "port": 2222, "user": "admin", "hostKey": LOGIN_KEY.public + " comment"}
    target = build_management_target(build_spec(management={**management, "provision": False, "ssh": ssh}), "planted")
    assert (target.host_key, target.port, target.user) == (LOGIN_KEY.public, 2222, "admin")


def test_a_boot_entry_holds_all_that_an_install_needs() -> None:
    spec = build_spec(2)
    (machine, _) = parse_compute_machines(spec)
    kind = InstallKind("uid-1", "BootCompute", 3, spec.compute.install, build_management_sources(spec), SECRETS)
    entry = kind.build_entry(machine, 2, "/installer")
    assert entry["parameters"] == {
        "METHOD": "DiskImage",
        "DISK": "/dev/sda",
        "IMAGE": "http://10.141.0.1:8099/files/c.tar.gz",
        "HOSTNAME": "oxygen2",
    }
    assert (entry["server"], entry["kernel"]) == ("http://10.141.0.1:8099", "/var/lib/bessemer/files/vmlinuz")
    assert (entry["script"], entry["initrds"], entry["persistent"]) == (None, ["/installer"], False)
    assert entry["attempt"].endswith("-3-2")
    planted = {item["path"]: (item["mode"], base64.b64decode(item["content"]).decode()) for item in entry["files"]}
    assert planted["/etc/hostname"] == (0o644, "oxygen2\n")
    assert planted["/etc/ssh/ssh_host_ed25519_key"][0] == 0o600
    assert planted["/root/.ssh/authorized_keys"] == (0o600, LOGIN_KEY.public + " bessemer\n")


def test_without_a_boot_host_there_is_no_source() -> None:
    spec = build_spec().model_copy(update={"boot_host": None})
    with pytest.raises(Invalid, match="bootHost"):
        build_boot_host_sources(spec, spec.compute.install)


@pytest.mark.parametrize(("field", "value"), [("hosts", "oxygen[1-99999999]"), ("addresses", "10.141.0.[1-99999999]")])
def test_too_many_machines_are_invalid_and_the_field_is_named(field: str, value: str) -> None:
    compute = build_spec(2).model_dump(by_alias=True)["compute"]
    with pytest.raises(Invalid, match=rf"spec\.compute\.{field}: .* more than 1024 machines"):
        parse_compute_machines(build_spec(2, compute={**compute, field: value}))
