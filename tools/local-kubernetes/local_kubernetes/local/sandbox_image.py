"""The image of pod sandboxes, as an OCI image archive of one layer: busybox alone.

The same image is there for tests under a second name, so that small test pods need no separate image.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from local_kubernetes.oci import ImageConfiguration, create_archive

SANDBOX_IMAGE = "localhost/pause:1"
BUSYBOX_IMAGE = "localhost/busybox:1"
"""For test pods: a shell and the usual small programs."""
BUSYBOX = Path("/bin/busybox")

# Asleep, as a pause container is, but ending at once on SIGTERM, which process 1 ignores without a trap.
PAUSE = ["/bin/sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done"]


def create_sandbox_archive(target: Path, busybox: bytes, applets: Sequence[str]) -> None:
    """Write the image's archive; ``applets`` are the programs that busybox has."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        layer = Path(folder)
        layer.chmod(0o755)  # it becomes the image's root
        create_root(layer, busybox, applets)
        create_archive(target, [SANDBOX_IMAGE, BUSYBOX_IMAGE], [layer], ImageConfiguration(PAUSE, {"PATH": "/bin"}))


def create_root(root: Path, busybox: bytes, applets: Sequence[str]) -> None:
    """Fill the only layer: busybox, a link for each of its applets, and a world-writable /tmp."""
    for name, mode in (
        ("bin", 0o755),
        ("etc", 0o755),
        ("tmp", 0o1777),
        ("dev", 0o755),
        ("proc", 0o755),
        ("sys", 0o755),
    ):
        (root / name).mkdir()
        (root / name).chmod(mode)
    (root / "bin/busybox").write_bytes(busybox)
    (root / "bin/busybox").chmod(0o755)
    for applet in sorted({*applets} - {"busybox"}):
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
