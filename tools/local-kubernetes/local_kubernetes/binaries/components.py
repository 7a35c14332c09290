"""What is built from source, from which module folder, with which flags.

Kubernetes publishes no image or archive that every machine can reach, but the Go module proxy has all of it. Each
component has a folder under `go/` with a committed `go.mod` and `go.sum`, so a build has one possible outcome.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

GO_MODULES = Path(__file__).resolve().parent.parent / "go"

KUBERNETES_RELEASES: Mapping[str, str] = {"1.37": "1.37.2", "1.34": "1.34.4"}
"""Minor release (what `KUBE=` names) to the patch release that its module file pins."""
DEFAULT_KUBERNETES = next(iter(KUBERNETES_RELEASES))

KUBERNETES_DAEMONS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")


@dataclass(frozen=True)
class Component:
    """One module folder and the programs that are built from it."""

    name: str
    version: str
    folder: str
    packages: Mapping[str, str]
    """Name of the program to its Go package."""
    build_minutes: float
    """Approximate duration of a build on two cores without a cache; shown to the user."""
    linker_variables: Mapping[str, str] = field(default_factory=dict)
    """Go string variables set at link time, which is how these programs learn their version."""
    modfile: str = "go.mod"
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Further names (symbolic links) to the program they point at."""

    @property
    def directory(self) -> Path:
        """The folder with go.mod, go.sum and, where we wrote one, main.go."""
        return GO_MODULES / self.folder

    @property
    def sources(self) -> tuple[Path, ...]:
        """Every file that decides what the build gives."""
        modfile = self.directory / self.modfile
        stand_ins = self.directory.glob("stubs/*/go.mod")
        return (modfile, modfile.with_suffix(".sum"), *sorted([*self.directory.rglob("*.go"), *stand_ins]))

    @property
    def linker_flags(self) -> str:
        """The value of `-ldflags`: no symbol table, no DWARF, and the variables."""
        return " ".join(["-s -w", *(f"-X {name}={value}" for name, value in self.linker_variables.items())])


def build_version_variables(minor: str) -> dict[str, str]:
    """Build the link-time variables from which Kubernetes' programs learn their version."""
    stamp = "k8s.io/component-base/version."
    major_number, minor_number = minor.split(".")
    return {
        f"{stamp}gitVersion": f"v{KUBERNETES_RELEASES[minor]}",
        f"{stamp}gitMajor": major_number,
        f"{stamp}gitMinor": minor_number,
        f"{stamp}gitTreeState": "clean",
        f"{stamp}gitCommit": "0" * 40,
        f"{stamp}buildDate": "2026-01-01T00:00:00Z",
        "k8s.io/client-go/pkg/version.gitVersion": f"v{KUBERNETES_RELEASES[minor]}",
    }


def build_kubernetes(minor: str) -> Component:
    """Describe the combined binary of one Kubernetes minor release."""
    return Component(
        name="kubernetes",
        version=KUBERNETES_RELEASES[minor],
        folder="kube",
        packages={"kube": "."},
        build_minutes=8,
        modfile="go.mod" if minor == DEFAULT_KUBERNETES else f"kube-{minor}.mod",
        aliases=dict.fromkeys((*KUBERNETES_DAEMONS, "kubectl"), "kube"),
        linker_variables=build_version_variables(minor),
    )


KUBEADM = Component(
    name="kubeadm",
    version=KUBERNETES_RELEASES[DEFAULT_KUBERNETES],
    folder="kubeadm",
    packages={"kubeadm": "k8s.io/kubernetes/cmd/kubeadm"},
    build_minutes=4,
    linker_variables=build_version_variables(DEFAULT_KUBERNETES),
)
"""The programs with which kind creates a node. In a separate folder, so that the rest is not rebuilt."""
ETCD = Component("etcd", "3.6.8", "etcd", {"etcd": "go.etcd.io/etcd/server/v3"}, 0.5)
CONTAINERD = Component(
    name="containerd",
    version="2.4.2",
    folder="containerd",
    packages={
        name: f"github.com/containerd/containerd/v2/cmd/{name}"
        for name in ("containerd", "containerd-shim-runc-v2", "ctr")
    },
    build_minutes=1,
    linker_variables={"github.com/containerd/containerd/v2/version.Version": "2.4.2"},
)
COREDNS = Component("coredns", "1.15.0", "coredns", {"coredns": "github.com/coredns/coredns"}, 2)
HELM = Component(
    name="helm",
    version="4.3.1",
    folder="helm",
    packages={"helm": "helm.sh/helm/v4/cmd/helm"},
    build_minutes=3,
    linker_variables={"helm.sh/helm/v4/internal/version.version": "v4.3.1"},
)
HELM_UNITTEST = Component(
    "helm-unittest",
    "1.1.2",
    "helm-unittest",
    {"helm-unittest": "github.com/helm-unittest/helm-unittest/cmd/helm-unittest"},
    1,
)
HELM_DOCS = Component(
    "helm-docs", "1.14.2", "helm-docs", {"helm-docs": "github.com/norwoodj/helm-docs/cmd/helm-docs"}, 0.5
)
KUBECONFORM = Component(
    "kubeconform", "0.8.0", "kubeconform", {"kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform"}, 0.2
)
KIND = Component("kind", "0.33.0", "kind", {"kind": "sigs.k8s.io/kind"}, 0.5)
KWOK = Component("kwok", "0.8.0", "kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}, 2.5)
VERSITYGW = Component(
    "versitygw", "1.8.0", "versitygw", {"versitygw": "github.com/versity/versitygw/cmd/versitygw"}, 1.5
)
"""An object store with the S3 protocol, for the caches of runners' jobs."""
_RUNNER = "gitlab.com/gitlab-org/gitlab-runner"
GITLAB_RUNNER = Component(
    name="gitlab-runner",
    version="19.4.0",
    folder="gitlab-runner",
    packages={"gitlab-runner": ".", "gitlab-runner-helper": f"{_RUNNER}/apps/gitlab-runner-helper"},
    build_minutes=5,
    linker_variables={f"{_RUNNER}/common.NAME": "gitlab-runner", f"{_RUNNER}/common.VERSION": "19.4.0"},
)
"""GitLab's runner, for the tests of RunnerPool; go/gitlab-runner/README.md says what this build lacks."""
