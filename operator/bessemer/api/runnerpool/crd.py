"""The CRD of RunnerPool."""

from __future__ import annotations

from bessemer.api.crd import CustomResource
from bessemer.api.runnerpool.names import KIND, PLURAL, SHORT_NAME
from bessemer.api.runnerpool.resource import MODELS, PRINTER_COLUMNS, SCALE
from bessemer.api.runnerpool.rights import EXECUTOR_RULES, VARIABLES, build_rules

CRD = CustomResource(
    KIND,
    PLURAL,
    SHORT_NAME,
    "A pool of GitLab runner pods that exist only while there are jobs.",
    MODELS,
    PRINTER_COLUMNS,
    tuple(build_rules()),
    SCALE,
    tuple(VARIABLES),
    {"executor-rules.yaml": {"rules": EXECUTOR_RULES}},
)
