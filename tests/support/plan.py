"""The output of ``bessemer plan`` for a manifest."""

from __future__ import annotations

import yaml

from bessemer.cli.plan import print_plan
from bessemer.errors import Invalid
from local_kubernetes.kubectl import Resource


def explain_plan_refusal(manifest: Resource) -> str:
    """Return the error of ``bessemer plan`` for a manifest; empty if the manifest is accepted."""
    try:
        print_plan(yaml.safe_dump(manifest))
    except Invalid as error:
        return error.message
    return ""
