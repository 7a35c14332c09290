"""Where GitLab is: the URL of a spec, taken apart, and whether the operator may go there. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection

from yarl import URL

from bessemer.api.reasons import INVALID_SETTING, INVALID_SPEC
from bessemer.errors import Invalid
from bessemer.foreign import make_line

FIELD = "spec.gitlab.url"
SHOWN = 200
"""Characters of an address that a message shows."""
_PRINTABLE = re.compile("[!-~]*")
_API = re.compile(r"/api(/v[0-9]+|/graphql)?$")
_HOST = re.compile(r"(\*\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?|[0-9a-f:.]*:[0-9a-f:.]*")


class HostNotAllowed(Invalid):
    """The administrator of the operator has not allowed the host of the URL."""

    def __init__(self, host: str) -> None:
        text = f"{FIELD}: {make_line(host, SHOWN)} is not among the hosts that the operator may go to"
        super().__init__("HostNotAllowed", f"{text} (gitlab.allowedHosts of its chart)")


def parse_address(url: str) -> URL:
    """Return the URL that GitLab's paths are joined to, without a slash at its end; raises Invalid naming the field.

    The API server refuses all that is refused here, but an object may be older than its schema.
    """
    shown = make_line(url, SHOWN)
    if not _PRINTABLE.fullmatch(url):
        raise Invalid(INVALID_SPEC, f"{FIELD}: {shown} has other characters than the printable ones of ASCII")
    try:
        parsed = URL(url)
        port = parsed.port
    except ValueError:
        raise Invalid(INVALID_SPEC, f"{FIELD}: {shown} is no URL that can be reached") from None
    if parsed.scheme not in ("http", "https") or not parsed.host or not port:
        raise Invalid(INVALID_SPEC, f"{FIELD}: {shown} is no URL of the form https://host or https://host/path")
    if parsed.user is not None or parsed.password is not None or parsed.query_string or parsed.fragment:
        raise Invalid(INVALID_SPEC, f"{FIELD}: {make_origin(parsed)} has more than a host, a port and a path")
    path = parsed.raw_path.rstrip("/")
    api = _API.search(path)
    if api is not None:
        raise Invalid(INVALID_SPEC, f"{FIELD}: {shown} is the URL of GitLab's API; leave out its end, {api[0]}")
    return parsed.with_path(path, encoded=True)


def make_origin(url: URL) -> str:
    """Return scheme, host and port of a URL as one may write it; ports that go without saying are left out."""
    return make_line(str(url.origin()), SHOWN) if url.absolute and url.scheme in ("http", "https") else "another place"


def is_same_origin(one: URL, other: URL) -> bool:
    """Return whether two URLs have the same scheme, host and port (RFC 6454): where one's secrets may go, so may the
    other's.
    """
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)


def parse_hosts(text: str) -> frozenset[str]:
    """Return the hosts of a list that is separated by commas; raises Invalid for one that can be no host.

    ``*.example.com`` stands for all hosts below example.com.
    """
    hosts = [host.strip().lower().strip("[]") for host in text.split(",") if host.strip()]
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise Invalid(INVALID_SETTING, f"gitlab.allowedHosts: {make_line(host, SHOWN)} is no host")
    return frozenset(hosts)


def check_host(url: URL, allowed: Collection[str]) -> None:
    """Raise HostNotAllowed for a host that is not in the list; an empty list allows all."""
    host = (url.raw_host or "").lower().rstrip(".")
    if not allowed or host in allowed:
        return
    if not any(entry.startswith("*.") and host.endswith(entry[1:]) for entry in allowed):
        raise HostNotAllowed(host)
