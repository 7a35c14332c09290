"""The scene of the benchmark: a cluster with Bessemer, a GitLab simulator and a watch of all pods."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kubernetes.client import ApiClient
from kubernetes.config import new_client_from_config

from gitlab_simulator.control import Simulator
from local_kubernetes.kubectl import Kubectl
from local_kubernetes.protocol import Cluster
from tests.bench.requests import Requests, count_requests, send_over_api
from tests.bench.runners.watching import PodWatch, watch_pods
from tests.support.runners import Runners, open_runners
from tests.support.site import install_bessemer


@dataclass(frozen=True)
class Scene:
    """Where it is measured."""

    cluster: Cluster
    runners: Runners
    client: ApiClient
    watch: PodWatch

    @property
    def gitlab(self) -> Simulator:
        """The simulator."""
        return self.runners.gitlab

    @property
    def system(self) -> Kubectl:
        """kubectl in the operator's namespace."""
        return self.runners.system

    def count_requests(self) -> Requests:
        """Ask the operator and the simulator for their counts."""
        return count_requests(self.system, self.gitlab)


@contextmanager
def open_scene(cluster: Cluster) -> Iterator[Scene]:
    """Install Bessemer and a simulator, and watch; the namespace goes at the end."""
    install_bessemer(cluster)
    client = new_client_from_config(str(cluster.kubeconfig))  # type: ignore[no-untyped-call]  # the library has no types
    with open_runners(cluster) as runners:
        # A process of kubectl for each request would take the time that is measured.
        runners.gitlab = Simulator(send_over_api(client, runners.kubectl.namespace))
        with watch_pods(client, runners.kubectl.namespace) as watch:
            yield Scene(cluster, runners, client, watch)
