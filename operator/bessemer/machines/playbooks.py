"""Where our own playbooks and roles lie."""

from __future__ import annotations

import os
from pathlib import Path

_IMAGE = Path("/usr/share/bessemer/playbooks")
_CHECKOUT = Path(__file__).parents[3] / "playbooks"


def playbook_directory() -> Path:
    """Return the folder with our own playbooks: that of the variable BESSEMER_PLAYBOOKS, which the image sets.

    Without it, where the image has them, or those of the checkout that this runs from.
    """
    told = os.environ.get("BESSEMER_PLAYBOOKS")
    if told:
        return Path(told)
    return _CHECKOUT if _CHECKOUT.is_dir() and not _IMAGE.is_dir() else _IMAGE
