"""pytest fixtures: racks that are removed when the tests that requested them end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Protocol

import pytest

from local_kubernetes.kubectl import Kubectl
from local_kubernetes.protocol import Cluster
from rack.lab import Lab

NAMESPACE_SECONDS = 120
"""Timeout for the removal of a namespace with a running rack."""


class MakeRack(Protocol):
    """Creates a rack in a new namespace."""

    def __call__(self, namespace: str, *, compute_nodes: int = 4, **options: object) -> Lab:
        """Put it up; options as `Lab.install` takes them."""


@pytest.fixture(scope="module")
def make_rack(cluster: Cluster) -> Iterator[MakeRack]:
    """Yield a maker of racks; what it made goes when the module ends."""
    with ExitStack() as stack:

        def make(namespace: str, *, compute_nodes: int = 4, **options: object) -> Lab:
            kubectl = Kubectl(cluster.kubectl, cluster.kubeconfig, namespace)
            stack.callback(
                kubectl.run, "delete", "namespace", namespace, "--ignore-not-found", timeout=NAMESPACE_SECONDS
            )
            return Lab.install(cluster, namespace, compute_nodes, **options)

        yield make
