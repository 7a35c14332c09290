"""Every label, annotation and finalizer of ours in one place, each with who sets it."""

from __future__ import annotations

from bessemer.resource import GROUP

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
"""Set by the operator on all that it creates."""
MANAGED_BY = "bessemer"
"""The value of MANAGED_BY_LABEL."""
BUILD_LABEL = f"{GROUP}/build"
"""Set by the operator on what belongs to a ClusterBuild: the build's name as names.build_label_value gives it."""
PHASE_LABEL = f"{GROUP}/phase"
"""Set by the operator on phase pods: the phase's name, such as BootCompute."""
ATTEMPT_LABEL = f"{GROUP}/attempt"
"""Set by the operator on phase pods: the attempt's number, counted from 1 over the life of the build."""
BUILD_UID_LABEL = f"{GROUP}/build-uid"
"""Set by the operator on machine Leases: the UID of the ClusterBuild that holds the machine."""

LEADER_LEASE = "bessemer-operator"
"""The Lease in the operator's namespace that says who leads; written by the leader every few seconds."""

INPUT_DIGEST_ANNOTATION = f"{GROUP}/input-digest"
"""Set by the operator on phase pods: the digest of what the attempt was started with."""
PAUSE_ANNOTATION = f"{GROUP}/pause"
"""Set by the user on a ClusterBuild: no new pod is started while it is there (and not "false")."""
RETRY_ANNOTATION = f"{GROUP}/retry"
"""Set by the user on a ClusterBuild: any new value renews the budget of attempts."""
ABORT_ANNOTATION = f"{GROUP}/abort"
"""Set by the user on a ClusterBuild: the running phase is stopped and Cleanup runs (unless "false")."""

BUILD_FINALIZER = f"{GROUP}/finalizer"
"""Set by the operator on a ClusterBuild, removed by it when what the build staged is taken back."""
RESULT_FINALIZER = f"{GROUP}/result"
"""Set by the operator on phase pods, removed by it when the pod's result stands in the ClusterBuild's status."""

POOL_LABEL = f"{GROUP}/pool"
"""Set by the operator on what belongs to a RunnerPool: the pool's name as names.build_label_value gives it."""
SLOT_LABEL = f"{GROUP}/slot"
"""Set by the operator on runner pods: the slot, counted from 0, that their name and their system_id come from."""
JOB_ANNOTATION = f"{GROUP}/job"
"""Set by the operator on runner pods: the GitLab job that the pod was sent for, or "any" where it polls by itself;
while it is absent the pod waits. The pod itself reads it, by a downward API volume."""
SENT_ANNOTATION = f"{GROUP}/sent-at"
"""Set by the operator on runner pods, with JOB_ANNOTATION: when."""
TEMPLATE_ANNOTATION = f"{GROUP}/template"
"""Set by the operator on runner pods: the digest of the spec and the configuration that they were made from."""
POOL_FINALIZER = f"{GROUP}/runners"
"""Set by the operator on a RunnerPool, removed by it when its pods have ended and GitLab has forgotten its runner."""
