"""Restricts where a Secret may be sent: only to hosts named in the Secret's own annotation.

The author of a ClusterBuild or RunnerPool chooses the URLs in it. Whether a token may be sent to one of these URLs is
the decision of the Secret's owner, not of the URL's author.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from bessemer.api.reasons import SECRET_NOT_FOR_HOST
from bessemer.api.wellknown import DESTINATION_ANNOTATION
from bessemer.errors import Invalid
from bessemer.foreign import make_line

_PORTS = {"http": 80, "https": 443, "ssh": 22}
_MOST_ENTRIES = 64
_ENTRY = re.compile(r"([A-Za-z]+://)?[^/@]+/?")
"""An origin or a host. Anything else, such as a mail address or a path, is not meant to allow a whole host."""
_AMBIGUOUS = re.compile(r"[^/]*(//)?[^/]*[\\?#\s]")
"""URLs in which programs disagree about the host: Git takes ``ssh://a#@b/`` for a URL of host b."""


class _Place(NamedTuple):
    scheme: str
    host: str
    port: int | None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port in (None, _PORTS.get(self.scheme)) else f":{self.port}"
        return f"{self.scheme}://{host}{port}"


def check_destination(raw: Mapping[str, Any], namespace: str, where: str, url: str) -> None:
    """Raise Invalid SecretNotForHost unless the Secret ``raw`` says that it may be sent to ``url``.

    The annotation contains origins (``https://gitlab.example.org:8443``) or hosts (``gitlab.example.org``: any scheme,
    any port; ``gitlab.example.org:8443``), separated by commas. ``where`` is the field that names the Secret. The
    message contains the command that would allow the URL.
    """
    wanted = _parse(url)
    metadata = raw.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    annotations = metadata.get("annotations")
    given = annotations.get(DESTINATION_ANNOTATION) if isinstance(annotations, Mapping) else None
    entries = [entry for entry in str(given or "").replace(",", " ").split()[:_MOST_ENTRIES] if entry]
    if wanted is not None and any(_matches(entry, wanted) for entry in entries):
        return
    name, place = make_line(str(metadata.get("name")), 253), make_line(str(wanted or url), 300)
    value = ",".join([*(make_line(entry, 300) for entry in entries[:4]), place])
    overwrite = " --overwrite" if entries else ""
    says = f"says that it is for {make_line(', '.join(entries), 300)}" if entries else "does not say what it is for"
    # Quoted, because another user wrote the URL and people copy the command into their shell.
    command = f"kubectl annotate secret {shlex.quote(name)} --namespace {namespace}{overwrite}"
    annotation = shlex.quote(f"{DESTINATION_ANNOTATION}={value}")
    raise Invalid(
        SECRET_NOT_FOR_HOST,
        f"Secret {name} ({where}) {says}, and is not sent to {place}; who owns it may allow it: {command} {annotation}",
    )


def _matches(entry: str, wanted: _Place) -> bool:
    if not _ENTRY.fullmatch(entry):
        return False
    if "://" in entry:
        return _parse(entry) == wanted
    place = _parse(f"{wanted.scheme}://{entry}")
    if place is None or place.host != wanted.host:
        return False
    return not _has_port(entry) or place.port == wanted.port


def _has_port(entry: str) -> bool:
    return ":" in entry.rpartition("]")[2]


def _parse(url: str) -> _Place | None:
    """Return scheme, host and port of a URL; None if they are missing or ambiguous."""
    if _AMBIGUOUS.match(url):
        return None
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return None
    scheme = parts.scheme.lower()
    return _Place(scheme, host, _PORTS.get(scheme) if port is None else port) if scheme and host else None
