"""Processes told apart by pid and start time: a pid alone may have passed to another program since."""

import contextlib
import os
import signal
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict


class ProcessIdentity(BaseModel):
    """One process of this machine, since boot."""

    model_config = ConfigDict(frozen=True)

    pid: int
    start_ticks: int
    """Clock ticks from boot to its start: field 22 of /proc/PID/stat (proc_pid_stat(5))."""

    @classmethod
    def get(cls, pid: int) -> Self | None:
        """Identify a process now; None when it does not run (a zombie does not)."""
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        state, start_ticks = fields[0], int(fields[19])
        return None if state in "ZX" else cls(pid=pid, start_ticks=start_ticks)

    def is_running(self) -> bool:
        """Return whether this very process still runs."""
        return type(self).get(self.pid) == self

    def kill(self) -> None:
        """Send SIGKILL if it still runs."""
        if self.is_running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def get_first_child(self) -> Self | None:
        """Identify its first child; None while there is none."""
        try:
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return type(self).get(int(children[0])) if children else None


def reap(pid: int) -> None:
    """Collect the exit status of a process if it was our own child and has ended; else do nothing."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
