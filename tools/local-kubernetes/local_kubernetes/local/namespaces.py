"""Start process 1 of new network, mount and process namespaces, which ends with whatever it holds."""

import os
from collections.abc import Mapping
from pathlib import Path

from local_kubernetes.local.processes import reap
from local_kubernetes.local.registry import MachineUse
from local_kubernetes.waiting import wait_until

NAMESPACE_SECONDS = 10
# The process records itself before it creates anything, so that it can always be found.
LAUNCH = """
set -eu
read -r stat <"/proc/$$/stat"
directory=$1 init=$2
set -- $stat
echo "$$ ${22}" >"$directory/process.unfinished"
mv "$directory/process.unfinished" "$directory/process"
exec unshare --net --mount --pid --fork --kill-child --mount-proc --propagation private "$init"
"""


def create_namespaces(use: MachineUse, init: Path, environment: Mapping[str, str]) -> None:
    """Start a program as process 1 of new namespaces, which a Ctrl-C here does not reach.

    Its directory exists and has a folder `log`.
    """
    log = use.directory / "log" / "init.log"
    pid = spawn_daemon(["/bin/sh", "-c", LAUNCH, "launch", str(use.directory), str(init)], environment, log)

    def explain() -> str:
        reap(pid)
        return log.read_text()

    wait_until(
        f"the namespaces of {use.name} are made",
        lambda: use.get_inner_process() is not None,
        NAMESPACE_SECONDS,
        explain,
    )


def spawn_daemon(argv: list[str], environment: Mapping[str, str], log: Path) -> int:
    """Start a program in a new session, with its output in a file; return its pid.

    It inherits no other open file: one with a lock would stay locked for as long as the program runs.
    """
    ours = (int(name) for name in os.listdir("/proc/self/fd"))
    return os.posix_spawn(
        argv[0],
        argv,
        environment,
        setsid=True,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            *((os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in ours if descriptor > 2),
        ],
    )
