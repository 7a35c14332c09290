"""Reasons that modules of several layers give or compare: one vocabulary for all kinds (docs/user/)."""

from __future__ import annotations

INVALID_SPEC = "InvalidSpec"
"""The spec can't be used until it is changed."""
INVALID_SETTING = "InvalidSetting"
"""A setting of the operator can't be used."""
INTERNAL_ERROR = "InternalError"
"""An error in Bessemer."""

SECRET_MISSING = "SecretMissing"  # noqa: S105  a reason, as are those below
"""A Secret that the spec names does not exist, or has no such key."""
SECRET_EMPTY = "SecretEmpty"  # noqa: S105
"""The value of the key is empty."""
SECRET_BROKEN = "SecretBroken"  # noqa: S105
"""A Secret exists and can't be used."""
SECRET_NOT_FOR_HOST = "SecretNotForHost"  # noqa: S105
"""A Secret does not allow that it is sent to this host."""

QUOTA_EXCEEDED = "QuotaExceeded"
"""A ResourceQuota of the namespace is exhausted. This is no failure: the creation is retried until there is room."""
NAME_TAKEN = "NameTaken"
"""An object of that name exists and belongs to another owner."""
NAMESPACE_TERMINATING = "NamespaceTerminating"
"""The namespace is being deleted: no object can be created in it any more."""
POD_REFUSED = "PodRefused"
"""Admission, a policy or validation refuses the object; the message is the API server's."""
POD_LOST = "PodLost"
"""A pod is gone without a result."""
INIT_CONTAINER_FAILED = "InitContainerFailed"
"""An init container of a pod has failed."""
CLEANUP_ABANDONED = "CleanupAbandoned"
"""A deleted object is finalized although its clean-up is not complete."""

CLUSTER_NOT_READY = "ClusterNotReady"
"""The ClusterBuild that a pool names is not Ready."""
HOST_KEY_MISMATCH = "HostKeyMismatch"
"""A machine has another host key than the one that it must have."""
INVALID_HOSTLIST = "InvalidHostlist"
"""A hostlist can't be read."""
LENGTH_MISMATCH = "LengthMismatch"
"""Lists that must have the same length differ."""
INVALID_JOB = "InvalidJob"
"""A verification job can't be used."""
PLAYBOOK_MISSING = "PlaybookMissing"
"""There is no such playbook."""
PLAYBOOK_TIMEOUT = "PlaybookTimeout"
"""A playbook has not ended in time."""

ACCESS_TOKEN_REFUSED = "AccessTokenRefused"  # noqa: S105
"""GitLab does not accept the access token (401)."""
GITLAB_REFUSED = "GitLabRefused"
"""GitLab refuses a request (403)."""
GITLAB_NOT_FOUND = "GitLabNotFound"
"""GitLab has no such project, group or runner (404)."""
GITLAB_UNAVAILABLE = "GitLabUnavailable"
"""GitLab can't be reached, or does not answer in its own form."""
