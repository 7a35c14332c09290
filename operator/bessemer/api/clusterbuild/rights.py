"""Permissions that the author of a ClusterBuild needs, in addition to reading the objects that it names. Pure."""

from __future__ import annotations

from bessemer.api.admission import Validation, unless


def build_rules() -> list[Validation]:
    """Return the rules for ClusterBuilds, except those for the objects that the spec names."""
    priority = Validation(
        "!has(object.spec.priorityClassName) || !object.spec.priorityClassName.startsWith('system-')",
        "spec.priorityClassName: system-* would evict system pods of the node: an administrator must allow it with the "
        "chart's value policies.allow.systemPriority",
    )
    return unless("systemPriority", priority)
