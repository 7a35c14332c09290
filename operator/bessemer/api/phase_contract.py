"""What goes into a phase pod and what comes out: the whole contract between the operator and a phase.

In: a file ``input.json`` (from a ConfigMap, no secrets) and a directory of secret files (from a Secret).
Out: the exit code (0 succeeded, 1 failed, 143 stopped by a signal) and a termination message, the JSON of
:class:`PhaseResult`, of at most 4096 bytes. The message is the durable result; what a phase logs and posts on its way
is for people only.
"""

from __future__ import annotations

import signal
from enum import StrEnum

from pydantic import Field

from bessemer.api.base import ApiModel, PrintableLine, PrintableText
from bessemer.api.clusterbuild.spec import MAX_NODES, ClusterBuildSpec

TERMINATION_MESSAGE_LIMIT = 4096
"""Bytes; Kubernetes cuts longer ones. Source: https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/"""

STOPPED_EXIT_CODE = 128 + signal.SIGTERM
"""Of a phase that was told to stop: the pod itself then says why."""
INPUT_DIRECTORY = "/etc/bessemer/input"
"""Where the ConfigMap of the attempt is mounted."""
INPUT_FILE = "input.json"
INPUT_DIGEST_VARIABLE = "BESSEMER_INPUT_SHA256"
"""What the input must have: who may replace a ConfigMap could else have a pod with the build's keys do anything."""
SECRET_DIRECTORY = "/etc/bessemer/secret"  # noqa: S105  a path, not a secret
"""Where the Secret of the build is mounted; holds seed and, where no key was given, ssh-privatekey."""
SSH_KEY_DIRECTORY = "/etc/bessemer/ssh"
"""Where the user's own SSH key Secret is mounted, if one was given."""
PLAYBOOK_DIRECTORY = "/etc/bessemer/playbooks"
"""Where the site's own playbooks are mounted, checked out at spec.configuration.playbooks.commit, if any are given."""
SCRATCH_DIRECTORY = "/scratch"
"""A writable emptyDir in memory; all else of the pod is read-only."""


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
    """How far a node has come."""

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
    """Nodes that are alike, as one range."""

    hosts: PrintableLine = Field(max_length=4096)
    """Hostlist, such as oxygen[2-480]."""
    state: NodeState
    """How far they have come."""
    reason: PrintableLine | None = Field(default=None, max_length=128)
    """Why they failed, as one CamelCase word such as NeverNetbooted."""
    message: PrintableLine | None = Field(default=None, max_length=1024)
    """Why they failed, in a sentence."""
    attempt: int | None = Field(default=None, ge=1)
    """Which attempt of the install this is or was."""


class JobResult(ApiModel):
    """What became of one verification job."""

    name: PrintableLine = Field(max_length=63)
    """Name in spec.verify.jobs."""
    job_id: int | None = Field(default=None, ge=0)
    """Slurm's number of the job."""
    passed: bool
    """Whether every expectation held."""
    state: PrintableLine = Field(max_length=64)
    """Slurm's last state of it, such as COMPLETED."""
    exit_code: int | None = None
    """Its exit code."""
    nodes: PrintableLine = Field(default="", max_length=4096)
    """The nodes it ran on, as a hostlist."""
    message: PrintableText = Field(default="", max_length=1024)
    """Which expectation did not hold."""
    output_tail: PrintableText = Field(default="", max_length=1024)
    """The end of its output."""


class PhaseInput(ApiModel):
    """All that a phase may know, but for secrets."""

    namespace: str
    """Namespace of the ClusterBuild."""
    build: str
    """Name of the ClusterBuild."""
    uid: str
    """UID of the ClusterBuild; what is staged on foreign servers is marked with it."""
    phase: PhaseName
    """The phase to run."""
    attempt: int = Field(ge=1)
    """Which attempt of the phase this is, counted over the life of the build."""
    spec: ClusterBuildSpec
    """The spec at the time when the attempt was created."""
    nodes: list[NodeGroup] = Field(default_factory=list)
    """The compute nodes as the status had them: what earlier phases found."""
    remove_hosts: str | None = None
    """Hostlist of nodes that left the spec and are to be drained and taken out of Slurm first."""
    power_off: bool = False
    """Whether Cleanup switches all machines off: the build is being deleted with onDelete PowerOff."""
    keep_persistent: bool = False
    """Whether Cleanup leaves the boot entries of stateless nodes, which need one at every boot: the build succeeded."""
    progress_url: str | None = None
    """Where progress may be posted (JSON of Progress, with the token as bearer); nothing depends on it."""


class PhaseResult(ApiModel):
    """The durable result of one attempt of one phase."""

    succeeded: bool
    """Whether the phase reached its goal."""
    reason: PrintableLine = Field(min_length=1, max_length=128)
    """One CamelCase word: Succeeded, or why not."""
    message: PrintableText = Field(default="", max_length=2048)
    """The reason in a sentence or a list of all that is wrong."""
    retryable: bool = False
    """Whether another attempt may succeed with the same spec."""
    nodes: list[NodeGroup] = Field(default_factory=list)
    """Compute nodes this phase dealt with, alike ones grouped; where their names don't fit into a termination message,
    one group has ``*`` for all nodes that no other group names, or all groups have places (see ``grouping``)."""
    jobs: list[JobResult] = Field(default_factory=list)
    """Results of verification jobs."""


class Progress(ApiModel):
    """How far a running phase is; for people."""

    message: PrintableLine = Field(default="", max_length=256)
    """What it is doing, such as the Ansible task or the step of the install."""
    done: int = Field(default=0, ge=0)
    """Steps done."""
    total: int = Field(default=0, ge=0)
    """Steps in all; 0 where not known."""
    nodes: list[NodeGroup] = Field(default_factory=list, max_length=MAX_NODES)
    """Compute nodes as the phase sees them now."""
