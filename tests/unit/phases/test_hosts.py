"""The inventory: who is in which group, and with which variables."""

from __future__ import annotations

from typing import Any

import pytest

from bessemer.api.phase_contract import NodeState, PhaseInput, PhaseName
from bessemer.errors import Invalid
from bessemer.machines.machine import build_management_target
from bessemer.machines.netboot.entries import build_management_sources
from bessemer.phases.boot_endpoints import build_management_endpoint
from bessemer.phases.hosts import build_inventory, select_installed
from tests.unit.phases.cluster_fakes import HOST_KEY, build_input, build_spec

PHASE = PhaseName.CONFIGURE_SERVICES


def some_input(**changes: Any) -> PhaseInput:
    return build_input(
        PHASE, [("oxygen[2-4]", NodeState.INSTALLED, None), ("oxygen5", NodeState.FAILED, "X")], **changes
    )


def build(phase_input: PhaseInput, computes: tuple[str, ...] = ("oxygen2", "oxygen3")) -> Any:
    return build_inventory(phase_input, computes)["all"]


def effective(inventory: Any, group: str) -> dict[str, Any]:
    """The variables that a host of a group sees: those of the group win over those of all."""
    return {**inventory["vars"], **inventory["children"][group].get("vars", {})}


def test_only_the_given_compute_nodes_are_dealt_with() -> None:
    children = build(some_input())["children"]
    assert list(children["compute"]["hosts"]) == ["oxygen2", "oxygen3"]
    assert list(children["management"]["hosts"]) == ["oxygen1"]
    assert set(children["cluster"]["children"]) == {"management", "compute"}


@pytest.mark.parametrize(
    ("alias", "group"),
    [
        ("slurm_master", "management"),
        ("slurmservers", "management"),
        ("control", "management"),
        ("slurm-node", "compute"),
        ("slurmexechosts", "compute"),
        ("oxygen_compute", "compute"),
        ("nfs_clients", "compute"),
        ("slurm-cluster", "cluster"),
    ],
)
def test_groups_have_the_names_that_common_role_sets_use(alias: str, group: str) -> None:
    assert build(some_input())["children"][alias] == {"children": {group: {}}}


def test_every_machine_is_in_the_hosts_file_by_its_address_in_the_cluster() -> None:
    hosts = {host["name"]: host["address"] for host in build(some_input())["vars"]["base_hosts"]}
    assert hosts == {"oxygen1": "10.141.0.1", **{f"oxygen{n}": f"10.141.0.{n}" for n in (2, 3, 4, 5)}}


def test_slurm_knows_all_nodes_but_serves_only_the_given_ones_and_says_why_others_fail() -> None:
    variables = build(some_input())["vars"]
    assert variables["slurm_nodes"] == "oxygen[2-5]"
    assert variables["slurm_ready_nodes"] == "oxygen[2-3]"
    assert variables["slurm_down_nodes"] == [{"hosts": ["oxygen5"], "names": "oxygen5", "reason": "X"}]


def test_the_boot_server_gets_network_nodes_and_files() -> None:
    variables = effective(build(some_input()), "management")
    assert variables["boot_server_address"] == "10.141.0.1/16"
    assert (variables["boot_server_network"], variables["boot_server_netmask"]) == ("10.141.0.0", "255.255.0.0")
    assert variables["boot_server_machines"][0] == {
        "name": "oxygen2",
        "address": "10.141.0.2",
        "mac": "52:54:00:8d:00:02",
    }
    assert variables["boot_server_downloads"] == ["http://boot/kernel/vmlinuz", "http://boot/images/compute.tar.gz"]
    assert variables["boot_server_program"].endswith("/bootd.py")


def test_the_boot_server_is_where_boot_compute_looks_for_it() -> None:
    phase_input = some_input()
    variables = effective(build(phase_input), "management")
    endpoint = build_management_endpoint(phase_input.spec, build_management_target(phase_input.spec, HOST_KEY))
    assert (variables["boot_server_port"], variables["boot_server_directory"]) == (
        endpoint.port,
        endpoint.base_directory,
    )
    kernel = build_management_sources(phase_input.spec).kernel
    assert kernel == f"{variables['boot_server_directory']}/files/vmlinuz"


def test_compute_nodes_follow_the_management_nodes_time() -> None:
    inventory = build(some_input())
    assert effective(inventory, "compute")["time_servers"] == ["oxygen1"]
    assert effective(inventory, "management")["time_servers"] == []
    assert effective(inventory, "management")["time_allowed_networks"] == ["10.141.0.0/16"]


def test_the_users_variables_win_over_those_of_groups_too() -> None:
    spec = build_spec(configuration={"variables": {"time_servers": ["ntp.site"], "slurm_partition": "debug"}})
    inventory = build(some_input(spec=spec))
    for group in ("management", "compute"):
        assert effective(inventory, group)["time_servers"] == ["ntp.site"]
        assert effective(inventory, group)["slurm_partition"] == "debug"


@pytest.mark.parametrize(
    "name",
    [
        *("ansible_ssh_common_args", "ansible_host", "ansible_connection", "munge_key_file", "sshfs_host_key"),
        *("ansible_become", "ansible_become_user", "ansible_become_method"),
        *("boot_server_port", "boot_server_directory"),
    ],
)
def test_how_machines_and_the_boot_server_are_reached_is_not_the_users_to_set(name: str) -> None:
    spec = build_spec(configuration={"variables": {name: "x"}})
    with pytest.raises(Invalid, match=rf"spec\.configuration\.variables: {name}"):
        build(some_input(spec=spec))


def test_homes_are_shared_by_ssh_with_the_given_keys_from_the_clusters_network_only() -> None:
    keys = {"sshfs_public_key": "ssh-ed25519 public", "sshfs_host_key": "ssh-ed25519 host"}
    phase_input = some_input(spec=build_spec(configuration={"sharedHome": "SSHFS"}))
    variables = build_inventory(phase_input, (), keys)["all"]["vars"]
    assert variables | keys == variables
    assert (variables["shared_home"], variables["sshfs_server"]) == ("SSHFS", "oxygen1")
    assert variables["sshfs_network"] == "10.141.0.0/16"


def test_nodes_that_failed_after_their_install_are_configured_again_and_others_are_not() -> None:
    phase_input = build_input(
        PHASE,
        [
            ("oxygen2", NodeState.INSTALLED, None),
            ("oxygen3", NodeState.FAILED, "Unreachable"),
            ("oxygen4", NodeState.FAILED, "NeverNetbooted"),
            ("oxygen5", NodeState.PENDING, None),
        ],
    )
    assert [machine.host for machine in select_installed(phase_input)] == ["oxygen2", "oxygen3"]


def test_a_node_that_is_tried_again_is_not_marked_down() -> None:
    phase_input = build_input(PHASE, [("oxygen[2-5]", NodeState.FAILED, "ConfigurationFailed")])
    assert build(phase_input, ("oxygen2",))["vars"]["slurm_down_nodes"] == []


def test_one_variables_set_serves_any_number_of_nodes() -> None:
    phase_input = build_input(PHASE, [("*", NodeState.INSTALLED, None)], spec=build_spec(200))
    inventory = build(phase_input, tuple(machine.host for machine in select_installed(phase_input)))
    assert len(inventory["children"]["compute"]["hosts"]) == 200
    assert all(variables == {} for variables in inventory["children"]["compute"]["hosts"].values())
    assert inventory["vars"]["slurm_nodes"] == "oxygen[2-201]"
