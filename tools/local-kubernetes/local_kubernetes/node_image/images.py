"""The images of the control plane and of the pod network, each in an archive, for a node that can pull none."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from local_kubernetes.commands import run
from local_kubernetes.local.sandbox_image import BUSYBOX, PAUSE, create_root
from local_kubernetes.node_image.debian import create_packages
from local_kubernetes.oci import ImageConfiguration, create_archive

PATH = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
DAEMONS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
CNI_IMAGE = "localhost/bridge-cni:1"
NFT_NAMES = tuple(f"{family}{verb}" for family in ("iptables", "ip6tables") for verb in ("", "-save", "-restore"))


def list_image_names(kubeadm: Path, version: str) -> dict[str, str]:
    """List the images that kubeadm wants for a version (`v1.37.2`), by their last names (`etcd`)."""
    names = run([kubeadm, "config", "images", "list", "--kubernetes-version", version]).split()
    return {name.rpartition(":")[0].rpartition("/")[2]: name for name in names}


def create_images(folder: Path, names: Mapping[str, str], programs: Mapping[str, Path]) -> list[Path]:
    """Write the archives into a folder; return their paths.

    Args:
        folder: exists, and is empty.
        names: from `list_image_names`.
        programs: of `kubernetes`, `etcd`, `coredns`: the folders of their programs.

    """
    layers = folder / "layers"
    layers.mkdir()
    kube = create_layer(layers / "kube")
    place = kube / "usr/local/bin"
    place.mkdir(parents=True)
    shutil.copy(programs["kubernetes"] / "kube", place)  # one program acts as each of them, by its name
    for daemon in DAEMONS:
        (place / daemon).symlink_to("kube")
    shell = layers / "shell"
    shell.mkdir(mode=0o755)
    create_root(shell, BUSYBOX.read_bytes(), run([BUSYBOX, "--list"]).split())
    wanted: dict[str, tuple[list[Path], list[str]]] = {
        **{names[daemon]: ([kube], [f"/usr/local/bin/{daemon}"]) for daemon in DAEMONS[:3]},
        names["kube-proxy"]: ([create_nft_layer(layers / "nft"), kube], ["/usr/local/bin/kube-proxy"]),
        names["etcd"]: ([create_program_layer(layers / "etcd", programs["etcd"] / "etcd")], ["/usr/local/bin/etcd"]),
        names["coredns"]: (
            [create_program_layer(layers / "coredns", programs["coredns"] / "coredns")],
            ["/usr/local/bin/coredns"],
        ),
        names["pause"]: ([shell], PAUSE),
        CNI_IMAGE: ([shell, kube], ["/bin/sh"]),
    }
    archives = []
    for name, (stack, entrypoint) in wanted.items():
        archive = folder / f"{name.rpartition('/')[2].partition(':')[0]}.tar"
        create_archive(archive, [name], stack, ImageConfiguration(entrypoint, PATH))
        archives.append(archive)
    shutil.rmtree(layers)
    return archives


def create_layer(root: Path) -> Path:
    """Make a folder with what every container's root has."""
    root.mkdir(mode=0o755)
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    (root / "etc").mkdir()
    (root / "etc/passwd").write_text("root:x:0:0:root:/:/\n")
    (root / "etc/group").write_text("root:x:0:\n")
    return root


def create_program_layer(root: Path, program: Path) -> Path:
    """Make a layer with one program that needs nothing else."""
    place = create_layer(root) / "usr/local/bin"
    place.mkdir(parents=True)
    shutil.copy(program, place)
    return root


def create_nft_layer(root: Path) -> Path:
    """Make a layer with the programs by which kube-proxy changes the kernel's rules, and their libraries."""
    create_packages(root, ["iptables", "nftables", "conntrack"])
    for name in NFT_NAMES:  # what the packages' scripts would choose, which are not run
        (root / "usr/sbin" / name).unlink(missing_ok=True)
        (root / "usr/sbin" / name).symlink_to("xtables-nft-multi")
    return root
