"""Output of the firmware: text for users on the console, stages for the rack daemon on a pipe."""

from __future__ import annotations

import json
import os


class Console:
    """The machine's console, and the pipe to the daemon for stages."""

    def __init__(self, stage_fd: int) -> None:
        self._stage_fd = stage_fd
        os.set_inheritable(stage_fd, False)

    def say(self, text: str) -> None:
        """Print a line on the console."""
        print(text, flush=True)

    def tell(self, stage: str, **facts: str) -> None:
        """Report the next stage to the daemon, with facts about it."""
        os.write(self._stage_fd, (json.dumps({"stage": stage, **facts}) + "\n").encode())
