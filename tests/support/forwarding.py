"""``kubectl port-forward``: how programs of a user reach a Service of the cluster."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from local_kubernetes.kubectl import Kubectl

END_SECONDS = 10
_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ")


@contextmanager
def forward(kubectl: Kubectl, target: str, port: int) -> Iterator[str]:
    """Yield the host and port on which a Service or pod is reached until the block ends.

    Raises:
        ConnectionError: kubectl ended before it listened; its messages are in the error.
    """
    where = ["--kubeconfig", str(kubectl.kubeconfig), "--namespace", kubectl.namespace]
    command = [str(kubectl.program), *where, "port-forward", "--address=127.0.0.1", target, f":{port}"]
    # Its lines about connections are few; they stay in the pipe.
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            found = _FORWARDING.match(line)
            if found is None:
                raise ConnectionError(f"kubectl port-forward {target}: {line.strip()}")
            yield f"127.0.0.1:{found[1]}"
        finally:
            process.terminate()
            process.wait(END_SECONDS)
