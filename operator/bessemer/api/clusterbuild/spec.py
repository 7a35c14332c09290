"""The spec of a ClusterBuild: what the user asks for.

The sentence under a field is its comment here, its description in the CRD and its text in ``kubectl explain``.
Bounds are part of the contract: what a schema or CEL can refuse is refused by ``kubectl apply``, naming the field.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

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
)

MAX_NODES = 1024
"""More would not fit into one Secret and one status object comfortably; nothing else depends on it."""


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


class SshEndpoint(ApiModel):
    """Where the phases reach a machine by SSH."""

    address: RemoteHost
    """Host name or IPv4 address, as seen from the cluster's pods; not localhost, which is the pod itself."""
    port: Port = 22
    """TCP port of sshd."""
    user: str = Field(default="root", pattern=r"^[a-z_][a-z0-9_-]*$", max_length=32)
    """User to log in as: root on the management node; on the boot host also one that may write to bootDirectory and to
    /var/lib/bessemer."""
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
    kernel_arguments: list[Annotated[str, Field(pattern=r"^[!-~]+$", max_length=256)]] = Field(
        default_factory=list, max_length=32, json_schema_extra=ATOMIC_LIST
    )
    """Further arguments of the kernel command line, such as console=ttyS0."""
    disk: str = Field(default="/dev/sda", pattern=r"^/dev(/[A-Za-z0-9_][A-Za-z0-9_.:+-]*)+$", max_length=128)
    """Block device that method DiskImage overwrites, such as /dev/nvme0n1 or one below /dev/disk/by-path."""


class BootHost(ApiModel):
    """The site's provisioning server, which network-boots the management node.

    Its DHCP server points iPXE at a script named after the MAC address with hyphens, such as 52-54-00-77-00-01.ipxe.
    """

    ssh: SshEndpoint
    """How the phases log in to it; hostKey is required."""
    address: Address
    """Its IPv4 address on the network that the management node boots from; used in URLs. IPv6 is not supported."""
    boot_directory: Directory
    """Directory of its HTTP server in which the node's iPXE script is looked for."""
    callback_port: Port = 8099
    """TCP port on which Bessemer's boot daemon gives out installer configurations and takes call-backs."""


class ClusterInterface(ApiModel):
    """The management node's foot in the network of the compute nodes."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("!(self.name in ['lo', 'all', 'default'])", "name must be that of an interface: not lo, all or default")
        )
    )

    name: str = Field(default="eth1", pattern=r"^[a-zA-Z0-9_-][a-zA-Z0-9_.-]{0,14}$", max_length=15)
    """Name of the network interface; not lo."""
    address: InterfaceAddress
    """Its IPv4 address with the prefix length (8 to 30), such as 10.141.0.1/16; in another network than the management
    node boots from."""


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
            (
                "!has(self.ssh) || self.ssh.user == 'root'",
                "ssh.user must be root: what is done on the management node needs it, and sudo is not used",
            ),
            (
                "!self.clusterInterface.address.startsWith(self.address + '/')",
                "clusterInterface.address must differ from address: they are of two interfaces in two networks",
            ),
            (
                "!(self.host in ['localhost', 'default', 'all', 'management', 'compute', 'cluster'])",
                "host must be a name without another meaning for the hosts file, Slurm or Ansible",
            ),
        )
    )

    host: DnsLabel
    """Its host name: one label, which is no compute node's and has no other meaning, as localhost has."""
    address: Address
    """Its IPv4 address on the boot host's network; in another network than clusterInterface."""
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
    """Their names as a hostlist, such as oxygen[2-65] or r[1-2]n[1-16]; each of at most 63 characters."""
    addresses: str = Field(min_length=1, max_length=4096, pattern=r"^[0-9][-0-9.,\[\]]*$")
    """Their IPv4 addresses in the network of clusterInterface, as a list of the same length, such as
    10.141.0.[2-65]."""
    macs: list[MacAddress] = Field(min_length=1, max_length=MAX_NODES, json_schema_extra=ATOMIC_LIST)
    """Their MAC addresses, in the order of hosts."""
    install: Install
    """What is installed on them; URLs are fetched once by the management node, which serves them on."""
    min_ready: Count = "100%"
    """How many nodes must be ready for the build to go on, as a count or a percentage, at least one; the rest are named
    in the status."""
    max_concurrent: int = Field(default=32, ge=1, le=MAX_NODES)
    """How many nodes are booted at once, so that a boot storm stays bounded."""


