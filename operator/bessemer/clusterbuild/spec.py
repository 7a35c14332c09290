"""The spec of a ClusterBuild: what the user asks for.

The sentence under a field is its comment here, its description in the CRD and its text in ``kubectl explain``.
Bounds are part of the contract: what a schema or CEL can refuse is refused by ``kubectl apply``, naming the field.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

from bessemer.resource import ATOMIC_LIST, FREE_FORM, ApiModel, cel, list_map

MAX_NODES = 1024
"""More would not fit into one Secret and one status object comfortably; nothing else depends on it."""

DnsLabel = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)]
MacAddress = Annotated[str, Field(pattern=r"^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$", max_length=17)]
Address = Annotated[str, Field(pattern=r"^[0-9]{1,3}(\.[0-9]{1,3}){3}$", max_length=15)]
HostOrAddress = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$", min_length=1, max_length=253)
]
Port = Annotated[int, Field(ge=1, le=65535)]
HttpUrl = Annotated[str, Field(pattern=r"^https?://[^\s]+$", max_length=2048)]
HostKey = Annotated[
    str, Field(pattern=r"^(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)|ssh-rsa) [A-Za-z0-9+/=]+( .*)?$", max_length=2048)
]


def int_or_string(pattern: str, message: str) -> dict[str, Any]:
    """Give the schema extension for a string that may be written as a number; patterns don't bind such fields."""
    return {"x-kubernetes-int-or-string": True, **cel((f"string(self).matches('{pattern}')", message))}


_COUNT = r"^([0-9]{1,4}|[0-9]{1,2}%|100%)$"
_NODE_COUNT = r"^(All|[1-9][0-9]{0,3})$"
_FROM_NUMBER = BeforeValidator(lambda value: str(value) if isinstance(value, int) else value)
Count = Annotated[
    str,
    _FROM_NUMBER,
    Field(
        pattern=_COUNT,
        max_length=4,
        json_schema_extra=int_or_string(_COUNT, "must be a count such as 3 or a percentage such as 75%"),
    ),
]
NodeCount = Annotated[
    str,
    _FROM_NUMBER,
    Field(
        pattern=_NODE_COUNT,
        max_length=4,
        json_schema_extra=int_or_string(_NODE_COUNT, "must be a count from 1 to 9999 or All"),
    ),
]


class InstallMethod(StrEnum):
    """How a machine gets its operating system."""

    DISK_IMAGE = "DiskImage"
    STATELESS = "Stateless"


class OnDelete(StrEnum):
    """What becomes of the machines when the ClusterBuild is deleted."""

    KEEP = "Keep"
    POWER_OFF = "PowerOff"


class SharedHome(StrEnum):
    """How compute nodes see the users' homes of the management node."""

    NONE = "None"
    NFS = "NFS"
    SSHFS = "SSHFS"


class SecretKeyReference(ApiModel):
    """One key of a Secret in the namespace of the ClusterBuild."""

    name: str = Field(min_length=1, max_length=253)
    """Name of the Secret."""
    key: str = Field(default="ssh-privatekey", min_length=1, max_length=253)
    """Key in the Secret; the default is that of the type kubernetes.io/ssh-auth."""


class SshEndpoint(ApiModel):
    """Where the phases reach a machine by SSH."""

    address: HostOrAddress
    """Host name or address, as seen from the cluster's pods."""
    port: Port = 22
    """TCP port of sshd."""
    user: str = Field(default="root", pattern=r"^[a-z_][a-z0-9_-]*$", max_length=32)
    """User to log in as; it must be root or be able to write where the boot server needs it."""
    host_key: HostKey | None = None
    """The public host key in the form of known_hosts (type and base64). Required where Bessemer did not plant the key
    itself: there is no trust on first use."""


class Install(ApiModel):
    """What is installed on a machine, and how."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "self.method == 'Stateless' || self.image.matches('.*\\\\.(tar|tar\\\\.gz|tgz)$')",
                "method DiskImage takes an image that ends in .tar, .tar.gz or .tgz",
            ),
            (
                "self.method == 'DiskImage' || self.image.endsWith('.squashfs')",
                "method Stateless takes an image that ends in .squashfs",
            ),
        )
    )

    method: InstallMethod = InstallMethod.DISK_IMAGE
    """DiskImage unpacks a root archive to the disk; Stateless runs from a root image in memory."""
    image: HttpUrl
    """URL of the root file system, fetched on the boot network: .tar, .tar.gz or .tgz for DiskImage, .squashfs for
    Stateless."""
    kernel: HttpUrl
    """URL of the Linux kernel that runs the installer (and a stateless node)."""
    initrds: list[HttpUrl] = Field(default_factory=list, max_length=4, json_schema_extra=ATOMIC_LIST)
    """URLs of further initial RAM disks loaded before Bessemer's own, such as one with the site's kernel modules."""
    kernel_arguments: list[Annotated[str, Field(pattern=r"^[^\s]+$", max_length=256)]] = Field(
        default_factory=list, max_length=32, json_schema_extra=ATOMIC_LIST
    )
    """Further arguments of the kernel command line, such as console=ttyS0."""
    disk: str = Field(default="/dev/sda", pattern=r"^/dev/[A-Za-z0-9/_.-]+$", max_length=128)
    """Block device that method DiskImage overwrites."""


class BootHost(ApiModel):
    """The site's provisioning server, which network-boots the management node.

    Its DHCP server points iPXE at a script named after the MAC address with hyphens, such as 52-54-00-77-00-01.ipxe.
    """

    ssh: SshEndpoint
    """How the phases log in to it; hostKey is required."""
    address: Address
    """Its address on the network that the management node boots from; used in URLs."""
    boot_directory: str = Field(pattern=r"^/[^\s]*$", max_length=256)
    """Directory of its HTTP server in which the node's iPXE script is looked for."""
    callback_port: Port = 8099
    """TCP port on which Bessemer's boot daemon gives out installer configurations and takes call-backs."""


