"""How users name the kind BuildTrigger. Imports no models, so that the command starts fast."""

from __future__ import annotations

KIND = "BuildTrigger"
PLURAL = "buildtriggers"
SHORT_NAME = "bt"
