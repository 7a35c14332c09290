"""What dnsmasq's log says of machines that never asked for their boot script: pure, from the log's text.

The lines are those of dnsmasq without ``log-dhcp``. Source: https://thekelleys.org.uk/gitweb/?p=dnsmasq.git, rfc2131.c
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from bessemer.foreign import make_line

LINE = re.compile(r"(\w{3} [ \d]\d \d\d:\d\d:\d\d) dnsmasq(?:-dhcp)?\[\d+\]: (.*)")
NOT_GIVEN = re.compile(r"not using configured address (\S+) because (.{1,200})")
WORDS = 160
"""Characters of a line that are told."""
UNHEARD = "DHCP has not heard of its MAC address"
"""Without the address, which is in the spec: nodes that are silent alike are shown as one group."""
CLOCK_FORMAT = "%b %d %H:%M:%S"
"""Time stamps of the log, which have no year: the current one is added to both."""


def explain_dhcp(log: str, now: str, machines: Mapping[str, str], seconds: float) -> dict[str, str]:
    """Return for each machine what DHCP said of it, by MAC address.

    Args:
        log: the end of the log.
        now: the time at which it was read, in the form of its time stamps.
        machines: addresses that DHCP must assign to the machines, by MAC address in lower case.
        seconds: how far back lines matter.
    """
    lines = [text for age, text in _list_lines(log, now) if age <= seconds]
    return {mac: _explain(lines, mac, address) for mac, address in machines.items()}


def _list_lines(log: str, now: str) -> list[tuple[float, str]]:
    read = _parse_clock(now)
    found = []
    for line in log.split("\n"):
        match = LINE.match(line)
        stamp = _parse_clock(match[1]) if match else None
        if match and stamp and read:
            age = (read - stamp) % timedelta(days=366)  # the new year may lie between
            found.append((age.total_seconds(), match[2]))
    return found


def _parse_clock(text: str) -> datetime | None:
    try:
        return datetime.strptime(f"2000 {' '.join(text.split())}", f"%Y {CLOCK_FORMAT}")  # noqa: DTZ007  it has no zone
    except ValueError:
        return None


def _explain(lines: list[str], mac: str, address: str) -> str:
    """Return what the lines say of a machine; the last that names it counts."""
    held = [match[2] for line in lines if (match := NOT_GIVEN.match(line)) and match[1] == address]
    named = [line for line in lines if mac in line.lower().split()]
    if not named:
        return UNHEARD
    last = named[-1]
    if "no address" in last or "ignored" in last:
        why = f"{address} is not given, because {held[-1]}" if held else last
        return make_line(f"DHCP refused {mac}: {why}", WORDS)
    if last.startswith(("DHCPNAK", "DHCPDECLINE")):
        return make_line(f"DHCP refused {mac}: {last}", WORDS)
    if last.startswith("DHCPACK"):
        given = last.split()[1]
        return make_line(f"DHCP gave {given} to {mac}", WORDS)
    return make_line(f"DHCP answered {mac}, which took no address: {last}", WORDS)
