"""How users name the kind RunnerPool. Imports no models, so that the command starts fast."""

from __future__ import annotations

KIND = "RunnerPool"
PLURAL = "runnerpools"
SHORT_NAME = "rp"
