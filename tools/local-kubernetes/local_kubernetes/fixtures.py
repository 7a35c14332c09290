"""pytest fixtures: a cluster for the session, and a namespace for each test.

Tests get a separate cluster, which is removed when the session ends. With `BESSEMER_TEST_CLUSTER=dev` they use the one
made by `make cluster-up`, and leave it running: faster while writing a test.
"""

import os
import uuid
from collections.abc import Iterator

import pytest

from local_kubernetes.choice import get_cluster, open_cluster
from local_kubernetes.kubectl import Kubectl
from local_kubernetes.marker import require_marker
from local_kubernetes.protocol import Cluster

BORROWED = "BESSEMER_TEST_CLUSTER"
ACCOUNT_SECONDS = 30
"""Pods made before their service account are refused."""


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A running cluster that was made for tests; any other is refused."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    borrowed = os.environ.get(BORROWED)
    with capture.global_and_fixture_disabled():  # a first build takes minutes, and says so
        made = get_cluster(borrowed) if borrowed else open_cluster(f"test-{os.getpid()}", kept=False)
    try:
        require_marker(made.kubectl, made.kubeconfig)
        yield made
    finally:
        if not borrowed:
            made.down()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[Kubectl]:
    """kubectl for a new namespace with its service account; the namespace's removal starts after the test."""
    kubectl = Kubectl(cluster.kubectl, cluster.kubeconfig, f"test-{uuid.uuid4().hex[:8]}")
    kubectl.run("create", "namespace", kubectl.namespace)
    kubectl.run("wait", "serviceaccount/default", "--for=create", f"--timeout={ACCOUNT_SECONDS}s")
    yield kubectl
    kubectl.run("delete", "namespace", kubectl.namespace, "--wait=false")
