"""What the author of a ClusterBuild must be allowed to do, beyond reading what it names. Pure."""

from __future__ import annotations

from bessemer.api.admission import Validation, unless


def build_rules() -> list[Validation]:
    """Return the rules of ClusterBuilds, but for those that ask for what the spec names."""
    priority = Validation(
        "!has(object.spec.priorityClassName) || !object.spec.priorityClassName.startsWith('system-')",
        "spec.priorityClassName: system-* pushes the node's own pods aside: an administrator has to allow it, by the "
        "chart's value policies.allow.systemPriority",
    )
    return unless("systemPriority", priority)
