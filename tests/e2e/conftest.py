"""e2e tests run on a real cluster with Bessemer installed by its charts, each with a separate rack. Nothing is faked.

A cluster is made for the run and removed after it; tests refuse any other (see tools/local-kubernetes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

import pytest

from local_kubernetes.kubectl import Kubectl
from local_kubernetes.protocol import Cluster
from rack.lab import Lab
from tests.support.runners import Runners, open_runners
from tests.support.site import Site, install_bessemer

NAMESPACE_SECONDS = 180
"""For a namespace to go, with a rack that powers off in it."""


LONG = ("build", "trigger_rack", "faults", "interruptions", "runner_executors", "runner_slurm", "sizes", "admission")
"""Modules that take minutes, mostly with the installation of machines, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest modules, so that at the end no worker has a long one while the others have nothing.

    By itself xdist begins with those of the most tests, which are short (``--no-loadscope-reorder`` turns that off).
    """
    names = [f"test_{name}" for name in LONG]
    items.sort(key=lambda item: names.index(item.path.stem) if item.path.stem in names else len(names))


class MakeSite(Protocol):
    """Installs a rack in its own namespace, which is deleted when the test ends."""

    def __call__(self, namespace: str, *, compute_nodes: int = 4, **options: object) -> Site:
        """Put it up."""


@pytest.fixture(scope="session")
def bessemer(cluster: Cluster) -> Cluster:
    """Return the cluster with the operator installed."""
    install_bessemer(cluster)
    return cluster


@pytest.fixture
def make_site(bessemer: Cluster) -> Iterator[MakeSite]:
    """Yield a maker of sites; what it made goes when the test ends."""
    with site_maker(bessemer) as make:
        yield make


@pytest.fixture(scope="module")
def make_shared_site(bessemer: Cluster) -> Iterator[MakeSite]:
    """Yield a maker of sites for all tests of a module; what it made goes when the module ends."""
    with site_maker(bessemer) as make:
        yield make


@contextmanager
def site_maker(cluster: Cluster) -> Iterator[MakeSite]:
    """Yield a maker of sites; what it made goes at the end, as all racks have the same machines by their MACs."""
    with ExitStack() as stack:

        def make(namespace: str, *, compute_nodes: int = 4, **options: object) -> Site:
            kubectl = Kubectl(cluster.kubectl, cluster.kubeconfig, namespace)
            kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
            stack.callback(delete_namespace, kubectl)
            site = Site(cluster, namespace, Lab.install(cluster, namespace, compute_nodes=compute_nodes, **options))
            site.apply_login()
            return site

        yield make


def delete_namespace(kubectl: Kubectl) -> None:
    """Delete the builds first, as their finalizers need the rack, then all else."""
    kubectl.run("delete", "clusterbuild", "--all", timeout=NAMESPACE_SECONDS)
    kubectl.run("delete", "namespace", kubectl.namespace, timeout=NAMESPACE_SECONDS)


@pytest.fixture(scope="module")
def runners(bessemer: Cluster) -> Iterator[Runners]:
    """Return a namespace with a GitLab in it; it goes when the module ends."""
    with open_runners(bessemer) as made:
        yield made


@pytest.fixture
def apply_pool(runners: Runners) -> Iterator[Callable[..., None]]:
    """Return what applies pools; they go with the test, and leave nothing in GitLab."""
    runners.made.clear()
    yield runners.apply_pool
    for name in runners.made:
        runners.kubectl.run("delete", "runnerpool", name, "--ignore-not-found", timeout=120)
    assert [runner["tags"] for runner in runners.gitlab.runners()] == [["nothing"]]
    assert runners.pods() == []
