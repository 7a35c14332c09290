"""What the manifests of a repository may ask for, as users write it. What is not listed is not allowed."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bessemer.api.base import ATOMIC_LIST, ApiModel
from bessemer.api.fields import Directory, DnsLabel, ObjectName, SecretName, UserName

MOST_SECRETS = 8
"""Maximum number of Secrets in the list: each needs an authorizer check of the API server."""
_MOST = 64
_Hostlist = Annotated[str, Field(pattern=r"^[a-z0-9][-a-z0-9,\[\]]*$", min_length=1, max_length=4096)]
_Mac = Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){0,5}$", max_length=17)]
_Network = Annotated[
    str, Field(pattern=r"^[0-9]{1,3}(\.[0-9]{1,3}){3}(/([0-9]|[12][0-9]|3[0-2]))?$", min_length=1, max_length=18)
]
_Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$", min_length=1, max_length=253)]
_Url = Annotated[str, Field(pattern=r"^(https?|ssh|git)://[^\s/]+(/[!-~]*)?$", max_length=2048)]


class Allow(ApiModel):
    """What manifests may name. A manifest that names anything else is refused, with the name of the field."""

    machines: list[_Hostlist] = Field(default_factory=list, max_length=_MOST, json_schema_extra=ATOMIC_LIST)
    """Host names of management and compute nodes, as hostlists such as oxygen[1-65]; at most 65536 names in all."""
    macs: list[_Mac] = Field(default_factory=list, max_length=1024, json_schema_extra=ATOMIC_LIST)
    """MAC addresses of machines, or their first octets such as 52:54:00."""
    networks: list[_Network] = Field(default_factory=list, max_length=_MOST, json_schema_extra=ATOMIC_LIST)
    """IPv4 networks such as 10.141.0.0/16, or addresses, that contain the addresses of all machines."""
    ssh_hosts: list[_Host] = Field(default_factory=list, max_length=_MOST, json_schema_extra=ATOMIC_LIST)
    """Host names that management.ssh.address may have; an address in networks is allowed as well."""
    boot_hosts: list[_Host] = Field(default_factory=list, max_length=_MOST, json_schema_extra=ATOMIC_LIST)
    """Host names and addresses of boot hosts, as in bootHost.address and bootHost.ssh.address."""
    boot_users: list[UserName] = Field(default_factory=list, max_length=_MOST, json_schema_extra=ATOMIC_LIST)
    """Users that Bessemer may log in to boot hosts as, as in bootHost.ssh.user, whose default is root."""
    boot_directories: list[Directory] = Field(default_factory=list, max_length=_MOST, json_schema_extra=ATOMIC_LIST)
    """Directories of boot hosts that bootHost.bootDirectory may be, or be below."""
    power: list[_Host] = Field(default_factory=list, max_length=_MOST, json_schema_extra=ATOMIC_LIST)
    """Host names and addresses of power control, as in power.powerman.address and managementAddress."""
    repositories: list[_Url] = Field(default_factory=list, max_length=_MOST, json_schema_extra=ATOMIC_LIST)
    """URLs of Git repositories with playbooks, or the beginnings of such URLs up to a slash, such as
    https://gitlab.example.org/hpc/. Playbooks run as root on the machines."""
    images: list[_Url] = Field(default_factory=list, max_length=_MOST, json_schema_extra=ATOMIC_LIST)
    """URLs of images, kernels and initial RAM disks, or the beginnings of such URLs up to a slash."""
    secrets: list[SecretName] = Field(default_factory=list, max_length=MOST_SECRETS, json_schema_extra=ATOMIC_LIST)
    """Names of Secrets in this namespace. The author of the trigger must be allowed to get them."""
    services: list[DnsLabel] = Field(default_factory=list, max_length=_MOST, json_schema_extra=ATOMIC_LIST)
    """Roles that services may name."""
    priority_classes: list[ObjectName] = Field(default_factory=list, max_length=_MOST, json_schema_extra=ATOMIC_LIST)
    """PriorityClasses that priorityClassName may name."""
