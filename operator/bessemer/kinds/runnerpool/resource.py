"""Where the API serves RunnerPools."""

from __future__ import annotations

from bessemer.api.group import GROUP, VERSION
from bessemer.api.runnerpool.names import PLURAL
from bessemer.kube.protocol import Kind

RUNNER_POOLS = Kind(GROUP, VERSION, PLURAL)
