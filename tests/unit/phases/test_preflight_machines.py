"""Names, addresses and MAC addresses that can't be those of machines are refused, after hostlists are expanded."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bessemer.api.clusterbuild.spec import ClusterBuildSpec
from bessemer.phases.preflight_checks import decide_spec_problems
from tests.unit.phases.builders import build_spec

Change = Callable[[dict[str, Any]], object]


def find(change: Change) -> list[tuple[str, str]]:
    """Reason and message of each problem; what the schema refuses has the reason Refused."""
    spec = build_spec().model_dump(by_alias=True)
    change(spec)
    try:
        problems = decide_spec_problems(ClusterBuildSpec.model_validate(spec))
    except ValidationError as error:
        return [("Refused", ".".join(map(str, found["loc"]))) for found in error.errors()]
    return [(problem.reason, problem.message) for problem in problems]


def image(machine: str, url: str) -> Change:
    return lambda spec: spec[machine]["install"].update(image=url)


def disk(path: str) -> Change:
    return lambda spec: spec["management"]["install"].update(disk=path)


def compute(**fields: Any) -> Change:
    return lambda spec: spec["compute"].update(fields)


def management(**fields: Any) -> Change:
    return lambda spec: spec["management"].update(fields)


def interface(**fields: Any) -> Change:
    return lambda spec: spec["management"]["clusterInterface"].update(fields)


def boot_host(**fields: Any) -> Change:
    return lambda spec: spec["bootHost"].update(fields)


def powerman(address: str) -> Change:
    return lambda spec: spec["power"]["powerman"].update(address=address)


LONG = "n" * 64


@pytest.mark.parametrize(
    ("change", "reason", "part"),
    [
        (compute(hosts=f"oxygen[2-4],{LONG}"), "InvalidHostName", f"{'n' * 40}... (64 characters)"),
        (compute(hosts=f"{'n' * 63}[2-5]"), "InvalidHostName", "more than 63 characters"),
        (compute(hosts="n" * 60 + "[0002-0005]"), "InvalidHostName", "more than 63 characters"),
        (compute(hosts="oxygen[2-4],n18446744073709551616"), "InvalidHostName", "64 bits: n18446744073709551616"),
        (compute(hosts="n[1-4]-"), "InvalidHostName", "n1-, n2-, n3-, n4-"),
        (compute(hosts="oxygen[2-4],-x"), "InvalidHostName", "-x"),
        (compute(hosts="oxygen[2-4],localhost"), "ReservedHostName", "localhost"),
        (compute(hosts="oxygen[2-4],ip6-loopback"), "ReservedHostName", "ip6-loopback"),
        (compute(hosts="oxygen[2-4],default"), "ReservedHostName", "slurm.conf"),
        (compute(hosts="oxygen[2-4],all"), "ReservedHostName", "group of the Ansible inventory: all"),
        (compute(hosts="oxygen[2-4],boot-host"), "ReservedHostName", "boot-host"),
        (compute(hosts="oxygen[2-4],oxygen1"), "DuplicateHost", "oxygen1"),
        (compute(hosts="oxygen[2-4,2]"), "DuplicateHost", "oxygen2"),
        (management(host="localhost"), "ReservedHostName", "localhost"),
        (management(host="default"), "ReservedHostName", "default"),
        (management(host="slurm-node"), "ReservedHostName", "slurm-node"),
        (management(address="10.77.0.1"), "DuplicateAddress", "spec.bootHost.address and spec.management.address"),
        (management(address="10.141.0.1"), "DuplicateAddress", "spec.management.clusterInterface.address: 10.141.0.1"),
        (management(address="10.141.7.7"), "OverlappingNetworks", "10.141.7.7 is in 10.141.0.0/16"),
        (boot_host(address="10.141.7.7"), "OverlappingNetworks", "spec.bootHost.address: 10.141.7.7"),
        (boot_host(address="10.141.0.3"), "DuplicateAddress", "spec.bootHost.address and spec.compute.addresses"),
        (interface(address="10.141.0.3/16"), "DuplicateAddress", "spec.compute.addresses: 10.141.0.3"),
        (interface(address="10.141.0.0/16"), "InvalidAddress", "is no address of a host"),
        (interface(address="10.141.255.255/16"), "InvalidAddress", "is no address of a host"),
        (boot_host(ssh={"address": "localhost"}), "InvalidAddress", "spec.bootHost.ssh.address: localhost: must be"),
        (management(ssh={"address": "127.1"}), "InvalidAddress", "spec.management.ssh.address: 127.1: must be a host"),
        (management(ssh={"address": "a..b"}), "Refused", "management.ssh.address"),
        (powerman("127.0.0.1"), "InvalidAddress", "spec.power.powerman.address: 127.0.0.1: must be"),
        (interface(name="lo"), "InvalidInterface", "lo is loopback"),
        (interface(name="all"), "InvalidInterface", "all is no interface"),
        (disk("/dev/../etc/passwd"), "Refused", "management.install.disk"),
        (disk("/dev/disk/.."), "Refused", "management.install.disk"),
        (disk("/dev/"), "Refused", "management.install.disk"),
        (compute(addresses="10.141.0.[2-4,2]"), "DuplicateAddress", "10.141.0.2 used more than once"),
        (compute(addresses="10.141.0.[2-4],10.141.255.255"), "AddressOutsideNetwork", "10.141.255.255"),
        (compute(addresses="10.141.0.[02-05]"), "InvalidAddress", "not an IPv4 address; IPv6 is not supported"),
        (compute(addresses="10.141.[2-5]"), "InvalidAddress", "not an IPv4 address"),
        (compute(addresses="10.141.0.[2-4]"), "LengthMismatch", "has 3 entries for 4 names"),
        (compute(macs=["52:54:00:8d:00:02"]), "LengthMismatch", "spec.compute.macs has 1 entries"),
        (
            compute(macs=["52:54:00:8d:00:0a", "52:54:00:8D:00:0A", *["52:54:00:8d:00:04"] * 2]),
            "DuplicateMac",
            "8d:00:0a",
        ),
        (management(mac="52:54:00:8D:00:02"), "DuplicateMac", "52:54:00:8d:00:02"),
        (management(mac="00:00:00:00:00:00"), "InvalidMac", "00:00:00:00:00:00"),
        (management(address="127.0.0.1"), "Refused", "management.address"),
        (management(address="0.1.2.3"), "Refused", "management.address"),
        (management(address="fd00::1"), "Refused", "management.address"),
        (management(address="169.254.1.2"), "InvalidAddress", "link-local"),
        (boot_host(address="224.0.0.1"), "Refused", "bootHost.address"),
        (boot_host(address="240.0.0.1"), "Refused", "bootHost.address"),
        (interface(address="10.141.0.1/0"), "Refused", "clusterInterface.address"),
        (interface(address="10.141.0.1/7"), "Refused", "clusterInterface.address"),
        (interface(address="10.141.0.1/31"), "Refused", "clusterInterface.address"),
        (interface(address="127.0.0.1/8"), "Refused", "clusterInterface.address"),
        (interface(address="255.255.255.255/16"), "Refused", "clusterInterface.address"),
        (compute(macs=["53:54:00:8d:00:02"]), "Refused", "compute.macs"),
        (compute(macs=["52-54-00-8d-00-02"]), "Refused", "compute.macs"),
        (compute(addresses="fd00::[2-5]"), "Refused", "compute.addresses"),
        (image("compute", "http://[fd00::1]/a.tar.gz"), "InvalidUrl", "IPv6 is not supported"),
        (image("compute", "http://[fd00::1/a.tar.gz"), "InvalidUrl", "no URL with a host"),
        (image("compute", "http://:80/a.tar.gz"), "InvalidUrl", "no URL with a host"),
        (image("compute", "http://a:0/a.tar.gz"), "InvalidUrl", "no URL with a host"),
        (image("compute", "http://a:65536/a.tar.gz"), "InvalidUrl", "no URL with a host"),
        (image("compute", "http://a:x/a.tar.gz"), "InvalidUrl", "no URL with a host"),
        (image("management", "http://a/\x01/a.tar.gz"), "InvalidUrl", "printable ASCII"),
        (image("management", "http://a/\u00fc.tar.gz"), "InvalidUrl", "printable ASCII"),
        (image("management", "http://127.0.0.1/a.tar.gz"), "InvalidUrl", "spec.management.install: http://127.0.0.1/"),
        (image("management", "http://localhost:80/a.tar.gz"), "InvalidUrl", "loopback"),
        (image("management", "http://0.0.0.0/a.tar.gz"), "InvalidUrl", "this network"),
        (image("management", "http://224.0.0.1/a.tar.gz"), "InvalidUrl", "multicast"),
    ],
)
def test_what_no_machine_can_have_is_refused_with_its_field(change: Change, reason: str, part: str) -> None:
    found = find(change)
    assert any(found_reason == reason and part in message for found_reason, message in found), found


def test_two_things_that_are_one_are_told_once() -> None:
    assert [reason for reason, _ in find(management(address="10.77.0.1"))] == ["DuplicateAddress"]
    assert [reason for reason, _ in find(boot_host(address="10.141.0.3"))] == ["DuplicateAddress"]


@pytest.mark.parametrize(
    "change",
    [
        compute(hosts="true,no,null,on"),
        compute(hosts="1,2,3,4"),
        compute(hosts=f"{'n' * 62}[2-5]"),
        compute(hosts="r[1-2]n[1-2]"),
        compute(hosts="n[1-4]-ib"),
        compute(hosts="defaults,localhost1,default-1,all-1"),
        image("management", "https://images.example.org:8443/a%20b.tar.gz"),
        image("compute", "http://127.0.0.1/a.tar.gz"),
        image("compute", "http://Images_1.example.org./a.tar.gz?x=1.tar.gz"),
        interface(address="10.141.0.1/8"),
        disk("/dev/disk/by-path/pci-0000:00:1f.2-ata-1.0"),
        disk("/dev/disk/by-id/nvme-eui.0025388b01+x_1"),
        interface(address="172.16.0.1/12", name="eth1"),
        lambda spec: (spec.pop("bootHost"), spec["management"].update(provision=False)),
    ],
)
def test_odd_but_possible_names_and_networks_pass(change: Change) -> None:
    allowed = {"AddressOutsideNetwork", "OverlappingNetworks"}  # of the two changed networks, as nothing else moves
    assert {reason for reason, _ in find(change)} <= allowed


def test_a_long_list_of_what_is_wrong_leaves_room_for_the_rest() -> None:
    spec = build_spec(1000).model_dump(by_alias=True)
    spec["compute"] |= {"addresses": "127.0.[0-3].[0-249]", "hosts": "n[0-999]-", "minReady": "9999"}
    problems = decide_spec_problems(ClusterBuildSpec.model_validate(spec))
    assert sum(len(problem.message) for problem in problems) < 2048
    assert "spec.compute.minReady" in problems[-1].message


@given(address=st.ip_addresses(v=4))
def test_the_schema_takes_an_address_only_if_a_machine_can_have_it(address: ipaddress.IPv4Address) -> None:
    refused = ("Refused", "management.address") in find(management(address=str(address)))
    never = address.is_loopback or address.is_multicast or address.is_reserved or int(address) >> 24 == 0
    assert refused is never
