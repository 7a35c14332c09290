"""The types of a spec's values, with their patterns and bounds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from bessemer.api.base import FREE_FORM, ApiModel, cel
from bessemer.api.group import GROUP
from bessemer.foreign import DEEPEST, compute_depth, is_finite

DnsLabel = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)]
MacAddress = Annotated[
    str,
    Field(
        pattern=r"^[0-9A-Fa-f][02468ACEace](:[0-9A-Fa-f]{2}){5}$",
        max_length=17,
        json_schema_extra=cel(("self != '00:00:00:00:00:00'", "must not be 00:00:00:00:00:00, which no machine has")),
    ),
]
"""A unicast address: group addresses have the lowest bit of the first octet set (IEEE 802)."""
_OCTET = r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_FIRST_OCTET = r"(22[0-3]|2[01][0-9]|1[3-9][0-9]|12[0-68-9]|1[01][0-9]|[1-9][0-9]?)"
"""First octet of an address that a machine can have: not 0/8, 127/8, 224/4 or 240/4 (IANA special-purpose registry)."""
_ADDRESS = rf"{_FIRST_OCTET}(\.{_OCTET}){{3}}"
Address = Annotated[str, Field(pattern=rf"^{_ADDRESS}$", max_length=15)]
InterfaceAddress = Annotated[str, Field(pattern=rf"^{_ADDRESS}/([89]|[12][0-9]|30)$", max_length=18)]
"""An address with a prefix length that leaves room for hosts."""
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253)]


@dataclass(frozen=True)
class ReferenceTo:
    """Marks a field that names an object in the same namespace, which the operator uses on behalf of the spec's author.

    For each such field, the chart's admission policies check that the author may read that object.
    """

    group: str
    plural: str


SecretName = Annotated[ObjectName, ReferenceTo("", "secrets")]
ServiceAccountName = Annotated[ObjectName, ReferenceTo("", "serviceaccounts")]
ClusterBuildName = Annotated[ObjectName, ReferenceTo(GROUP, "clusterbuilds")]
_STEP = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"  # of a path; never .. and never hidden
UserName = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]*$", max_length=32)]
Directory = Annotated[str, Field(pattern=rf"^(/{_STEP})+/?$", max_length=256)]
PlaybookPath = Annotated[str, Field(pattern=rf"^({_STEP}/)*{_STEP}\.ya?ml$", max_length=256)]
_HOST_LABEL = r"[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?"
_HOST_PATTERN = rf"^{_HOST_LABEL}(\.{_HOST_LABEL})*$"
_NUMBER_AT_END = r"(^|\.)([0-9]+|0[xX][0-9A-Fa-f]*)$"
"""No host name ends in a number (https://url.spec.whatwg.org/#ends-in-a-number-checker): resolvers read 127.1 as an
address."""
_NUMBER_RULE = (
    rf"!self.matches(r'{_NUMBER_AT_END}') || self.matches(r'^{_OCTET}(\.{_OCTET}){{3}}$')",
    "must be a host name or an IPv4 address: an address has four numbers up to 255, and a host name does not end in a "
    "number",
)
_SELF = r"(?i)^((.*\.)?localhost(\.localdomain)?|ip6-(localhost|loopback)|(127|0)\..*)$"
"""Names and addresses of the loopback interface (RFC 6761; Debian's hosts file)."""
_SELF_MESSAGE = "must be reachable from pods: localhost, 127.0.0.1 and the like are the pod itself"
HostOrAddress = Annotated[
    str, Field(pattern=_HOST_PATTERN, min_length=1, max_length=253, json_schema_extra=cel(_NUMBER_RULE))
]
"""Host name (labels of 1 to 63 characters) or IPv4 address."""
RemoteHost = Annotated[
    str,
    Field(
        pattern=_HOST_PATTERN,
        min_length=1,
        max_length=253,
        json_schema_extra=cel(_NUMBER_RULE, (f"!self.matches(r'{_SELF}')", _SELF_MESSAGE)),
    ),
]
"""The same for a machine that pods connect to: names of the loopback interface are excluded."""


def find_numeric_host_problem(host: str) -> str | None:
    """Return what is wrong with a host that ends in a number, None if nothing; for values that no CEL rule checks."""
    is_odd = re.search(_NUMBER_AT_END, host) and not re.fullmatch(rf"{_OCTET}(\.{_OCTET}){{3}}", host)
    return _NUMBER_RULE[1] if is_odd else None


def find_remote_host_problem(host: str) -> str | None:
    """Return why pods can't connect to a host, None if they can; for objects that are older than the rules above."""
    return find_numeric_host_problem(host) or (_SELF_MESSAGE if re.search(_SELF, host) else None)


Port = Annotated[int, Field(ge=1, le=65535)]
_ASCII_RULE = (
    "self.matches('^[!-~]*$')",
    "must consist of printable ASCII characters: write others as %XX in a path, and as xn--... in a host name",
)
HttpUrl = Annotated[
    str, Field(pattern=r"^https?://[^\s/@]+(/[^\s]*)?$", max_length=2048, json_schema_extra=cel(_ASCII_RULE))
]
"""Without user and password: anyone who may read the object could read them."""
_PORT = r"(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
GitLabUrl = Annotated[
    str,
    Field(
        pattern=r"^https?://[^\s/@?#\\]+(/[^\s?#]*)?$",
        max_length=2048,
        json_schema_extra=cel(
            _ASCII_RULE,
            (
                rf"self.matches(r'^https?://([^/:\[\]]+|\[[0-9A-Fa-f:.]+\])(:{_PORT})?(/|$)')",
                "the host must be a name, an IPv4 address or an IPv6 address in brackets, the port from 1 to 65535",
            ),
            (
                "!self.matches('/api(/v[0-9]+|/graphql)?/*$')",
                "must be the URL of GitLab itself: remove /api/v4 from its end",
            ),
        ),
    ),
]
"""The base URL of a GitLab, without query and fragment."""
HostKey = Annotated[
    str, Field(pattern=r"^(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)|ssh-rsa) [A-Za-z0-9+/=]+( .*)?$", max_length=2048)
]


def _check_free_form(value: dict[str, Any]) -> dict[str, Any]:
    if compute_depth(value) > DEEPEST:
        raise ValueError(f"is nested deeper than {DEEPEST} levels")
    if not is_finite(value):
        raise ValueError("holds a number that is too large")
    return value


FreeForm = Annotated[dict[str, Any], Field(json_schema_extra=FREE_FORM), AfterValidator(_check_free_form)]
"""Any JSON object, with a bounded depth."""


def int_or_string(pattern: str, message: str) -> dict[str, Any]:
    """Return the schema extension for a string that may be written as a number; ``pattern`` is ignored for such fields,
    so a CEL rule checks it.
    """
    return {"x-kubernetes-int-or-string": True, **cel((f"string(self).matches('{pattern}')", message))}


_COUNT = r"^([1-9][0-9]{0,3}|[1-9][0-9]?%|100%)$"
_NODE_COUNT = r"^(All|[1-9][0-9]{0,3})$"


def _write_number(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


FROM_NUMBER = BeforeValidator(_write_number)
"""Reads a whole number as its digits, also one that is written as 1e3 or 2.0, as the API server does."""
Count = Annotated[
    str,
    FROM_NUMBER,
    Field(
        pattern=_COUNT,
        max_length=4,
        json_schema_extra=int_or_string(_COUNT, "must be a count such as 3 or a percentage such as 75%, and not 0"),
    ),
]
NodeCount = Annotated[
    str,
    FROM_NUMBER,
    Field(
        pattern=_NODE_COUNT,
        max_length=4,
        json_schema_extra=int_or_string(_NODE_COUNT, "must be a count from 1 to 9999 or All"),
    ),
]


class SecretKeyReference(ApiModel):
    """One key of a Secret in the namespace of the ClusterBuild."""

    name: SecretName
    """Name of the Secret."""
    key: str = Field(default="ssh-privatekey", pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)
    """Key in the Secret. The default is the key of Secrets of type kubernetes.io/ssh-auth."""
