"""What ``bessemer plan`` says of a manifest."""

from __future__ import annotations

import yaml

from bessemer.cli.plan import print_plan
from bessemer.errors import Invalid
from local_kubernetes.kubectl import Resource


def explain_plan_refusal(manifest: Resource) -> str:
    """Have it refuse a manifest; return what it says, nothing where it takes it."""
    try:
        print_plan(yaml.safe_dump(manifest))
    except Invalid as error:
        return error.message
    return ""
