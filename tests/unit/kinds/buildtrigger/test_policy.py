"""What manifests may name: nothing that spec.allow does not list, whatever the field."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.api.buildtrigger.allow import Allow
from bessemer.api.clusterbuild.spec import ClusterBuildSpec
from bessemer.api.schema import compute_structural_schema
from bessemer.errors import Invalid
from bessemer.kinds.buildtrigger.policy import CHECKED, FREE, Policy, list_violations
from tests.support.examples import examples
from tests.support.trigger_world import ALLOW
from tests.support.world import manifest

PLAYBOOKS = {
    "repository": "https://git.example/hpc/site.git",
    "loginSecretName": "git",
    "commit": "0" * 40,
    "management": "site.yml",
}
FULL = {
    "configuration": {"playbooks": PLAYBOOKS},
    "services": ["trino"],
    "priorityClassName": "builds",
    "management": {"install": {"initrds": ["http://10.77.0.1/images/a"]}},
}
ALLOWED = ALLOW | {
    "repositories": ["https://git.example/hpc/"],
    "secrets": ["oxygen-ssh", "git"],
    "priorityClasses": ["builds"],
}


def parse(**changes: Any) -> ClusterBuildSpec:
    return ClusterBuildSpec.model_validate(manifest("x", **changes)["spec"])


def check(allow: dict[str, Any], spec: ClusterBuildSpec) -> list[str]:
    return list_violations(Policy(Allow.model_validate(allow)), spec)


def list_leaves(schema: dict[str, Any], path: str = "") -> list[str]:
    """List the paths of all fields of a structural schema that have no fields."""
    if "properties" in schema:
        return [leaf for name, inner in schema["properties"].items() for leaf in list_leaves(inner, f"{path}.{name}")]
    if "items" in schema:
        return list_leaves(schema["items"], f"{path}[]")
    return [path.removeprefix(".")]


def test_what_is_listed_is_allowed() -> None:
    assert check(ALLOWED, parse(**FULL)) == []


def is_below(leaf: str, free: str) -> bool:
    return leaf == free or leaf.startswith((f"{free}.", f"{free}["))


def test_every_field_of_a_cluster_build_is_in_just_one_table_and_no_other() -> None:
    leaves = list_leaves(compute_structural_schema(ClusterBuildSpec))
    tables = {leaf: (leaf in CHECKED) + sum(is_below(leaf, free) for free in FREE) for leaf in leaves}
    assert {leaf: count for leaf, count in tables.items() if count != 1} == {}, "permit it, or say why it needs none"
    assert set(CHECKED) <= set(leaves)
    assert all(any(is_below(leaf, free) for leaf in leaves) for free in FREE)
    assert all(len(why.split()) >= 4 for why in FREE.values())
    assert {check_.listed for check_ in CHECKED.values()} == set(Allow.model_json_schema(by_alias=True)["properties"])


def test_nothing_is_allowed_by_default_and_each_field_is_named() -> None:
    found = check({}, parse(**FULL))
    named = {line.partition(": ")[0] for line in found}
    assert {
        "spec.bootHost.address",
        "spec.bootHost.ssh.address",
        "spec.bootHost.ssh.user",
        "spec.bootHost.bootDirectory",
        "spec.management.host",
        "spec.management.mac",
        "spec.management.address",
        "spec.management.ssh.address",
        "spec.management.clusterInterface.address",
        "spec.management.install.image",
        "spec.management.install.kernel",
        "spec.management.install.initrds[0]",
        "spec.compute.hosts",
        "spec.compute.addresses",
        "spec.compute.macs[0]",
        "spec.compute.install.image",
        "spec.power.powerman.address",
        "spec.power.powerman.managementAddress",
        "spec.ssh.privateKeySecret.name",
        "spec.configuration.playbooks.repository",
        "spec.configuration.playbooks.loginSecretName",
        "spec.services[0]",
        "spec.priorityClassName",
    } <= named
    assert all(" is not allowed: spec.allow." in line and line.endswith(" is empty") for line in found)


@pytest.mark.parametrize("listed", sorted(ALLOWED))
def test_each_list_is_needed(listed: str) -> None:
    found = check({**ALLOWED, listed: []}, parse(**FULL))
    assert found
    assert all(f"spec.allow.{listed} is empty" in line for line in found)


@pytest.mark.parametrize(
    "url",
    [
        "http://10.77.0.1/imagesx/a.tar",
        "http://10.77.0.1/images",
        "http://10.77.0.1/images/../secret/a.tar",
        "http://10.77.0.1/images/%2e%2E/secret/a.tar",
        "http://10.77.0.1/images/..\\secret/a.tar",
        "http://10.77.0.1/images/..%2fsecret/a.tar",
        "http://10.77.0.1/images/..%5csecret/a.tar",
        "http://10.77.0.1/images/%252e%252e/secret/a.tar",
        "http://10.77.0.1/images/..;a=b/secret/a.tar",
        "http://10.77.0.1/images/..%00/secret/a.tar",
        "http://10.77.0.1/images/%2525252525252e./secret/a.tar",
        "http://10.77.0.1/images/%u002e%u002e/secret/a.tar",
        "http://10.77.0.1/images/%25u002E./secret/a.tar",
        "http://10.77.0.1/images/%c0%ae%c0%ae/secret/a.tar",
        "http://10.77.0.1/images/%25c0%25ae./secret/a.tar",
        "http://10.77.0.1:80/images/a.tar",
        "https://10.77.0.1/images/a.tar",
        "http://10.77.0.1.evil.org/images/a.tar",
    ],
)
def test_a_url_beside_the_listed_one_is_refused(url: str) -> None:
    assert check(ALLOWED, parse(compute={"install": {"image": url}}))


@pytest.mark.parametrize(
    ("listed", "directory", "allowed"),
    [
        ("/srv/http/boot", "/srv/http/boot/", True),
        ("/srv/http/boot/", "/srv/http/boot", True),
        ("/srv/http/", "/srv/http/boot", True),
        ("/srv/http/boot", "/srv/http/boots", False),
        ("/srv/http/boot", "/srv/http", False),
        ("/srv/http/boot", "/etc/cron.d", False),
    ],
)
def test_scripts_are_written_only_below_the_listed_directories(listed: str, directory: str, allowed: bool) -> None:
    found = check({**ALLOWED, "bootDirectories": [listed]}, parse(bootHost={"bootDirectory": directory}))
    assert bool(found) != allowed
    assert all("spec.bootHost.bootDirectory" in line for line in found)


@pytest.mark.parametrize("path", ["x?/../../other/site.git", "x#/../../other/site.git", "x#a/..%2f../other/site.git"])
@pytest.mark.parametrize("scheme", ["ssh://git@", "git://"])
def test_a_repository_has_no_query_or_fragment_where_its_server_knows_none(scheme: str, path: str) -> None:
    playbooks = PLAYBOOKS | {"repository": f"{scheme}git.example/hpc/{path}"}
    allow = ALLOWED | {"repositories": [f"{scheme}git.example/hpc/"]}
    (line,) = check(allow, parse(**FULL | {"configuration": {"playbooks": playbooks}}))
    assert line.startswith("spec.configuration.playbooks.repository: ")


@pytest.mark.parametrize("server", ["10.77.0.1", "10.77.0.254"])
@pytest.mark.parametrize(
    "changes",
    [
        lambda server: {"management": {"address": server}},
        lambda server: {"management": {"ssh": {"address": server}}},
        lambda server: {"compute": {"addresses": f"{server},10.141.0.[3-5]"}},
    ],
)
def test_a_boot_host_or_power_server_is_no_machine_though_it_is_in_an_allowed_network(
    server: str, changes: Callable[[str], dict[str, Any]]
) -> None:
    assert any(f": {server} is not allowed" in line for line in check(ALLOWED, parse(**changes(server))))


def test_another_user_of_the_boot_host_is_refused() -> None:
    (line,) = check(ALLOWED, parse(bootHost={"ssh": {"user": "deploy"}}))
    assert "spec.bootHost.ssh.user: deploy is not allowed: spec.allow.bootUsers of the trigger has root" in line


@settings(max_examples=examples(60), deadline=None)
@given(
    first=st.integers(1, 300), count=st.integers(1, 4), octets=st.lists(st.integers(0, 255), min_size=2, max_size=2),
    mac=st.lists(st.integers(0, 255), min_size=6, max_size=6), width=st.integers(9, 32),
)  # fmt: skip
def test_no_manifest_passes_that_names_a_machine_outside(
    first: int, count: int, octets: list[int], mac: list[int], width: int
) -> None:
    """What passes is compared with an independent reading of the lists."""
    mac[0] &= 0xFE
    base = f"10.{octets[0]}.{octets[1]}"
    addresses = [f"{base}.{number}" for number in range(1, count + 1)]
    macs = [":".join(f"{octet:02x}" for octet in mac)] * count
    hosts = [f"oxygen{number}" for number in range(first, first + count)]
    spec = parse(compute={"hosts": ",".join(hosts), "addresses": ",".join(addresses), "macs": macs})
    allow = {**ALLOWED, "networks": [f"10.141.0.0/{width}", "10.77.0.0/24"]}
    networks = [ipaddress.ip_network(text, strict=False) for text in allow["networks"]]
    inside = (
        all(1 <= int(host.removeprefix("oxygen")) <= 65 for host in hosts)
        and all(any(ipaddress.ip_address(one) in network for network in networks) for one in addresses)
        and macs[0].startswith("52:54:00")
        and ipaddress.ip_address("10.141.0.1") in networks[0]
    )
    assert (check(allow, spec) == []) == inside or macs[0] == "00:00:00:00:00:00"


@pytest.mark.parametrize(("field", "value"), [("machines", "a[3-1]"), ("networks", "300.1.1.1")])
def test_a_list_that_can_not_be_read_allows_nothing_and_is_said(field: str, value: str) -> None:
    with pytest.raises(Invalid, match=f"spec.allow.{field}"):
        check({**ALLOWED, field: [value]}, parse(**FULL))


@pytest.mark.parametrize("machines", [["a[1-65536]", "b1"], ["a[1-40000]", "a[1-40000]"], ["a" * 300 + "[1-2]"]])
def test_a_list_of_more_machines_than_fit_into_memory_is_refused_as_a_whole(machines: list[str]) -> None:
    with pytest.raises(Invalid, match=r"InvalidSpec: spec.allow.machines"):
        Policy(Allow(machines=machines)).check()
    Policy(Allow(machines=["a[1-65535]", "b1"])).check()
