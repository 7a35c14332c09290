"""The spec of a ClusterBuild, as users write it.

The docstring of a field is its description in the CRD, and so its text in ``kubectl explain``. Bounds are part of the
API: ``kubectl apply`` rejects what the schema or CEL rules can reject, and names the field.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

from bessemer.api.base import ATOMIC_LIST, ApiModel, SpecModel, cel
from bessemer.api.clusterbuild.limits import Deadlines, Retries
from bessemer.api.clusterbuild.verification import Verify
from bessemer.api.fields import (
    Address,
    Count,
    Directory,
    DnsLabel,
    FreeForm,
    HostKey,
    HostOrAddress,
    HttpUrl,
    InterfaceAddress,
    MacAddress,
    ObjectName,
    PlaybookPath,
    Port,
    RemoteHost,
    SecretKeyReference,
    SecretName,
    UserName,
)

_OWN_ARGUMENTS = ("bessemer.", "initrd=", "BOOTIF=")


def _check_kernel_argument(text: str) -> str:
    """Refuse what iPXE would not pass on: its scripts know no quoting. Source: https://ipxe.org/scripting and
    core/exec.c of iPXE (an operator is a separate word, and # begins a comment at the beginning of a word).
    """
    if text == ";" or text.startswith("#") or any(mark in text for mark in ("||", "&&", "${")):
        raise ValueError("must not be an operator (||, &&, ;), a comment (#) or a variable (${) of iPXE")
    if text.startswith(_OWN_ARGUMENTS):
        raise ValueError("must not begin with bessemer., initrd= or BOOTIF=, which Bessemer sets itself")
    return text


KernelArgument = Annotated[
    str,
    AfterValidator(_check_kernel_argument),
    Field(
        pattern=r"^[!-~]+$",
        max_length=256,
        json_schema_extra=cel(
            (
                "self != ';' && !self.startsWith('#') && !self.matches('[|][|]|&&|[$][{]')",
                "must not be an operator (||, &&, ;), a comment (#) or a variable (${) of iPXE",
            ),
            (
                "!self.startsWith('bessemer.') && !self.startsWith('initrd=') && !self.startsWith('BOOTIF=')",
                "must not begin with bessemer., initrd= or BOOTIF=, which Bessemer sets itself",
            ),
        ),
    ),
]
"""One word of the kernel command line."""
MAX_NODES = 1024
"""The secrets and the status of more nodes would not safely fit into one object; nothing else depends on this limit."""


class InstallMethod(StrEnum):
    """How the operating system of a machine is installed."""

    DISK_IMAGE = "DiskImage"
    STATELESS = "Stateless"


class OnDelete(StrEnum):
    """What happens to the machines when the ClusterBuild is deleted."""

    KEEP = "Keep"
    POWER_OFF = "PowerOff"


class SharedHome(StrEnum):
    """How compute nodes mount the home directories of the management node."""

    NONE = "None"
    NFS = "NFS"
    SSHFS = "SSHFS"


class SshEndpoint(ApiModel):
    """How the phase pods reach a machine by SSH."""

    address: RemoteHost
    """Host name or IPv4 address as seen from pods. localhost is rejected, because it is the pod itself."""
    port: Port = 22
    """TCP port of sshd."""
    user: UserName = "root"
    """User to log in as. Must be root on the management node; on the boot host it can be any user with write access to
    bootDirectory and /var/lib/bessemer."""
    host_key: HostKey | None = None
    """Public host key in the format of known_hosts (type and base64). Required where Bessemer did not generate the host
    key itself: no key is trusted on first use."""


class Install(ApiModel):
    """The operating system of a machine and how it is installed."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "self.method == 'Stateless' || self.image.matches('.*\\\\.(tar|tar\\\\.gz|tgz)$')",
                "method DiskImage needs an image that ends in .tar, .tar.gz or .tgz",
            ),
            (
                "self.method == 'DiskImage' || self.image.endsWith('.squashfs')",
                "method Stateless needs an image that ends in .squashfs",
            ),
        )
    )

    method: InstallMethod = InstallMethod.DISK_IMAGE
    """DiskImage unpacks an archive of the root file system to the disk; Stateless runs from a root image in memory."""
    image: HttpUrl
    """URL of the root file system, as seen from the boot network: .tar, .tar.gz or .tgz for DiskImage, .squashfs for
    Stateless."""
    kernel: HttpUrl
    """URL of the Linux kernel for the installer and for stateless nodes."""
    initrds: list[HttpUrl] = Field(default_factory=list, max_length=4, json_schema_extra=ATOMIC_LIST)
    """URLs of additional initial RAM disks, loaded before Bessemer's own."""
    kernel_arguments: list[KernelArgument] = Field(default_factory=list, max_length=32, json_schema_extra=ATOMIC_LIST)
    """Additional arguments on the kernel command line, such as console=ttyS0. Those that iPXE would read as commands,
    comments or variables, and those that Bessemer sets itself, are refused."""
    disk: str = Field(default="/dev/sda", pattern=r"^/dev(/[A-Za-z0-9_][A-Za-z0-9_.:+-]*)+$", max_length=128)
    """Block device that method DiskImage overwrites, such as /dev/nvme0n1 or a link in /dev/disk/by-path."""


