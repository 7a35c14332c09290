"""The kinds: the only list of them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bessemer.kinds.buildtrigger.description import DESCRIPTION as BUILD_TRIGGER
from bessemer.kinds.clusterbuild.description import DESCRIPTION as CLUSTER_BUILD
from bessemer.kinds.runnerpool.description import describe as describe_runner_pool

if TYPE_CHECKING:
    from bessemer.kinds.runnerpool.deps import FindManagementNode
    from bessemer.kube.protocol import Kubernetes


def build_node_finder(kubernetes: Kubernetes) -> FindManagementNode:
    """Return what finds the management node of a ClusterBuild: the only tie between two kinds."""
    from bessemer.kinds.clusterbuild.management_node import find_management_node

    return partial(find_management_node, kubernetes)


KINDS = (
    CLUSTER_BUILD,
    describe_runner_pool(build_node_finder),
    BUILD_TRIGGER,
)
"""In the order in which the command lists them; a name without a kind is of the first."""
