"""How users name the kind ClusterBuild. Imports no models, so that the command starts fast."""

from __future__ import annotations

KIND = "ClusterBuild"
PLURAL = "clusterbuilds"
SHORT_NAME = "cb"
