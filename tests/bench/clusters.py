"""The cluster on which a benchmark runs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from local_kubernetes.choice import get_cluster, open_cluster
from local_kubernetes.errors import ClusterError
from local_kubernetes.kubectl import KubectlError
from local_kubernetes.marker import require_marker
from local_kubernetes.protocol import Cluster
from tests.bench.builds import BenchError


@contextmanager
def open_bench_cluster(name: str, given: str | None, console: Console) -> Iterator[Cluster]:
    """Yield a test cluster: the given one, which is left up, or a new one of this name, which goes at the end.

    What stops a benchmark is printed, and ends the process.
    """
    try:
        made = get_cluster(given) if given else open_cluster(name, kept=False)
        try:
            require_marker(made.kubectl, made.kubeconfig)
            yield made
        finally:
            if not given:
                made.down()
    except (BenchError, ClusterError, KubectlError, TimeoutError, subprocess.SubprocessError) as error:
        console.print(f"[red]error:[/] {error}", soft_wrap=True)
        raise SystemExit(1) from None
