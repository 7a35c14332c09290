"""The forms that texts and numbers of our roles have: each option's argument_specs name one, and each is checked here.

The last line of an option's description says which: ``Form: address.`` A list's form is that of its elements. Numbers
have ``Form: number from 1 to 65535.``, of which the second may be left out. ``Form: settings.`` is an object whose keys
have the form ``key``; its values are true, false, null, numbers, texts of the form ``setting``, or lists of them. A
default passes as it is. Ansible shows descriptions and checks no more than types, so what a value means is decided
here, before a machine is touched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, ip_address, ip_network

from bessemer.api.fields import find_numeric_host_problem

DECLARED = re.compile(r"Form: (?P<name>[A-Za-z0-9 ]+)\.")
SETTINGS = "settings"
"""The form of objects whose keys are free."""
_NUMBER = re.compile(r"number from (?P<least>[0-9]+)(?: to (?P<most>[0-9]+))?")
_LABEL = r"[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?"
_STEP = r"(?!\.\.?(/|$))[A-Za-z0-9_.+-]+"
"""Of a path: neither . nor .., and nothing that a shell, fstab or exports would read as something else."""
_KEY = r"((ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+) [A-Za-z0-9+/]+={0,3}"


@dataclass(frozen=True)
class Form:
    """What a value of an option has to be, beyond its type."""

    words: str
    """In a sentence: must be ..."""
    fits: Callable[[str], bool]


def _matches(pattern: str) -> Callable[[str], bool]:
    return lambda text: re.fullmatch(pattern, text) is not None


def _parses(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def fits(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return text.isascii() and "%" not in text  # no scope of IPv6: it would be an interface's

    return fits


def _is_machine_address(text: str) -> bool:
    address = IPv4Address(text) if _parses(IPv4Address)(text) else None
    return address is not None and not (
        address.is_loopback or address.is_multicast or address.is_reserved or address in IPv4Network("0.0.0.0/8")
    )


def _is_host(text: str) -> bool:
    if ":" in text:
        return _parses(ip_address)(text)
    is_name = len(text) <= 253 and _matches(rf"{_LABEL}(\.{_LABEL})*")(text)
    return is_name and find_numeric_host_problem(text) is None


def _parse_interface(text: str) -> None:
    interface = IPv4Interface(text)
    if "/" not in text or not _is_machine_address(str(interface.ip)) or not 8 <= interface.network.prefixlen <= 30:
        raise ValueError(text)


def _parse_network(text: str) -> None:
    if not re.search(r"/[0-9]+$", text):
        raise ValueError(text)
    ip_network(text)


def _parse_netmask(text: str) -> None:
    if str(IPv4Network(f"0.0.0.0/{text}").netmask) != text:
        raise ValueError(text)


FORMS: Mapping[str, Form] = {
    "line": Form("one line of printable characters", str.isprintable),
    "key": Form("the name of a setting: letters and digits", _matches(r"[A-Za-z][A-Za-z0-9]{0,63}")),
    "setting": Form("one line of printable characters that does not end in \\", _matches(r".*[^\\\s]")),
    "word": Form("printable ASCII characters without spaces", _matches(r"[!-~]+")),
    "name": Form("letters, digits and _ . -, the first no hyphen", _matches(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")),
    "account": Form("the name of an account", _matches(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")),
    "comment": Form("one line of printable characters without a colon", _matches(r"[^:]*")),
    "host": Form("a host name or an address", _is_host),
    "host name": Form("a host name of one label (a-z, 0-9 and -)", _matches(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")),
    "hostlist": Form("a hostlist such as oxygen[2-65]", _matches(r"[A-Za-z0-9][-A-Za-z0-9,\[\]]*")),
    "address": Form("an IPv4 address that a machine can have", _is_machine_address),
    "address with prefix": Form(
        "an IPv4 address with a prefix of 8 to 30, as 10.141.0.1/16", _parses(_parse_interface)
    ),
    "network": Form("a network with its prefix length, such as 10.141.0.0/16", _parses(_parse_network)),
    "netmask": Form("a mask such as 255.255.0.0", _parses(_parse_netmask)),
    "mac": Form("a MAC address such as 52:54:00:77:00:01", _matches(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")),
    "interface": Form(
        "the name of a network interface other than lo, all and default",
        _matches(r"(?!(lo|all|default)$)[A-Za-z0-9_-][A-Za-z0-9_.-]{0,14}"),
    ),
    "url": Form("a URL of http, https, ftp or file", _matches(r"((https?|ftp)://[!-.0-~]|file:///)[!-~]*")),
    "path": Form("an absolute path of letters, digits and _ . + -, without ..", _matches(rf"(/{_STEP})+/?")),
    "public key": Form("one public SSH key, as in authorized_keys", _matches(rf"([ -~]+ )?{_KEY}( .*)?")),
    "options": Form('options as in a file of settings: without " $ ` and \\', _matches(r"[ !#%-\[\]^_a-~]*")),
    "startups": Form("a number, or three as in 100:30:400", _matches(r"[0-9]{1,6}(:[0-9]{1,3}:[0-9]{1,6})?")),
}


def explain_misfit(value: object, form: str) -> str | None:
    """Return what a text or number has to be by a form; None if it is that.

    Raises:
        KeyError: there is no such form.
    """
    bounds = _NUMBER.fullmatch(form)
    if bounds is not None:
        least, most = int(bounds["least"]), bounds["most"]
        fits = isinstance(value, int) and least <= value and (most is None or value <= int(most))
        return None if fits else f"a whole number from {least}" + (f" to {most}" if most else "")
    found = FORMS[form]
    return None if found.fits(str(value)) and str(value).isprintable() else found.words
