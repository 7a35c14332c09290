"""The contract between the operator and a phase pod: its input and its output.

In: a file ``input.json`` (from a ConfigMap, no secrets) and a directory of secret files (from a Secret).
Out: the exit code (0 succeeded, 1 failed, 143 stopped by a signal) and a termination message, the JSON of
:class:`PhaseResult`, of at most 4096 bytes. The message is the durable result; logs and progress reports are only for
people.
"""

from __future__ import annotations

import signal
from enum import StrEnum

from pydantic import Field

from bessemer.api.base import ApiModel, PrintableLine, PrintableText
from bessemer.api.clusterbuild.spec import MAX_NODES, ClusterBuildSpec

TERMINATION_MESSAGE_LIMIT = 4096
"""Bytes; Kubernetes truncates longer ones. Source: https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/"""

STOPPED_EXIT_CODE = 128 + signal.SIGTERM
"""Exit code of a phase that received SIGTERM; the pod's status has the cause."""
INPUT_DIRECTORY = "/etc/bessemer/input"
"""Where the ConfigMap of the attempt is mounted."""
INPUT_FILE = "input.json"
INPUT_DIGEST_VARIABLE = "BESSEMER_INPUT_SHA256"
"""The expected digest of the input. Without it, a user who may replace ConfigMaps could control a pod that has the
build's keys."""
SECRET_DIRECTORY = "/etc/bessemer/secret"  # noqa: S105  a path, not a secret
"""Where the Secret of the build is mounted: the seed and, if the user gave no key, ssh-privatekey."""
SSH_KEY_DIRECTORY = "/etc/bessemer/ssh"
"""Where the user's SSH key Secret is mounted, if there is one."""
PLAYBOOK_DIRECTORY = "/etc/bessemer/playbooks"
"""Where the site's playbooks are mounted, checked out at spec.configuration.playbooks.commit, if there are any."""
SCRATCH_DIRECTORY = "/scratch"
"""A writable emptyDir in memory; the rest of the pod's file system is read-only."""


class PhaseName(StrEnum):
    """The phases of a ClusterBuild."""

    PREFLIGHT = "Preflight"
    BOOT_MANAGEMENT = "BootManagement"
    CONFIGURE_MANAGEMENT = "ConfigureManagement"
    BOOT_COMPUTE = "BootCompute"
    CONFIGURE_SERVICES = "ConfigureServices"
    VERIFY = "Verify"
    CLEANUP = "Cleanup"


PHASE_ORDER: tuple[PhaseName, ...] = tuple(PhaseName)
"""The order in which phases run."""


class NodeState(StrEnum):
    """The state of a node in the build."""

    PENDING = "Pending"
    POWERING_ON = "PoweringOn"
    NETBOOTING = "Netbooting"
    INSTALLING = "Installing"
    STARTING = "Starting"
    INSTALLED = "Installed"
    CONFIGURED = "Configured"
    READY = "Ready"
    DRAINED = "Drained"
    FAILED = "Failed"


class NodeGroup(ApiModel):
    """Nodes in the same state, as one range."""

    hosts: PrintableLine = Field(max_length=4096)
    """Hostlist, such as oxygen[2-480]."""
    state: NodeState
    """State of these nodes."""
    reason: PrintableLine | None = Field(default=None, max_length=128)
    """Why they failed, as one CamelCase word such as NeverNetbooted."""
    message: PrintableLine | None = Field(default=None, max_length=1024)
    """Why they failed, in a sentence."""
    attempt: int | None = Field(default=None, ge=1)
    """Number of the current or last attempt to install them."""


class JobResult(ApiModel):
    """The result of one verification job."""

    name: PrintableLine = Field(max_length=63)
    """Name of the job in spec.verify.jobs."""
    job_id: int | None = Field(default=None, ge=0)
    """Job ID in Slurm."""
    passed: bool
    """Whether all expectations were met."""
    state: PrintableLine = Field(max_length=64)
    """Last state of the job in Slurm, such as COMPLETED."""
    exit_code: int | None = None
    """Exit code of the job."""
    nodes: PrintableLine = Field(default="", max_length=4096)
    """The nodes that the job ran on, as a hostlist."""
    message: PrintableText = Field(default="", max_length=1024)
    """Which expectation was not met."""
    output_tail: PrintableText = Field(default="", max_length=1024)
    """The end of the job's output."""


class PhaseInput(ApiModel):
    """The whole input of a phase, except for secrets."""

    namespace: str
    """Namespace of the ClusterBuild."""
    build: str
    """Name of the ClusterBuild."""
    uid: str
    """UID of the ClusterBuild; files that are staged on servers of the site are marked with it."""
    phase: PhaseName
    """The phase to run."""
    attempt: int = Field(ge=1)
    """Number of this attempt of the phase, counted over the lifetime of the build."""
    spec: ClusterBuildSpec
    """The spec when the attempt was created."""
    nodes: list[NodeGroup] = Field(default_factory=list)
    """The compute nodes from the status: the results of earlier phases."""
    remove_hosts: str | None = None
    """Hostlist of nodes that were removed from the spec; they must be drained and removed from Slurm first."""
    power_off: bool = False
    """Whether Cleanup powers off all machines: the build is being deleted with onDelete PowerOff."""
    keep_persistent: bool = False
    """Whether Cleanup keeps the boot entries of stateless nodes, which need one at every boot: the build succeeded."""
    progress_url: str | None = None
    """URL for progress reports (JSON of Progress, with the token as bearer token); nothing depends on them."""


class PhaseResult(ApiModel):
    """The durable result of one attempt of one phase."""

    succeeded: bool
    """Whether the phase succeeded."""
    reason: PrintableLine = Field(min_length=1, max_length=128)
    """One CamelCase word: Succeeded, or why the phase failed."""
    message: PrintableText = Field(default="", max_length=2048)
    """The reason in a sentence, or a list of all problems."""
    retryable: bool = False
    """Whether another attempt may succeed with the same spec."""
    nodes: list[NodeGroup] = Field(default_factory=list)
    """The compute nodes of this phase, grouped by state. Where their names don't fit into a termination message, one
    group has ``*`` for all nodes that are in no other group, or all groups have positions instead of names (see
    ``grouping``)."""
    jobs: list[JobResult] = Field(default_factory=list)
    """Results of the verification jobs."""


class Progress(ApiModel):
    """Progress of a running phase; for people only."""

    message: PrintableLine = Field(default="", max_length=256)
    """Current activity, such as the Ansible task or the step of the install."""
    done: int = Field(default=0, ge=0)
    """Number of finished steps."""
    total: int = Field(default=0, ge=0)
    """Total number of steps; 0 if it is not known."""
    nodes: list[NodeGroup] = Field(default_factory=list, max_length=MAX_NODES)
    """Current state of the compute nodes, as the phase sees them."""