class BootHost(ApiModel):
    """The site's provisioning server, which network-boots the management node.

    Its DHCP server must point iPXE to a script named after the node's MAC address with hyphens, such as
    52-54-00-77-00-01.ipxe.
    """

    ssh: SshEndpoint
    """How phase pods log in to the boot host; hostKey is required."""
    address: Address
    """IPv4 address of the boot host on the network that the management node boots from; used in URLs. IPv6 is not
    supported."""
    boot_directory: Directory
    """Directory from which its HTTP server serves iPXE scripts."""
    callback_port: Port = 8099
    """TCP port on which Bessemer's boot daemon serves installer configurations and receives call-backs."""


class ClusterInterface(ApiModel):
    """The management node's interface on the network of the compute nodes."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("!(self.name in ['lo', 'all', 'default'])", "name must be a network interface: not lo, all or default")
        )
    )

    name: str = Field(default="eth1", pattern=r"^[a-zA-Z0-9_-][a-zA-Z0-9_.-]{0,14}$", max_length=15)
    """Name of the network interface; lo is rejected."""
    address: InterfaceAddress
    """IPv4 address with prefix length (8 to 30), such as 10.141.0.1/16. Must not be on the network that the management
    node boots from."""


class Management(ApiModel):
    """The node that boots and configures the compute nodes and runs the Slurm controller."""

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
            (
                "!has(self.ssh) || self.ssh.user == 'root'",
                "ssh.user must be root: the management node is configured as root, and sudo is not used",
            ),
            (
                "!self.clusterInterface.address.startsWith(self.address + '/')",
                "clusterInterface.address must differ from address: they belong to two interfaces on two networks",
            ),
            (
                "!(self.host in ['localhost', 'default', 'all', 'management', 'compute', 'cluster'])",
                "host must be a name without a special meaning in /etc/hosts, Slurm or Ansible",
            ),
        )
    )

    host: DnsLabel
    """Host name: one DNS label. Must differ from the names of the compute nodes, and from names with a special meaning
    such as localhost."""
    address: Address
    """IPv4 address on the boot host's network. Must not be on the network of clusterInterface."""
    provision: bool = True
    """Whether Bessemer installs the node. If false, the node is already installed and BootManagement is skipped."""
    mac: MacAddress | None = None
    """MAC address of the interface that the node network-boots from."""
    install: Install | None = None
    """The operating system of the node."""
    ssh: SshEndpoint | None = None
    """How phase pods reach the node. Defaults to root on port 22 of its address."""
    cluster_interface: ClusterInterface
    """The node's interface on the network of the compute nodes."""


class Compute(ApiModel):
    """The compute nodes; all have the same configuration."""

    hosts: str = Field(min_length=1, max_length=4096, pattern=r"^[a-z0-9][-a-z0-9,\[\]]*$")
    """Names of the nodes as a hostlist, such as oxygen[2-65] or r[1-2]n[1-16]; each name has at most 63 characters."""
    addresses: str = Field(min_length=1, max_length=4096, pattern=r"^[0-9][-0-9.,\[\]]*$")
    """IPv4 addresses of the nodes on the network of clusterInterface, as a list of the same length, such as
    10.141.0.[2-65]."""
    macs: list[MacAddress] = Field(min_length=1, max_length=MAX_NODES, json_schema_extra=ATOMIC_LIST)
    """MAC addresses of the nodes, in the order of hosts."""
    install: Install
    """The operating system of the nodes. The management node downloads each URL once and serves it to them."""
    min_ready: Count = "100%"
    """Minimum number of ready nodes for the build to continue, as a count or a percentage; at least one. The other
    nodes are listed in the status."""
    max_concurrent: int = Field(default=32, ge=1, le=MAX_NODES)
    """Maximum number of nodes that boot at the same time (the size of a wave), to limit the load on the management
    node."""


