"""Where the API serves BuildTriggers and what they make."""

from __future__ import annotations

from bessemer.api.buildtrigger.names import PLURAL
from bessemer.api.clusterbuild.names import PLURAL as BUILDS
from bessemer.api.group import GROUP, VERSION
from bessemer.kube.protocol import Kind

BUILD_TRIGGERS = Kind(GROUP, VERSION, PLURAL)
CLUSTER_BUILDS = Kind(GROUP, VERSION, BUILDS)
