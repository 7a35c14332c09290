"""Reasons for which Kubernetes refuses a creation: one vocabulary for all kinds (docs/user/reasons.md). Pure."""

from __future__ import annotations

from dataclasses import dataclass

from bessemer.api.reasons import INVALID_SPEC, NAME_TAKEN, NAMESPACE_TERMINATING, POD_REFUSED, QUOTA_EXCEEDED
from bessemer.kube.protocol import Refused

_SHOWN = frozenset({QUOTA_EXCEEDED, NAME_TAKEN, NAMESPACE_TERMINATING, INVALID_SPEC})


@dataclass(frozen=True)
class Refusal:
    """Why a creation failed in this pass: a fact for the next decision."""

    reason: str
    """One of the reasons in this module."""
    message: str


def explain_refusal(error: Refused) -> Refusal:
    """Return the Refusal that is shown for a refused creation."""
    return Refusal(error.reason if error.reason in _SHOWN else POD_REFUSED, error.message)
