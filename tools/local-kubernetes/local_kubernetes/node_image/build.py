"""Builds the root file system of kind's nodes as a tar archive, which container engines import.

Follows images/base/Dockerfile and pkg/build/nodeimage of kind 0.33 without a container engine, and differs in four
things: Debian 12, the pod network (default-cni.yaml), no crictl (only `kind load docker-image` wants it), and what a
machine with cgroup version 1 or without CAP_SYS_RESOURCE needs.
"""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from local_kubernetes.binaries.build import BUILD_ENVIRONMENT, compute_cache_key, get_binaries
from local_kubernetes.binaries.components import (
    CONTAINERD,
    COREDNS,
    DEFAULT_KUBERNETES,
    ETCD,
    KIND,
    KUBEADM,
    KUBERNETES_RELEASES,
    build_kubernetes,
)
from local_kubernetes.binaries.packages import NODE_IMAGE_NEEDED, install_packages
from local_kubernetes.binaries.toolchain import get_go
from local_kubernetes.commands import run
from local_kubernetes.errors import ClusterError, announce
from local_kubernetes.node_image.debian import create_node_root
from local_kubernetes.node_image.images import create_images, list_image_names
from local_kubernetes.node_image.store import import_images
from local_kubernetes.storage import get_cache_directory, locked

HERE = Path(__file__).parent
VERSION = f"v{KUBERNETES_RELEASES[DEFAULT_KUBERNETES]}"
UNITS = ("kubelet", "containerd", "undo-mount-hacks")
CNI_PLUGINS = ("host-local", "loopback", "ptp", "portmap", "bridge")
WANTS = "usr/lib/systemd/system"
REMOVED = (
    f"{WANTS}/sysinit.target.wants/systemd-tmpfiles-setup.service",
    f"{WANTS}/multi-user.target.wants/*",
    "etc/systemd/system/*.wants/*",
    f"{WANTS}/local-fs.target.wants/*",
    f"{WANTS}/sockets.target.wants/*udev*",
    f"{WANTS}/sockets.target.wants/*initctl*",
    f"{WANTS}/basic.target.wants/*",
    "usr/local/bin/clean-install",
    # Debian's settings are the whole machine's; those of kind are a network namespace's.
    "usr/lib/sysctl.d/*.conf",
    "etc/sysctl.d/99-sysctl.conf",
    "var/cache/apt/*",
    "var/lib/apt/lists/*",
    "var/log/*",
    "etc/machine-id",
)
KUBELET_DEFAULTS = "KUBELET_EXTRA_ARGS=--runtime-cgroups=/system.slice/containerd.service --fail-cgroupv1=false\n"
"""kind's own, and that the kubelet runs on a machine with cgroup version 1."""
KEPT = 2
TAR_SECONDS = 600


