"""The API group of all kinds. Imports nothing, so that the command starts fast."""

from __future__ import annotations

GROUP = "bessemer.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
