"""Command-line tools that tests use beside the cluster: from the PATH when good enough, else built."""

import re
import shutil
from pathlib import Path

from local_kubernetes.binaries.build import get_binaries
from local_kubernetes.binaries.components import DEFAULT_KUBERNETES, HELM, KIND, KWOK, build_kubernetes
from local_kubernetes.commands import run
from local_kubernetes.errors import ClusterError

VERSION_ARGUMENTS = {
    "helm": ("version", "--template", "{{.Version}}"),
    "kind": ("version",),
    "kwok": ("--version",),
    "kubectl": ("version", "--client"),
}


def parse_tool_version(output: str) -> tuple[int, int] | None:
    """Return major and minor of the first `v1.2.3` in what a tool prints about itself, None if there is none."""
    found = re.search(r"v(\d+)\.(\d+)\.\d+", output)
    return (int(found.group(1)), int(found.group(2))) if found else None


def decide_tool_is_good_enough(name: str, version: tuple[int, int], kube_minor: str) -> bool:
    """Return whether a tool found on the PATH may be used in place of the one that we would build.

    kubectl is supported within one minor release of the API server (Kubernetes version skew policy). Our charts are
    tested with Helm 4; kind 0.30 is the first with our oldest Kubernetes; kwok's stages changed before 0.7.
    """
    if name == "kubectl":
        major, minor = (int(number) for number in kube_minor.split("."))
        return version[0] == major and abs(version[1] - minor) <= 1
    return version >= {"helm": (4, 0), "kind": (0, 30), "kwok": (0, 7)}[name]


def find_tool(name: str, kube_minor: str) -> Path | None:
    """Return the path of a tool that the PATH has and that is good enough, else None."""
    on_path = shutil.which(name)
    if on_path is None:
        return None
    version = parse_tool_version(run([on_path, *VERSION_ARGUMENTS[name]]))
    return Path(on_path) if version is not None and decide_tool_is_good_enough(name, version, kube_minor) else None


def tool(name: str, kube_minor: str = DEFAULT_KUBERNETES) -> Path:
    """Return the path of `helm`, `kind`, `kwok` or `kubectl`, built when the PATH has no good one (minutes, once)."""
    if name not in VERSION_ARGUMENTS:
        raise ClusterError(f"{name}: not a tool we know; one of {', '.join(VERSION_ARGUMENTS)}")
    component = {"helm": HELM, "kind": KIND, "kwok": KWOK, "kubectl": build_kubernetes(kube_minor)}[name]
    return find_tool(name, kube_minor) or get_binaries(component) / name