class ClusterInterface(ApiModel):
    """The management node's foot in the network of the compute nodes."""

    name: str = Field(default="eth1", pattern=r"^[a-zA-Z0-9_.-]{1,15}$", max_length=15)
    """Name of the network interface."""
    address: str = Field(pattern=r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$", max_length=18)
    """Its address with the prefix length, such as 10.141.0.1/16."""


class Management(ApiModel):
    """The node that boots, configures and schedules the others."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "!self.provision || (has(self.mac) && has(self.install))",
                "mac and install are required where provision is true",
            ),
            (
                "self.provision || (has(self.ssh) && has(self.ssh.hostKey))",
                "ssh.hostKey is required where provision is false",
            ),
        )
    )

    host: DnsLabel
    """Its host name."""
    address: Address
    """Its address on the boot host's network."""
    provision: bool = True
    """False where the node is installed already: BootManagement is skipped."""
    mac: MacAddress | None = None
    """MAC address of the interface that it network-boots from."""
    install: Install | None = None
    """What is installed on it."""
    ssh: SshEndpoint | None = None
    """How the phases reach it; default: port 22 of its address, as root."""
    cluster_interface: ClusterInterface
    """Its interface in the network of the compute nodes."""


class Compute(ApiModel):
    """The compute nodes; all of one kind."""

    hosts: str = Field(min_length=1, max_length=4096, pattern=r"^[a-z0-9][-a-z0-9,\[\]]*$")
    """Their names as a hostlist, such as oxygen[2-65]."""
    addresses: str = Field(min_length=1, max_length=4096, pattern=r"^[0-9][-0-9.,\[\]]*$")
    """Their addresses as a list of the same length, such as 10.141.0.[2-65]."""
    macs: list[MacAddress] = Field(min_length=1, max_length=MAX_NODES, json_schema_extra=ATOMIC_LIST)
    """Their MAC addresses, in the order of hosts."""
    install: Install
    """What is installed on them; URLs are fetched once by the management node, which serves them on."""
    min_ready: Count = "100%"
    """How many nodes must be ready for the build to go on, as a count or a percentage; the rest are named in the
    status."""
    max_concurrent: int = Field(default=32, ge=1, le=MAX_NODES)
    """How many nodes are booted at once, so that a boot storm stays bounded."""


class Powerman(ApiModel):
    """A powermand that switches the machines; it must know them by their host names."""

    address: HostOrAddress
    """Host name or address, as seen from the cluster's pods."""
    port: Port = 10101
    """TCP port."""
    management_address: HostOrAddress | None = None
    """Its host name or address as the management node sees it; where absent, no powerman command is set up there."""


class Power(ApiModel):
    """How machines are switched on and off."""

    powerman: Powerman
    """Control by powerman."""


class Ssh(ApiModel):
    """The key with which Bessemer logs in to boot host and nodes."""

    private_key_secret: SecretKeyReference | None = None
    """An ed25519 private key in OpenSSH format; its public half must be authorized on the boot host. Where absent, one
    is made for the build, whose public half stands in status.sshPublicKey."""


class PlaybookRepository(ApiModel):
    """A Git repository with playbooks of the site's own, cloned at one commit."""

    repository: str = Field(pattern=r"^(https?|ssh|git|file)://[^\s]+$", max_length=2048)
    """URL of the repository."""
    commit: str = Field(pattern=r"^[0-9a-f]{40}$", max_length=40)
    """Full SHA-1 of the commit."""
    management: str | None = Field(default=None, pattern=r"^[^/][^\s]*\.ya?ml$", max_length=256)
    """Playbook run after ours in ConfigureManagement."""
    services: str | None = Field(default=None, pattern=r"^[^/][^\s]*\.ya?ml$", max_length=256)
    """Playbook run after ours in ConfigureServices."""


class Configuration(ApiModel):
    """What Ansible is told beyond our defaults."""

    variables: dict[str, Any] = Field(default_factory=dict, json_schema_extra=FREE_FORM)
    """Ansible variables for all hosts, such as those of our roles. No secrets: whoever may read this object may read
    them."""
    shared_home: SharedHome = SharedHome.NONE
    """How compute nodes see the homes of the management node."""
    playbooks: PlaybookRepository | None = None
    """Playbooks of the site's own."""


class Expectation(ApiModel):
    """What must hold of a finished Slurm job."""

    exit_code: int = Field(default=0, ge=0, le=255)
    """The job's exit code."""
    output: str | None = Field(default=None, min_length=1, max_length=1024)
    """A regular expression (RE2-like, Python's re) that must be found in the output."""
    every_node: bool = False
    """Whether the host name of each of the job's nodes must stand in the output."""


class SlurmJob(ApiModel):
    """One Slurm job that verifies the cluster."""

    name: DnsLabel
    """Its name, unique in the list."""
    script: str = Field(min_length=1, max_length=65536)
    """The batch script, with its first line (#!/bin/sh)."""
    nodes: NodeCount = "All"
    """How many nodes it runs on, or All for every ready compute node."""
    time_limit_seconds: int = Field(default=300, ge=1, le=86400)
    """After that many seconds of run time Slurm ends it; as long again is allowed for waiting in the queue."""
    expect: Expectation = Expectation()
    """What must hold of it."""


class Verify(ApiModel):
    """How the finished cluster is proven to work."""

    jobs: list[SlurmJob] = Field(
        default_factory=lambda: [
            SlurmJob(name="hostname", script="#!/bin/sh\nsrun hostname\n", expect=Expectation(every_node=True))
        ],
        min_length=1,
        max_length=16,
        json_schema_extra=list_map("name"),
    )
    """Slurm jobs, run one after the other; all must pass."""


class Deadlines(ApiModel):
    """How long each step of a machine's install may take, in seconds, before the machine is cycled and tried again."""

    power_on_seconds: int = Field(default=60, ge=1, le=3600)
    """From the power command until power control reads back what was wanted; else NeverPoweredOn."""
    netboot_seconds: int = Field(default=300, ge=1, le=7200)
    """From power on until the kernel was fetched or the installer called back; else NeverNetbooted."""
    install_seconds: int = Field(default=1800, ge=1, le=14400)
    """From the start of the install until its final call-back; else InstallStalled."""
    reachable_seconds: int = Field(default=300, ge=1, le=7200)
    """From the final call-back until SSH answers with the planted host key; else NeverReachable."""
    phase_seconds: int = Field(default=7200, ge=10, le=86400)
    """For one attempt of any phase, as the last resort: the pod's activeDeadlineSeconds."""


class Retries(ApiModel):
    """How often what fails is tried again."""

    node_attempts: int = Field(default=2, ge=1, le=10)
    """Attempts of one machine's install within one phase attempt."""
    phase_attempts: int = Field(default=3, ge=1, le=10)
    """Attempts of one phase; the budget is new after a change of the spec or the annotation bessemer.dev/retry."""
    back_off_seconds: int = Field(default=5, ge=0, le=600)
    """Wait before the second attempt of a phase; doubled for each further one, up to maxBackOffSeconds."""
    max_back_off_seconds: int = Field(default=60, ge=0, le=3600)
    """Longest wait between two attempts of a phase."""


class ClusterBuildSpec(ApiModel):
    """What cluster is wanted, from which machines."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "!self.management.provision || has(self.bootHost)",
                "bootHost is required where management.provision is true",
            ),
            (
                "!has(self.bootHost) || has(self.bootHost.ssh.hostKey)",
                "bootHost.ssh.hostKey is required: there is no trust on first use",
            ),
            (
                "self.retries.backOffSeconds <= self.retries.maxBackOffSeconds",
                "retries.backOffSeconds must not exceed retries.maxBackOffSeconds",
            ),
        )
    )

    boot_host: BootHost | None = None
    """The server that network-boots the management node."""
    management: Management
    """The management node."""
    compute: Compute
    """The compute nodes."""
    power: Power
    """Power control of all machines."""
    ssh: Ssh = Ssh()
    """Keys of Bessemer's own logins."""
    configuration: Configuration = Configuration()
    """What Ansible is told."""
    services: list[DnsLabel] = Field(
        default_factory=list, max_length=16, json_schema_extra={"x-kubernetes-list-type": "set"}
    )
    """Ansible roles run on all ready nodes in ConfigureServices, after Slurm, in this order."""
    verify: Verify = Verify()
    """The proof that it works."""
    deadlines: Deadlines = Deadlines()
    """How long things may take."""
    retries: Retries = Retries()
    """How often things are tried."""
    on_delete: OnDelete = OnDelete.KEEP
    """What becomes of the machines when this object is deleted."""
    priority_class_name: str | None = Field(default=None, max_length=253)
    """PriorityClass of the phase pods."""