class Powerman(ApiModel):
    """A powermand that controls the power of the machines; it must know them by their host names."""

    address: RemoteHost
    """Host name or IPv4 address as seen from pods. localhost is rejected, because it is the pod itself."""
    port: Port = 10101
    """TCP port of powermand."""
    timeout_seconds: int = Field(default=120, ge=1, le=600)
    """Maximum number of seconds for an answer. Must be longer than the timeouts of powermand's devices (60 for IPMI and
    Redfish, 100 for another powermand), so that powermand can report which node's controller does not answer; then only
    that node fails."""
    management_address: HostOrAddress | None = None
    """Host name or address of powermand as seen from the management node. If given, the powerman command of root on the
    management node connects to it. powermand has no passwords: a firewall must keep other users of the node from it."""


class Power(ApiModel):
    """How machines are powered on and off."""

    powerman: Powerman
    """Power control with powerman."""


class Ssh(ApiModel):
    """The key with which Bessemer logs in to the boot host and the nodes."""

    private_key_secret: SecretKeyReference | None = None
    """An ed25519 private key in OpenSSH format, whose public key must be authorized on the boot host. If absent,
    Bessemer generates a key for the build; its public key is in status.sshPublicKey."""


class PlaybookRepository(ApiModel):
    """A Git repository with the site's playbooks, cloned at one commit."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "!self.repository.startsWith('ssh://') || (has(self.loginSecretName) && has(self.knownHosts))",
                "loginSecretName and knownHosts are required for ssh://: no key is trusted on first use",
            ),
            (
                "!has(self.loginSecretName) || self.repository.matches('^(https|ssh)://')",
                "loginSecretName needs a repository with https:// or ssh://, so that credentials are sent encrypted",
            ),
            (
                "!self.repository.matches('^[a-z]+://[^/]*:[^/]*@')",
                "repository must not contain a password: use a Secret and name it in loginSecretName",
            ),
        )
    )

    repository: str = Field(pattern=r"^(https?|ssh|git)://[^\s]+$", max_length=2048)
    """URL of the repository as seen from pods: https://, http://, git:// or ssh://."""
    login_secret_name: SecretName | None = None
    """Name of a Secret with credentials for the repository, in the namespace of the ClusterBuild: of type
    kubernetes.io/basic-auth for https:// (username, and password or access token), of type kubernetes.io/ssh-auth for
    ssh:// (ssh-privatekey)."""
    known_hosts: str | None = Field(default=None, min_length=1, max_length=8192)
    """Host keys of the server, as lines of known_hosts, for ssh://."""
    commit: str = Field(pattern=r"^[0-9a-f]{40}$", max_length=40)
    """Full SHA-1 of the commit."""
    management: PlaybookPath | None = None
    """Path of a playbook that runs at the end of ConfigureManagement."""
    services: PlaybookPath | None = None
    """Path of a playbook that runs at the end of ConfigureServices."""


class Configuration(ApiModel):
    """Settings for Ansible beyond the defaults."""

    variables: FreeForm = Field(default_factory=dict)
    """Ansible variables for all hosts. Preflight checks the type and format of variables of Bessemer's roles. Templates
    in values are not rendered. Don't put secrets here: anyone who may read this object can read them."""
    shared_home: SharedHome = SharedHome.NONE
    """How compute nodes mount the home directories of the management node. NFS mounts all of them; SSHFS mounts each
    home over SSH as its owner, and needs only sshd and FUSE; None: each machine has its own homes."""
    playbooks: PlaybookRepository | None = None
    """The site's own playbooks."""


class ClusterBuildSpec(SpecModel):
    """The desired cluster and its machines."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "!self.management.provision || has(self.bootHost)",
                "bootHost is required where management.provision is true",
            ),
            (
                "!has(self.bootHost) || has(self.bootHost.ssh.hostKey)",
                "bootHost.ssh.hostKey is required: no key is trusted on first use",
            ),
            (
                "!has(self.bootHost) || self.bootHost.address != self.management.address",
                "management.address must differ from bootHost.address: they are two machines",
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
    """The key with which Bessemer logs in to machines."""
    configuration: Configuration = Configuration()
    """Settings for Ansible."""
    services: list[DnsLabel] = Field(
        default_factory=list, max_length=16, json_schema_extra={"x-kubernetes-list-type": "set"}
    )
    """Ansible roles that run in ConfigureServices after Slurm, in this order, on the management node and all ready
    nodes."""
    verify: Verify = Verify()
    """Slurm jobs that verify the cluster."""
    deadlines: Deadlines = Deadlines()
    """Maximum durations."""
    retries: Retries = Retries()
    """How often failed steps are retried."""
    on_delete: OnDelete = OnDelete.KEEP
    """What happens to the machines when this object is deleted: Keep leaves them running, PowerOff powers them off."""
    priority_class_name: ObjectName | None = None
    """PriorityClass of the phase pods."""