def build_node_archive(kube_minor: str) -> Path:
    """Return the archive of a node's root, built when it is not cached (2 minutes, and 15 more when Kubernetes is not).

    Raises ClusterError for a release other than the default one: kubeadm's module folder is of that one only.
    """
    if kube_minor != DEFAULT_KUBERNETES:
        raise ClusterError(f"KUBE={kube_minor}: our own image of kind's nodes has Kubernetes {DEFAULT_KUBERNETES} only")
    install_packages(NODE_IMAGE_NEEDED)
    components = (build_kubernetes(kube_minor), ETCD, CONTAINERD, COREDNS, KUBEADM)
    programs = {component.name: get_binaries(component) for component in components}
    keys = [compute_cache_key(component, get_go().version) for component in (*components, KIND)]
    folder = get_cache_directory() / "node"
    with locked(folder / "lock"):
        archive = folder / f"node-{VERSION}-{compute_digest(keys)}.tar"
        if not archive.exists():
            build_archive(archive, programs)
            for old in sorted(folder.glob("node-*.tar"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
                old.unlink()
    return archive


def compute_digest(keys: list[str]) -> str:
    """Digest what decides an archive's content: the programs' keys and this folder's files."""
    digest = hashlib.sha256(repr(keys).encode())
    for file in sorted((*HERE.glob("*.py"), *HERE.glob("*.yaml"))):
        digest.update(f"{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def build_archive(archive: Path, programs: Mapping[str, Path]) -> None:
    """Build the root in a folder beside the archive, pack it, and remove the folder."""
    announce(f"building the image of kind's nodes for Kubernetes {VERSION}, once: about 2 min; kept in {archive}")
    started = time.monotonic()
    work = archive.with_suffix(".work")
    for left in archive.parent.glob("*.work"):  # by a build that was killed
        shutil.rmtree(left)
    root, images = work / "root", work / "images"
    images.mkdir(parents=True)
    create_node_root(root)
    names = list_image_names(programs["kubeadm"] / "kubeadm", VERSION)
    apply_kind_files(root)
    apply_programs(root, programs)
    apply_settings(root, programs, names["pause"])
    import_images(root, work / "containerd", programs["containerd"], create_images(images, names, programs))
    partial = archive.with_suffix(".partial")
    run(["tar", "--create", "--file", partial, "--numeric-owner", "--directory", root, "."], timeout=TAR_SECONDS)
    partial.rename(archive)
    shutil.rmtree(work)
    announce(f"built the image of kind's nodes in {time.monotonic() - started:.0f} s")


def get_kind_files() -> Path:
    """Return kind's own files for nodes, which are in its Go module."""
    listing = run(
        [get_go().command, "mod", "download", "-json", f"sigs.k8s.io/kind@v{KIND.version}"],
        cwd=KIND.directory,
        environment=BUILD_ENVIRONMENT,
        timeout=120,
    )
    return Path(json.loads(listing)["Dir"]) / "images/base/files"


def apply_kind_files(root: Path) -> None:
    """Lay kind's files over the root, with the modes that its Dockerfile gives, and remove what it removes."""
    source = get_kind_files()
    for file in source.rglob("*"):
        if file.is_file():
            target = root / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            target.chmod(0o755 if target.parent.name == "bin" else 0o644)
    for pattern in REMOVED:
        for path in root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    (root / "etc/machine-id").touch()
    enabled = root / "etc/systemd/system/multi-user.target.wants"
    enabled.mkdir(parents=True, exist_ok=True)
    for unit in UNITS:
        (enabled / f"{unit}.service").symlink_to(f"/etc/systemd/system/{unit}.service")
    (root / "etc/systemd/system/systemd-binfmt.service").symlink_to("/dev/null")  # it is the whole machine's
    with (root / "etc/systemd/journald.conf").open("a") as journald:
        journald.write("ReadKMsg=no\n")
    (root / "sbin/init").unlink(missing_ok=True)
    (root / "sbin/init").symlink_to("/usr/lib/systemd/systemd")


def apply_programs(root: Path, programs: Mapping[str, Path]) -> None:
    """Put the programs where kind's units look for them."""
    for name in ("containerd", "containerd-shim-runc-v2", "ctr"):
        shutil.copy(programs["containerd"] / name, root / "usr/local/bin" / name)
    shutil.copy(programs["kubeadm"] / "kubeadm", root / "usr/bin/kubeadm")
    shutil.copy(programs["kubernetes"] / "kube", root / "usr/bin/kube")
    for name in ("kubelet", "kubectl"):
        (root / "usr/bin" / name).symlink_to("kube")
    plugins = root / "opt/cni/bin"
    plugins.mkdir(parents=True)
    for name in CNI_PLUGINS:
        os.link(root / "usr/lib/cni" / name, plugins / name)


def apply_settings(root: Path, programs: Mapping[str, Path], pause: str) -> None:
    """Write the configuration of containerd and kubelet, and what kind reads from a node."""
    for folder in ("etc/kubernetes/manifests", "etc/cni/net.d", "kind/manifests"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    spec = json.loads(run([programs["containerd"] / "ctr", "oci", "spec"]))
    spec.setdefault("hooks", {})["createContainer"] = [{"path": "/kind/bin/mount-product-files.sh"}]
    spec["process"].pop("rlimits", None)
    (root / "etc/containerd/cri-base.json").write_text(json.dumps(spec))
    configuration = root / "etc/containerd/config.toml"
    text = configuration.read_text()
    # Lowering an OOM score, which static pods ask for, needs CAP_SYS_RESOURCE, which a machine in a sandbox may lack.
    text = text.replace("restrict_oom_score_adj = false", "restrict_oom_score_adj = true")
    configuration.write_text(re.sub(r'sandbox_image = ".*"', f'sandbox_image = "{pause}"', text))
    (root / "etc/default/kubelet").write_text(KUBELET_DEFAULTS)
    (root / "kind/version").write_text(VERSION)
    shutil.copyfile(HERE / "default-cni.yaml", root / "kind/manifests/default-cni.yaml")
