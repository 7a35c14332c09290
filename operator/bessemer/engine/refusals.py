"""Reasons for which Kubernetes refuses a creation: one vocabulary for all kinds (docs/user/reasons.md). Pure."""

from __future__ import annotations

from dataclasses import dataclass

from bessemer.kube.protocol import Refused

QUOTA_EXCEEDED = "QuotaExceeded"
"""A ResourceQuota of the namespace is exhausted. This is no failure: the creation is retried until there is room."""
NAME_TAKEN = "NameTaken"
"""An object of that name exists and belongs to another owner."""
NAMESPACE_TERMINATING = "NamespaceTerminating"
"""The namespace is being deleted: no object can be created in it any more."""
POD_REFUSED = "PodRefused"
"""Admission, a policy or validation refuses the object; the message is the API server's."""
INVALID_SPEC = "InvalidSpec"
"""The spec can't be used until it is changed."""
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
