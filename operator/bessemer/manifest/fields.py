"""Which fields a manifest may have, and how objects may be called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
"""Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names"""


def complete_commit(spec: dict[str, Any], commit: str) -> dict[str, Any]:
    """Return the spec of a ClusterBuild with the commit of its playbooks, where it is left out.

    No file can contain the name of its own commit.
    """
    configuration = spec.get("configuration")
    playbooks = configuration.get("playbooks") if isinstance(configuration, dict) else None
    if not isinstance(configuration, dict) or not isinstance(playbooks, dict) or "commit" in playbooks:
        return spec
    return {**spec, "configuration": {**configuration, "playbooks": {**playbooks, "commit": commit}}}


def list_unknown_fields(value: Any, schema: Mapping[str, Any], path: str) -> list[str]:
    """List fields that the CRD doesn't have, as kubectl does; ``schema`` is structural."""
    if isinstance(value, list):
        items = schema.get("items", {})
        return [line for at, item in enumerate(value) for line in list_unknown_fields(item, items, f"{path}[{at}]")]
    fields = schema.get("properties")
    if not isinstance(value, dict) or fields is None:
        return []
    unknown = [f"{path}.{name}: there is no such field" for name in value if name not in fields]
    inner = (list_unknown_fields(value[name], fields[name], f"{path}.{name}") for name in value if name in fields)
    return [*unknown, *(line for lines in inner for line in lines)]