class Powerman(ApiModel):
    """A powermand that switches the machines; it must know them by their host names."""

    address: RemoteHost
    """Host name or IPv4 address, as seen from the cluster's pods; not localhost, which is the pod itself."""
    port: Port = 10101
    """TCP port."""
    timeout_seconds: int = Field(default=120, ge=1, le=600)
    """How long an answer may take, in seconds. Longer than the timeouts of its devices (60 for IPMI and Redfish, 100
    for another powermand), so that powermand itself says which node's controller is silent; that node alone fails."""
    management_address: HostOrAddress | None = None
    """Its host name or address as the management node sees it, for a powerman command that root has there; where
    absent, there is none. powermand has no passwords: other users of the node must be kept from it by a firewall."""


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

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "!self.repository.startsWith('ssh://') || (has(self.loginSecretName) && has(self.knownHosts))",
                "loginSecretName and knownHosts are required for ssh://: there is no trust on first use",
            ),
            (
                "!has(self.loginSecretName) || self.repository.matches('^(https|ssh)://')",
                "loginSecretName needs a repository by https:// or ssh://, so that nobody can read along",
            ),
            (
                "!self.repository.matches('^[a-z]+://[^/]*:[^/]*@')",
                "repository must not hold a password: name a Secret in loginSecretName",
            ),
        )
    )

    repository: str = Field(pattern=r"^(https?|ssh|git)://[^\s]+$", max_length=2048)
    """URL of the repository, as seen from the cluster's pods: https://, http://, git:// or ssh://."""
    login_secret_name: SecretName | None = None
    """Secret to log in with, in the namespace of the ClusterBuild: of type kubernetes.io/basic-auth for https://
    (username, and password or access token), kubernetes.io/ssh-auth for ssh:// (ssh-privatekey)."""
    known_hosts: str | None = Field(default=None, min_length=1, max_length=8192)
    """Lines of known_hosts that hold the host keys of the server, for ssh://."""
    commit: str = Field(pattern=r"^[0-9a-f]{40}$", max_length=40)
    """Full SHA-1 of the commit."""
    management: PlaybookPath | None = None
    """Playbook run after ours in ConfigureManagement."""
    services: PlaybookPath | None = None
    """Playbook run after ours in ConfigureServices."""


class Configuration(ApiModel):
    """What Ansible is told beyond our defaults."""

    variables: FreeForm = Field(default_factory=dict)
    """Ansible variables for all hosts, such as those of our roles, which Preflight checks by type and form. Values are
    data: templates in them are not rendered. No secrets: whoever may read this object may read them."""
    shared_home: SharedHome = SharedHome.NONE
    """How compute nodes see the homes of the management node: NFS mounts all of them; SSHFS mounts each by SSH, as the
    account that it belongs to, and needs no more than sshd and FUSE; None leaves each machine its own."""
    playbooks: PlaybookRepository | None = None
    """Playbooks of the site's own."""


class ClusterBuildSpec(SpecModel):
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
    """Keys of Bessemer's own logins."""
    configuration: Configuration = Configuration()
    """What Ansible is told."""
    services: list[DnsLabel] = Field(
        default_factory=list, max_length=16, json_schema_extra={"x-kubernetes-list-type": "set"}
    )
    """Ansible roles run on the management node and all ready nodes in ConfigureServices, after Slurm, in this order."""
    verify: Verify = Verify()
    """The proof that it works."""
    deadlines: Deadlines = Deadlines()
    """How long things may take."""
    retries: Retries = Retries()
    """How often things are tried."""
    on_delete: OnDelete = OnDelete.KEEP
    """What becomes of the machines when this object is deleted."""
    priority_class_name: ObjectName | None = None
    """PriorityClass of the phase pods."""
