"""Run builds on a rack and measure them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from local_kubernetes.kubectl import Kubectl, Resource
from local_kubernetes.protocol import Cluster
from rack.lab import Lab
from tests.bench.observation import Observation, observe
from tests.bench.timeline import BuildSplit, Handoff, compute_handoffs, compute_split
from tests.support.site import Site, condition

BUILD = "oxygen"
BUILD_SECONDS = 1800
"""For a whole build: several times what sixteen nodes take."""
VERIFY_SECONDS = 180
"""For Verify and Cleanup alone."""
NAMESPACE_SECONDS = 180
"""For a namespace to go, with a rack that powers off in it."""


class BenchError(Exception):
    """A build that was to be measured failed."""


@dataclass(frozen=True)
class BuildFigures:
    """One build, from the button to a verified job, and what was run again on it."""

    nodes: int
    """Compute nodes."""
    load_before: float
    """The machine's load average over the last minute when the button was pressed."""
    split: BuildSplit
    handoffs: list[Handoff]
    """Of the build itself."""
    repeated: list[Handoff]
    """Of the runs of Verify and Cleanup after it."""


def measure_build(cluster: Cluster, nodes: int, repeats: int) -> BuildFigures:
    """Build a cluster of so many compute nodes; then change ``spec.verify`` so many times, each of them a handoff.

    Raises:
        BenchError: the build, or what was run again, did not become Ready.

    """
    with put_up_site(cluster, f"bench-{nodes}", nodes) as site, observe(cluster.kubeconfig, site.namespace) as seen:
        load = os.getloadavg()[0]
        pressed = time.monotonic()
        ready = apply_until_ready(site, seen, site.build_manifest(BUILD), BUILD_SECONDS)
        first = list(seen.pods.values())
        split = compute_split(first, pressed, seen.get_accepted(BUILD, generation=1), ready)
        for number in range(repeats):
            job = {"name": f"again-{number}", "nodes": "1", "script": "#!/bin/sh\nhostname\n"}
            manifest = site.build_manifest(BUILD, verify={"jobs": [job]})
            apply_until_ready(site, seen, manifest, VERIFY_SECONDS)
        known = {pod.name for pod in first}
        again = [pod for name, pod in seen.pods.items() if name not in known]
        return BuildFigures(nodes, load, split, compute_handoffs(first), compute_handoffs(again))


def apply_until_ready(site: Site, seen: Observation, manifest: Resource, seconds: float) -> float:
    """Apply a build and give when it was seen to be Ready for this spec."""
    site.kubectl.apply(manifest)
    generation = site.get_build(BUILD)["metadata"]["generation"]
    try:
        when, build = seen.wait_until_settled(BUILD, generation, seconds)
    except (TimeoutError, RuntimeError) as error:
        raise BenchError(f"{error}\n{site.explain(BUILD)}") from error
    if condition(build, "Ready")["status"] != "True":
        raise BenchError(f"{BUILD} is not Ready\n{site.explain(BUILD)}")
    return when


@contextmanager
def put_up_site(cluster: Cluster, namespace: str, nodes: int) -> Iterator[Site]:
    """Install a rack in its own namespace, which is deleted with it."""
    kubectl = Kubectl(cluster.kubectl, cluster.kubeconfig, namespace)
    try:
        site = Site(cluster, namespace, Lab.install(cluster, namespace, compute_nodes=nodes))
        site.apply_login()
        yield site
    finally:
        kubectl.run("delete", "clusterbuild", "--all", timeout=NAMESPACE_SECONDS)
        kubectl.run("delete", "namespace", namespace, "--ignore-not-found", timeout=NAMESPACE_SECONDS)
