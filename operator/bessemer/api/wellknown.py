"""All labels, annotations and finalizers that Bessemer defines, and who sets them."""

from __future__ import annotations

from bessemer.api.base import GROUP

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
"""Set by the operator on all objects that it creates, and by runners on the objects that they create."""
MANAGED_BY = "bessemer"
"""The value of MANAGED_BY_LABEL."""
BUILD_LABEL = f"{GROUP}/build"
"""Set by the operator on objects of a ClusterBuild: the build's name, as names.build_label_value returns it."""
PHASE_LABEL = f"{GROUP}/phase"
"""Set by the operator on phase pods: the phase's name, such as BootCompute."""
ATTEMPT_LABEL = f"{GROUP}/attempt"
"""Set by the operator on phase pods: the attempt's number, counted from 1 over the lifetime of the build."""
BUILD_UID_LABEL = f"{GROUP}/build-uid"
"""Set by the operator on machine Leases: the UID of the ClusterBuild that holds the machine."""
MACHINE_ANNOTATION = f"{GROUP}/machine"
"""Set by the operator on machine Leases: what is claimed, such as a MAC address, in words."""

LEADER_LEASE = "bessemer-operator"
"""The Lease for leader election in the operator's namespace; renewed by the leader every few seconds."""

OWN_KEY_SECRET = "bessemer-operator-key"  # noqa: S105  the name of a Secret, not its value
"""The Secret in the operator's namespace with the key for seals; created by the operator."""
SEAL_ANNOTATION = f"{GROUP}/seal"
"""Set by the operator on phase pods: proves that the operator created them."""
INPUT_DIGEST_ANNOTATION = f"{GROUP}/input-digest"
"""Set by the operator on phase pods: the digest of the input that the attempt was started with."""
PAUSE_ANNOTATION = f"{GROUP}/pause"
"""Set by users on a ClusterBuild: no new pod is started while it is present (and not "false")."""
RETRY_ANNOTATION = f"{GROUP}/retry"
"""Set by users on a ClusterBuild: a new value resets the budget of attempts."""
ABORT_ANNOTATION = f"{GROUP}/abort"
"""Set by users on a ClusterBuild: the running phase is stopped and Cleanup runs (unless "false")."""
DESTINATION_ANNOTATION = f"{GROUP}/for"
"""Set by users on Secrets: the hosts that the Secret may be sent to, such as https://gitlab.example.org, separated by
commas."""

BUILD_FINALIZER = f"{GROUP}/finalizer"
"""Set by the operator on a ClusterBuild, removed by it when everything that the build staged has been removed."""
RESULT_FINALIZER = f"{GROUP}/result"
"""Set by the operator on phase pods, removed by it when the pod's result is recorded in the ClusterBuild's status."""

POOL_LABEL = f"{GROUP}/pool"
"""Set by the operator on objects of a RunnerPool: the pool's name, as names.build_label_value returns it."""
SLOT_LABEL = f"{GROUP}/slot"
"""Set by the operator on runner pods: the slot, counted from 0, that determines their name and system_id."""
JOB_ANNOTATION = f"{GROUP}/job"
"""Set by the operator on runner pods: the GitLab job that the pod must request, or "any" where it polls by itself. The
pod waits until the annotation is present; it reads it through a downward API volume."""
SENT_ANNOTATION = f"{GROUP}/sent-at"
"""Set by the operator on runner pods: when JOB_ANNOTATION was set."""
TEMPLATE_ANNOTATION = f"{GROUP}/template"
"""Set by the operator on runner pods: the digest of the spec and configuration that they were created from."""
RUNNER_UID_LABEL = f"{GROUP}/runner-uid"
"""Set by the runner on job pods (executor Kubernetes): the UID of the runner pod that created them."""
JOB_POD_POOL_LABEL = f"{GROUP}/job-of-pool"
"""Set by the runner on job pods: the pool's name, as names.build_label_value returns it."""
POOL_ANNOTATION = f"{GROUP}/pool"
"""Set by the runner on job pods: the pool's name."""
POOL_FINALIZER = f"{GROUP}/runners"
"""Set by the operator on a RunnerPool, removed by it when its pods have ended and its runner is deleted in GitLab."""
