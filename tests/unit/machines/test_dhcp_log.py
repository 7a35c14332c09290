"""What dnsmasq's log says of machines that never boot."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.machines.netboot.dhcp_log import UNHEARD, explain_dhcp

ONE, TWO = "52:54:00:8d:00:02", "52:54:00:8d:00:03"
MACHINES = {ONE: "10.141.0.2"}
LEASED = "not using configured address 10.141.0.2 because it is leased to 52:54:00:8d:00:03"


def explain(*lines: str, now: str = "Nov 30 15:48:00", seconds: float = 300) -> str:
    return explain_dhcp("\n".join(lines), now, MACHINES, seconds)[ONE]


def line(text: str, clock: str = "Nov 30 15:47:54") -> str:
    return f"{clock} dnsmasq-dhcp[1301]: {text}"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], UNHEARD),
        ([f"DHCPDISCOVER(eth1) {TWO} ", LEASED], UNHEARD),
        (
            [LEASED, f"DHCPDISCOVER(eth1) {ONE} no address available"],
            f"DHCP refused {ONE}: 10.141.0.2 is not given, because it is leased to {TWO}",
        ),
        (
            [f"DHCPDISCOVER(eth1) {ONE} no address available"],
            f"DHCP refused {ONE}: DHCPDISCOVER(eth1) {ONE} no address available",
        ),
        (
            [f"DHCPREQUEST(eth1) 10.9.0.2 {ONE} ", f"DHCPNAK(eth1) 10.9.0.2 {ONE} wrong network"],
            f"DHCP refused {ONE}: DHCPNAK(eth1) 10.9.0.2 {ONE} wrong network",
        ),
        (
            [f"DHCPREQUEST(eth1) 10.141.0.2 {ONE} ", f"DHCPACK(eth1) 10.141.0.2 {ONE} oxygen2"],
            f"DHCP gave 10.141.0.2 to {ONE}",
        ),
        (
            [f"DHCPDISCOVER(eth1) {ONE} ", f"DHCPOFFER(eth1) 10.141.0.2 {ONE} "],
            f"DHCP answered {ONE}, which took no address: DHCPOFFER(eth1) 10.141.0.2 {ONE}",
        ),
    ],
)
def test_the_last_word_on_a_machine_is_told(lines: list[str], said: str) -> None:
    assert explain(*map(line, lines)) == said


def test_lines_of_earlier_attempts_do_not_count() -> None:
    refused = line(f"DHCPDISCOVER(eth1) {ONE} no address available", "Nov 30 15:00:00")
    assert explain(refused) == UNHEARD
    assert "refused" in explain(refused, seconds=3600)
    last_year = line(f"DHCPDISCOVER(eth1) {ONE} no address available", "Dec 31 23:59:30")
    assert "refused" in explain(last_year, now="Jan  1 00:00:10")


def test_what_a_machine_calls_itself_is_text_that_can_be_shown() -> None:
    said = explain(line(f"DHCPNAK(eth1) 10.9.0.2 {ONE} \x1b]0;pwned\x07 \u2028" + "x" * 999))
    assert said.isprintable()
    assert len(said) <= 160


@settings(deadline=None)
@given(st.lists(st.text(max_size=80), max_size=5), st.text(max_size=30))
def test_any_log_gives_a_sentence(lines: list[str], now: str) -> None:
    assert explain(*lines, *map(line, lines), now=now)
