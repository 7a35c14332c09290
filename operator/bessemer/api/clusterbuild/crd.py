"""The CRD of ClusterBuild."""

from __future__ import annotations

from bessemer.api.clusterbuild.names import KIND, PLURAL, SHORT_NAME
from bessemer.api.clusterbuild.resource import MODELS, PRINTER_COLUMNS
from bessemer.api.clusterbuild.rights import build_rules
from bessemer.api.crd import CustomResource

CRD = CustomResource(
    KIND,
    PLURAL,
    SHORT_NAME,
    "An HPC cluster on bare metal, from power on to verified Slurm jobs.",
    MODELS,
    PRINTER_COLUMNS,
    tuple(build_rules()),
)
