"""Where the API serves ClusterBuilds."""

from __future__ import annotations

from bessemer.api.clusterbuild.names import PLURAL
from bessemer.api.group import GROUP, VERSION
from bessemer.kube.protocol import Kind

CLUSTER_BUILDS = Kind(GROUP, VERSION, PLURAL)
