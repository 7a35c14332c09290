"""The two boot servers of a build: the given boot host, and the management node's own."""

from __future__ import annotations

from bessemer.api.clusterbuild.spec import ClusterBuildSpec
from bessemer.api.reasons import INVALID_SPEC
from bessemer.errors import Invalid
from bessemer.machines.machine import SshTarget, build_boot_host_target
from bessemer.machines.netboot.entries import MANAGEMENT_BOOT_PORT
from bessemer.machines.netboot.ssh_server import SERVICE_DAEMON, BootEndpoint


def build_boot_host_endpoint(spec: ClusterBuildSpec) -> BootEndpoint:
    """Return the boot server that boots the management node.

    Raises:
        Invalid: the spec has no boot host.
    """
    if spec.boot_host is None:
        raise Invalid(INVALID_SPEC, "spec.bootHost is required where management.provision is true")
    return BootEndpoint(
        target=build_boot_host_target(spec), address=spec.boot_host.address, port=spec.boot_host.callback_port
    )


def build_management_endpoint(spec: ClusterBuildSpec, management: SshTarget) -> BootEndpoint:
    """Return the boot server that boots the compute nodes: a service of the management node."""
    return BootEndpoint(
        target=management,
        address=spec.management.cluster_interface.address.partition("/")[0],
        port=MANAGEMENT_BOOT_PORT,
        service_daemon=SERVICE_DAEMON,
    )
