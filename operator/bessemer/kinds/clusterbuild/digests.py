"""The input digest of each phase: a phase runs again if, and only if, the digest of its input has changed.

An input consists of the parts of the spec that matter to the phase and the attempt numbers of the earlier phases on
which it builds: a reinstalled management node must be configured again, even if the spec is the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from bessemer.api.clusterbuild.spec import ClusterBuildSpec
from bessemer.api.phase_contract import PHASE_ORDER, PhaseName

_UPSTREAM: dict[PhaseName, tuple[PhaseName, ...]] = {
    PhaseName.PREFLIGHT: (),
    PhaseName.BOOT_MANAGEMENT: (),
    PhaseName.CONFIGURE_MANAGEMENT: (PhaseName.BOOT_MANAGEMENT,),
    PhaseName.BOOT_COMPUTE: (PhaseName.BOOT_MANAGEMENT,),
    PhaseName.CONFIGURE_SERVICES: (PhaseName.CONFIGURE_MANAGEMENT, PhaseName.BOOT_COMPUTE),
    PhaseName.VERIFY: (PhaseName.CONFIGURE_SERVICES,),
}
_DIGEST_DIGITS = 16
STAGING_PHASES = tuple(phase for phase in PHASE_ORDER if phase not in (PhaseName.PREFLIGHT, PhaseName.CLEANUP))
"""Phases after which there may be something to clean up."""


def compute_input_digest(
    phase: PhaseName, spec: ClusterBuildSpec, attempts: Mapping[PhaseName, int], *, key_missing: bool = False
) -> str:
    """Return the digest of the input of a phase.

    Args:
        phase: the phase; Cleanup has a separate digest.
        spec: the spec of the build.
        attempts: the number of the latest attempt of each phase.
        key_missing: whether the phase runs without the login key, in order to report that.
    """
    upstream = [attempts.get(earlier, 0) for earlier in _UPSTREAM[phase]]
    # Without defaults: a new field in a newer operator must not cause machines to be reinstalled.
    said = spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    return _digest([_relevant_parts(phase, said), upstream, *(["key missing"] if key_missing else [])])


def compute_cleanup_digest(attempts: Mapping[PhaseName, int], *, power_off: bool, keep_persistent: bool) -> str:
    """Return the digest of Cleanup's input.

    It covers what must be cleaned up, whether machines are powered off, and whether persistent boot entries are kept.
    """
    return _digest([[attempts.get(phase, 0) for phase in STAGING_PHASES], power_off, keep_persistent])


def _relevant_parts(phase: PhaseName, spec: dict[str, Any]) -> Any:
    management, compute = spec["management"], spec["compute"]
    powerman = {key: value for key, value in spec["power"]["powerman"].items() if key != "timeoutSeconds"}
    spec = {**spec, "power": {"powerman": powerman}}
    machines = {key: compute.get(key) for key in ("hosts", "addresses", "macs", "install")}
    match phase:
        case PhaseName.PREFLIGHT:
            keys = ("bootHost", "management", "power", "ssh", "configuration", "services")
            return [machines, *(spec.get(key) for key in keys)]
        case PhaseName.BOOT_MANAGEMENT:
            return [
                spec.get("ssh"),
                *(management.get(key) for key in ("host", "address", "provision", "mac", "install")),
            ]
        case PhaseName.CONFIGURE_MANAGEMENT:
            return [machines, management, spec.get("configuration"), spec["power"], spec.get("ssh")]
        case PhaseName.BOOT_COMPUTE:
            return [machines, compute.get("minReady"), spec.get("ssh")]
        case PhaseName.CONFIGURE_SERVICES:
            return [machines, spec.get("configuration"), spec.get("services"), spec.get("ssh")]
        case PhaseName.VERIFY:
            return spec.get("verify")
    raise ValueError(f"{phase} has no input")


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_DIGITS]
