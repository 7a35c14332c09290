"""The CRD of BuildTrigger."""

from __future__ import annotations

from bessemer.api.buildtrigger.names import KIND, PLURAL, SHORT_NAME
from bessemer.api.buildtrigger.resource import MODELS, PRINTER_COLUMNS
from bessemer.api.buildtrigger.rights import build_rules
from bessemer.api.crd import CustomResource

CRD = CustomResource(
    KIND,
    PLURAL,
    SHORT_NAME,
    "Creates ClusterBuilds from a GitLab project when something happens there.",
    MODELS,
    PRINTER_COLUMNS,
    tuple(build_rules()),
)
