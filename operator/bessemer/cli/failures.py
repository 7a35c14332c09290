"""What keeps a command from its cluster, in one line: what is wrong, and what to do."""

from __future__ import annotations

from bessemer.errors import BessemerError, Invalid
from bessemer.foreign import make_line
from bessemer.kube.protocol import NotServed, Refused, Unavailable

_ANOTHER = "or choose another cluster with --context or --kubeconfig"
LINE = 600
"""Characters of what the API server says."""


def explain_failure(error: BessemerError, server: str) -> BessemerError:
    """Return the error with what to do about it; ``server`` is the URL of the API server, "" where none was found."""
    message = make_line(error.message, LINE)
    match error:
        case Invalid(reason="NoCluster"):
            return Invalid(error.reason, f"{message}; set KUBECONFIG, or name the file with --kubeconfig")
        case NotServed():
            return Invalid(
                error.reason, f"{server} has no {message}: install Bessemer's CRDs (chart bessemer-crds), {_ANOTHER}"
            )
        case Unavailable(reason="Unauthorized"):
            return Invalid(error.reason, f"{server} does not take your credentials: log in again, {_ANOTHER}")
        case Unavailable():
            if error.reason == "ApiUnavailable":  # begins with the request
                message = message.partition(": ")[2]
            return Invalid(
                error.reason, f"{server} gives no answer ({message}): check that it runs and can be reached, {_ANOTHER}"
            )
        case Refused(reason="Forbidden"):
            return Invalid(
                error.reason,
                f"you may not do this ({message}): ask for a RoleBinding to the ClusterRole view, to look, "
                "or edit, to change, in that namespace",
            )
        case _:
            return error
