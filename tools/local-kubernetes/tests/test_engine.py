"""The parts of an engine in namespaces that need no namespaces; `make e2e PROVIDER=kind-docker` runs all of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from local_kubernetes.engine.bounded_runc import NAMES, bound, find_process_file, parse_bounding_set
from local_kubernetes.engine.packages import parse_simulation
from local_kubernetes.node_image.images import NFT_NAMES

ALL = (1 << len(NAMES)) - 1
SYS_RESOURCE = 24
"""Its number in linux/capability.h."""


def test_a_bounding_set_is_read_by_the_kernels_numbers() -> None:
    without = f"Name:\tsh\nCapBnd:\t{ALL & ~(1 << SYS_RESOURCE):016x}\nCapAmb:\t0\n"
    assert {f"CAP_{name}" for name in NAMES} - parse_bounding_set(without) == {"CAP_SYS_RESOURCE"}


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ("--root /r --log /l create --bundle /b --pid-file /p id", (Path("/b/config.json"), True)),
        ("run -b /b id", (Path("/b/config.json"), True)),
        ("--root /r exec --process /tmp/p.json --detach id", (Path("/tmp/p.json"), False)),
        ("delete --force create", None),
        ("exec id sh", None),
        ("", None),
    ],
)
def test_only_the_commands_that_start_a_process_have_one_described(
    arguments: str, found: tuple[Path, bool] | None
) -> None:
    assert find_process_file(arguments.split()) == found


def test_a_process_is_asked_no_capability_beyond_the_bounding_set() -> None:
    process: dict[str, Any] = json.loads(
        '{"args": ["sh"], "capabilities": {"bounding": ["CAP_KILL", "CAP_SYS_RESOURCE"], "ambient": null}}'
    )
    bound(process, {"CAP_KILL", "CAP_CHOWN"})
    assert process == {"args": ["sh"], "capabilities": {"bounding": ["CAP_KILL"], "ambient": []}}


def test_a_process_without_capabilities_stays_as_it_is() -> None:
    process: dict[str, Any] = {"args": ["sh"]}
    bound(process, set())
    assert process == {"args": ["sh"]}


def test_what_apt_would_install_is_read_with_its_versions() -> None:
    text = (
        "Reading package lists...\n"
        "Inst containerd (1.6.20~ds1-1+deb12u3 Debian:12.15/oldstable [amd64])\n"
        "Inst iptables [1.8.8-1] (1.8.9-2 Debian:12.1/stable [amd64])\n"
        "Conf containerd (1.6.20~ds1-1+deb12u3 Debian:12.15/oldstable [amd64])\n"
    )
    assert parse_simulation(text) == ["containerd=1.6.20~ds1-1+deb12u3", "iptables=1.8.9-2"]


def test_kube_proxy_finds_the_programs_of_both_families() -> None:
    assert {"iptables", "iptables-save", "iptables-restore", "ip6tables-restore"} <= set(NFT_NAMES)
