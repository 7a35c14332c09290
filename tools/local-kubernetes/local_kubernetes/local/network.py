"""Addresses and names of one local cluster, all derived from its index."""

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from local_kubernetes.errors import ClusterError

INDEXES = range(1, 10)
"""How many clusters may stand side by side on one machine: the index is one digit of their networks."""


@dataclass(frozen=True)
class ClusterNetwork:
    """One cluster's place on the machine.

    The machine and the cluster's node are the two ends of a veth pair; pods and services have separate networks,
    which the machine reaches through the node.
    """

    index: int

    @property
    def host_address(self) -> IPv4Address:
        """The machine's end of the veth pair."""
        return IPv4Address(f"10.200.{self.index}.1")

    @property
    def node_address(self) -> IPv4Address:
        """The node's end: API server, kubelet and DNS listen there."""
        return IPv4Address(f"10.200.{self.index}.2")

    @property
    def link_network(self) -> IPv4Network:
        """The network of the veth pair."""
        return IPv4Network(f"10.200.{self.index}.0/30")

    @property
    def services(self) -> IPv4Network:
        """Addresses of services."""
        return IPv4Network(f"10.{90 + self.index}.0.0/16")

    @property
    def pods(self) -> IPv4Network:
        """Addresses of pods on all nodes."""
        return IPv4Network(f"10.{120 + self.index}.0.0/16")

    @property
    def node_pods(self) -> IPv4Network:
        """Addresses of pods on the one node: what the controller manager gives to the first."""
        return next(self.pods.subnets(new_prefix=24))

    @property
    def host_link(self) -> str:
        """Name of the machine's end of the veth pair."""
        return f"kch{self.index}"

    @property
    def cgroup(self) -> str:
        """Name of the cluster's cgroup, under the root of each hierarchy."""
        return f"kc{self.index}"


def decide_index(taken: Collection[int], routes: Collection[IPv4Network], links: Collection[str]) -> int:
    """Return the lowest free index whose networks and link name are unused on this machine.

    Raises ClusterError when there is none.
    """
    for index in INDEXES:
        network = ClusterNetwork(index)
        wanted = (network.link_network, network.services, network.pods)
        overlaps = any(route.overlaps(net) for route in routes for net in wanted)
        if index not in taken and not overlaps and network.host_link not in links:
            return index
    raise ClusterError(
        f"no index from {INDEXES[0]} to {INDEXES[-1]} is free for a local cluster: each is used by another cluster, "
        "or this machine has routes into 10.91-99.0.0/16, 10.121-129.0.0/16 or 10.200.1-9.0/30"
    )
