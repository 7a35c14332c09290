"""Why Kubernetes refuses to create something: one vocabulary for all kinds (docs/user/reasons.md). Pure."""

from __future__ import annotations

from dataclasses import dataclass

from bessemer.kube.protocol import Refused

QUOTA_EXCEEDED = "QuotaExceeded"
"""A ResourceQuota of the namespace has no room. It is no failure: looked at again until there is."""
NAME_TAKEN = "NameTaken"
"""An object of that name is there, and was not made for this one."""
NAMESPACE_TERMINATING = "NamespaceTerminating"
"""The namespace is being deleted: nothing can be created in it any more."""
POD_REFUSED = "PodRefused"
"""Admission, a policy or validation refuses the object, in the words of the API server."""
INVALID_SPEC = "InvalidSpec"
"""The spec can't be used, whatever time brings."""
_SHOWN = frozenset({QUOTA_EXCEEDED, NAME_TAKEN, NAMESPACE_TERMINATING, INVALID_SPEC})


@dataclass(frozen=True)
class Refusal:
    """Why something could not be created in this pass: a fact, that the next decision is made from."""

    reason: str
    """One of this module's."""
    message: str


def explain_refusal(error: Refused) -> Refusal:
    """Return what is shown of a refused creation."""
    return Refusal(error.reason if error.reason in _SHOWN else POD_REFUSED, error.message)
