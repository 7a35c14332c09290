"""Hosts that pods connect to: the API server accepts a name or an address, never the pod itself."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bessemer.api.base import ApiModel, explain_validation_error
from bessemer.api.clusterbuild.spec import Powerman, SshEndpoint
from bessemer.api.fields import find_remote_host_problem
from bessemer.api.schema import compute_structural_schema
from bessemer.cli.rules import list_broken_rules

LABEL = st.one_of(
    st.sampled_from(["localhost", "LocalHost", "localdomain", "127", "0", "1", "256", "0x7f", "n1", "a", "x" * 64, ""]),
    st.from_regex(r"[-a-z0-9]{0,4}", fullmatch=True),
)
HOST = st.lists(LABEL, min_size=1, max_size=5).map(".".join) | st.text(max_size=6)


def list_complaints(host: str, model: type[ApiModel] = SshEndpoint, field: str = "address") -> list[str]:
    """What is refused at apply: by pattern and bounds, or by the rules of the CRD."""
    given_fields = {"address": "rack", field: host}
    try:
        model.model_validate(given_fields)
    except ValidationError as error:
        return explain_validation_error(error, "spec").splitlines()
    return list_broken_rules(given_fields, compute_structural_schema(model), "spec")


@pytest.mark.parametrize(
    "host", ["rack", "n1", "1a", "10g-node", "boot.example.org", "10.77.0.1", "localhost1", "a.b-c.d"]
)
def test_names_and_addresses_are_taken(host: str) -> None:
    assert list_complaints(host) == []
    assert list_complaints(host, Powerman) == []
    assert find_remote_host_problem(host) is None


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("a..b", "pattern"),
        (".a", "pattern"),
        ("a.", "pattern"),
        ("a.-b", "pattern"),
        (f"{'x' * 64}.org", "pattern"),
        ("localhost", "must be reachable from pods"),
        ("LOCALHOST", "must be reachable from pods"),
        ("localhost.localdomain", "must be reachable from pods"),
        ("rack.localhost", "must be reachable from pods"),
        ("ip6-loopback", "must be reachable from pods"),
        ("127.0.0.1", "must be reachable from pods"),
        ("127.255.1.2", "must be reachable from pods"),
        ("0.0.0.1", "must be reachable from pods"),
        ("10.0.0.256", "four numbers up to 255"),
        ("10.1", "four numbers up to 255"),
        ("2130706433", "four numbers up to 255"),
        ("0x7f000001", "four numbers up to 255"),
    ],
)
@pytest.mark.parametrize("model", [SshEndpoint, Powerman])
def test_a_host_that_no_pod_can_go_to_is_refused_naming_the_field(host: str, said: str, model: type[ApiModel]) -> None:
    complaints = list_complaints(host, model)
    assert len(complaints) == 1
    assert complaints[0].startswith("spec.address: ")
    assert said in complaints[0]


def test_the_management_node_may_reach_a_powermand_on_itself() -> None:
    assert list_complaints("127.0.0.1", Powerman, "managementAddress") == []


@settings(deadline=None)
@given(HOST)
@example("0177.0.0.1")
@example("127.1")
@example("0")
def test_what_is_taken_has_no_empty_label_and_leads_no_resolver_to_the_pod_itself(host: str) -> None:
    if list_complaints(host):
        return
    assert find_remote_host_problem(host) is None
    assert all(0 < len(label) < 64 for label in host.split("."))
    try:
        packed = socket.inet_aton(host)
    except OSError:
        assert "localhost" not in host.lower().split(".")[-1:]
        return
    address = IPv4Address(packed)
    assert str(address) == host
    assert not address.is_loopback
    assert not address.is_unspecified
