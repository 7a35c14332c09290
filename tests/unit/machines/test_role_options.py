"""Variables are checked against what our roles take before a machine is touched."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bessemer.machines.role_options import Option, decide_unknown_names, decide_wrong_values, read_roles
from bessemer.machines.value_forms import DECLARED, FORMS, explain_misfit
from bessemer.phases.preflight_checks import build_result, decide_variable_problems
from tests.support.checkout import ROOT
from tests.unit.phases.builders import build_spec

ROLES_DIRECTORY = ROOT / "playbooks/roles"
ROLES = read_roles(ROLES_DIRECTORY)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def test_every_role_and_type_is_known() -> None:
    assert set(ROLES) == {folder.name for folder in ROLES_DIRECTORY.iterdir()}
    types = {option.type for options in ROLES.values() for option in options.values()}
    assert types <= {"str", "path", "int", "bool", "list", "dict"}


@pytest.mark.parametrize("role", sorted(ROLES))
def test_defaults_of_our_roles_are_what_their_options_take(role: str) -> None:
    defaults: dict[str, Any] = yaml.safe_load((ROLES_DIRECTORY / role / "defaults/main.yml").read_text())
    literal = {name: value for name, value in defaults.items() if not (isinstance(value, str) and "{{" in value)}
    assert decide_wrong_values(literal, ROLES) == []
    assert set(defaults) <= set(ROLES[role])


def list_options(options: Mapping[str, Option]) -> Iterator[tuple[str, Option]]:
    for name, option in options.items():
        yield name, option
        yield from list_options(option.options)


def test_every_text_and_number_of_our_roles_says_its_form() -> None:
    for options in ROLES.values():
        for name, option in list_options(options):
            if (option.elements or option.type) in ("str", "int") and not option.choices:
                declared = DECLARED.fullmatch(option.description[-1])
                assert declared, name
                assert explain_misfit("\n", declared["name"]), name


def test_the_examples_pass() -> None:
    for file in (ROOT / "examples").glob("*.yaml"):
        for document in yaml.safe_load_all(file.read_text()):
            variables = document["spec"].get("configuration", {}).get("variables", {})
            assert decide_wrong_values(variables, ROLES) + decide_unknown_names(variables, ROLES) == []


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"time_servers": "10.77.0.1"}, 'time_servers must be a list such as ["10.77.0.1"], not "10.77.0.1"'),
        ({"base_apt_sources": "deb http://x./"}, 'base_apt_sources must be a list such as ["deb http://x./"], not'),
        ({"base_packages": "tmux"}, "base_packages must be a list such as"),
        ({"slurm_conf": ["MaxJobCount=10"]}, 'slurm_conf must be an object, not ["MaxJobCount=10"]'),
        ({"slurm_conf": {"Max Jobs": 1}}, 'slurm_conf has "Max Jobs", which must be the name of a setting'),
        ({"slurm_conf": {"A\nB": 1}}, 'slurm_conf has "A\\nB", which must be the name of a setting'),
        ({"slurm_conf": {"Epilog": "/a\nProlog=/b"}}, "slurm_conf.Epilog must be one line of printable characters"),
        (
            {"slurm_conf": {"Epilog": "/a \\"}},
            "slurm_conf.Epilog must be one line of printable characters that does not",
        ),
        ({"slurm_conf": {"Epilog": ""}}, "slurm_conf.Epilog must be one line of printable characters"),
        (
            {"slurm_conf": {"DownNodes": ["n1", None]}},
            "slurm_conf.DownNodes must be a text, a number, true, false, null",
        ),
        ({"time_chrony_conf": {"pool": {"a": 1}}}, "time_chrony_conf.pool must be a text, a number, true, false, null"),
        ({"time_servers": {"0": "a"}}, 'time_servers must be a list, not {"0": "a"}'),
        ({"time_servers": [10]}, 'time_servers[0] must be a text such as "10", in quotes, not 10'),
        ({"time_servers": [["a"]]}, 'time_servers[0] must be a text, not ["a"]'),
        ({"time_servers": [None]}, "time_servers[0] must be a text, not null"),
        ({"time_servers": None}, "time_servers must be a list, not null"),
        ({"slurm_uid": "64030"}, 'slurm_uid must be a whole number, not "64030"'),
        ({"slurm_uid": True}, "slurm_uid must be a whole number, not true"),
        ({"time_servers": ["10.77.0.1", ""]}, "time_servers[1] must not be empty"),
        ({"slurm_uid": 1.5}, "slurm_uid must be a whole number, not 1.5"),
        ({"cluster_network_forwarding": "yes"}, 'cluster_network_forwarding must be true or false, not "yes"'),
        ({"cluster_network_forwarding": 1}, "cluster_network_forwarding must be true or false, not 1"),
        ({"slurm_partition": 7}, 'slurm_partition must be a text such as "7", in quotes, not 7'),
        ({"slurm_cgroup_plugin": "cgroup"}, "slurm_cgroup_plugin must be one of autodetect, cgroup/v1, cgroup/v2"),
        ({"nfs_directory": ["/home"]}, 'nfs_directory must be a path, not ["/home"]'),
        ({"base_accounts": [{"name": "ann"}]}, "base_accounts[0].uid is missing: a whole number"),
        ({"base_accounts": [{"name": "ann", "uid": "7"}]}, 'base_accounts[0].uid must be a whole number, not "7"'),
        (
            {"base_accounts": [{"name": "ann", "uid": 7, "authorized_keys": "ssh-ed25519 A"}]},
            'base_accounts[0].authorized_keys must be a list such as ["ssh-ed25519 A"]',
        ),
        ({"base_accounts": [{"name": "ann", "uid": 7, "shell": "x"}]}, "base_accounts[0].shell is none of name, uid"),
        ({"base_accounts": ["ann"]}, 'base_accounts[0] must be an object, not "ann"'),
        ({"boot_server_router": "nowhere"}, "boot_server_router must be an IPv4 address that a machine can have, not"),
        ({"boot_server_router": "127.0.0.1"}, "boot_server_router must be an IPv4 address that a machine can have"),
        ({"time_servers": ["a\nb"]}, 'time_servers[0] must be a host name or an address, not "a\\nb"'),
        ({"time_servers": ["10.77.0.256"]}, "time_servers[0] must be a host name or an address"),
        ({"time_allowed_networks": ["10.141.0.1/16"]}, "time_allowed_networks[0] must be a network with its prefix"),
        ({"time_chrony_options": '-x"; id; "'}, "time_chrony_options must be options as in a file of settings"),
        ({"base_apt_sources": ["deb http://x ./\ndeb http://y ./"]}, "base_apt_sources[0] must be one line of print"),
        ({"base_apt_sources": ["deb http://x ./\u2028"]}, "base_apt_sources[0] must be one line of printable"),
        ({"cluster_network_interface": "lo"}, "cluster_network_interface must be the name of a network interface"),
        ({"cluster_network_address": "10.141.0.1"}, "cluster_network_address must be an IPv4 address with a prefix"),
        ({"nfs_directory": "home"}, "nfs_directory must be an absolute path"),
        ({"nfs_directory": "/srv/../etc"}, "nfs_directory must be an absolute path"),
        ({"nfs_directory": ""}, "nfs_directory must be an absolute path"),
        ({"nfs_mount_options": "rw hard"}, "nfs_mount_options must be printable ASCII characters without spaces"),
        ({"slurm_partition": "a b"}, "slurm_partition must be letters, digits"),
        ({"slurm_partition": ""}, "slurm_partition must be letters, digits"),
        ({"slurm_uid": 0}, "slurm_uid must be a whole number from 1 to 4294967294, not 0"),
        ({"boot_server_lease_seconds": 119}, "boot_server_lease_seconds must be a whole number from 120 to"),
        ({"powerman_port": 65536}, "powerman_port must be a whole number from 1 to 65535, not 65536"),
        ({"sshfs_max_startups": "many"}, "sshfs_max_startups must be a number, or three as in 100:30:400"),
        ({"base_accounts": [{"name": "a:b", "uid": 7}]}, "base_accounts[0].name must be the name of an account"),
        (
            {"base_accounts": [{"name": "ann", "uid": 7, "authorized_keys": ["AAAA"]}]},
            "base_accounts[0].authorized_keys[0] must be one public SSH key",
        ),
        ({"base_yum_repositories": [{"name": "x", "baseurl": "x"}]}, "base_yum_repositories[0].baseurl must be a URL"),
        ({"base_yum_repositories": [{"name": "x"}]}, "base_yum_repositories[0].baseurl is missing: a text"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(variables: dict[str, Any], complaint: str) -> None:
    found = decide_wrong_values(variables, ROLES)
    assert len(found) == 1
    assert found[0].startswith(complaint)


def test_right_values_pass() -> None:
    right = {
        "time_servers": ["10.77.0.1", "ntp.example.org", "fd00::7"],
        "time_allowed_networks": ["10.141.0.0/16", "fd00::/64"],
        "time_chrony_options": "-x -f '/etc/chrony.conf'",
        "time_chrony_conf": {"maxdistance": 1.5, "rtcsync": None, "pool": ["a iburst", "b"], "lock": True},
        "slurm_conf": {"MaxJobCount": 10, "MpiDefault": None, "DownNodes": ["n1 Reason=fan", "n2"], "TrackWCKey": True},
        "slurm_cgroup_conf": {"ConstrainCores": "yes"},
        "boot_server_router": "",
        "base_packages": ["tmux", "@Development Tools", "vim=2:9.0"],
        "base_apt_sources": ["deb [trusted=yes] http://10.77.0.1/debian ./"],
        "nfs_directory": "/srv/homes.d",
        "slurm_node_parameters": "Gres=gpu:4 Features=a,b",
        "slurm_cgroup_automount": None,
        "slurm_cgroup_plugin": "cgroup/v2",
        "base_accounts": [{"name": "ann", "uid": 7, "authorized_keys": ['from="10.*",pty ssh-ed25519 A ann@x']}],
        "their_own": {"deep": [1, {"x": None}]},
    }
    assert decide_wrong_values(right, ROLES) == []


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("tiem_servers", "tiem_servers is no variable of our roles; is time_servers meant?"),
        ("time_server", "time_server is no variable of our roles; is time_servers meant?"),
        ("base_apt_source", "base_apt_source is no variable of our roles; is base_apt_sources meant?"),
        ("slurm_node_cpu", "slurm_node_cpu is no variable of our roles; is slurm_node_cpus meant?"),
        ("slurm_gpus", "slurm_gpus is no variable of our roles"),
    ],
)
def test_a_name_that_looks_like_ours_is_told(name: str, complaint: str) -> None:
    assert decide_unknown_names({name: 1}, ROLES) == [complaint]


def test_names_of_a_sites_own_are_left_alone() -> None:
    assert decide_unknown_names({"gpu_driver": 1, "site_motd": "x", "timezone": "y", "ansible_python": 1}, ROLES) == []


def test_names_like_ours_are_refused_unless_the_site_has_playbooks_that_may_use_them() -> None:
    variables: dict[str, Any] = {"slurm_partitions": []}
    refused = build_result(decide_variable_problems(build_spec(configuration={"variables": variables}), ROLES))
    assert (refused.succeeded, refused.reason, refused.retryable) == (False, "InvalidVariable", False)
    playbooks = {"repository": "https://git.example/site.git", "commit": "0" * 40}
    spec = build_spec(configuration={"variables": variables, "playbooks": playbooks})
    told = build_result(decide_variable_problems(spec, ROLES))
    assert (told.succeeded, told.reason) == (True, "Succeeded")
    assert "slurm_partitions is no variable of our roles; is slurm_partition meant?" in told.message


@given(value=JSON, name=st.sampled_from(sorted({name for options in ROLES.values() for name in options})))
def test_any_value_is_judged_and_told_in_one_printable_line(value: object, name: str) -> None:
    for complaint in decide_wrong_values({name: value}, ROLES):
        assert complaint.startswith(name)
        assert complaint.isprintable()


@given(value=JSON)
def test_a_list_of_texts_takes_nothing_else(value: object) -> None:
    right = isinstance(value, list) and all(isinstance(part, str) and part and part.isprintable() for part in value)
    found = decide_wrong_values({"x_list": value}, {"x": {"x_list": Option(type="list", elements="str", default=[])}})
    assert (found == []) is right


@given(form=st.sampled_from(sorted(FORMS)), text=st.text(max_size=12) | st.text("0123456789./:ab-\n", max_size=20))
def test_no_form_takes_more_than_one_printable_line(form: str, text: str) -> None:
    if explain_misfit(text, form) is None:
        assert text.isprintable()


@given(st.ip_addresses(v=4).map(str) | st.text("0123456789.", max_size=15) | st.sampled_from(["127.1", "0x7f000001"]))
def test_an_address_or_host_is_read_alike_by_all_programs(text: str) -> None:
    """Resolvers and daemons read numbers of fewer parts, or of other bases, by inet_aton(3)."""
    for form in ("address", "host"):
        if explain_misfit(text, form) is None:
            assert socket.inet_ntoa(socket.inet_aton(text)) == text


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_a_network_has_no_bits_of_a_host(address: IPv4Address, prefix: int) -> None:
    is_network = int(address) & ((1 << (32 - prefix)) - 1) == 0
    assert (explain_misfit(f"{address}/{prefix}", "network") is None) is is_network
