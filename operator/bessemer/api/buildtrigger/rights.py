"""Permissions that the author of a BuildTrigger needs, in addition to reading the objects that it names. Pure."""

from __future__ import annotations

from bessemer.api.admission import Rule, Validation, build_may_do
from bessemer.api.group import GROUP

BUILD_RULES: list[Rule] = [
    {"apiGroups": [GROUP], "resources": ["clusterbuilds"], "verbs": ["create", "patch", "delete"]}
]
"""What the trigger does with ClusterBuilds on behalf of its author."""


LOG_RULES: list[Rule] = [{"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]}]
"""What is told to the jobs for which there is a rule."""


def build_rules() -> list[Validation]:
    """Return the rules for BuildTriggers, except those for the objects that the spec names."""
    message = "the trigger creates, changes and deletes ClusterBuilds for you in this namespace"
    logs = "the trigger has a rule for jobs, which see the logs of phases"
    no_jobs = "!(has(object.spec.rules) && object.spec.rules.exists(r, has(r.job)))"
    return [*build_may_do(BUILD_RULES, "false", message), *build_may_do(LOG_RULES, no_jobs, logs)]
