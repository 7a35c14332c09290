"""The image of pod sandboxes, as an OCI image archive of one layer: busybox alone.

The same image is there for tests under a second name, so that small test pods need no image of their own.
"""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SANDBOX_IMAGE = "localhost/pause:1"
BUSYBOX_IMAGE = "localhost/busybox:1"
"""For test pods: a shell and the usual small programs."""
BUSYBOX = Path("/bin/busybox")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""Names of the kernel to names of Go, which images use."""

# Asleep, as a pause container is, but ending at once on SIGTERM, which process 1 ignores without a trap.
PAUSE = ["/bin/sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done"]


def build_layer(busybox: bytes, applets: Sequence[str]) -> bytes:
    """Make the only layer: busybox, a link for each of its applets, and a world-writable /tmp."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        for name in ("bin", "etc", "tmp", "dev", "proc", "sys"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            layer.addfile(folder)
        program = tarfile.TarInfo("bin/busybox")
        program.mode, program.size = 0o755, len(busybox)
        layer.addfile(program, io.BytesIO(busybox))
        for applet in sorted({*applets} - {"busybox"}):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            layer.addfile(link)
        for name, content in (("etc/passwd", b"root:x:0:0:root:/:/bin/sh\n"), ("etc/group", b"root:x:0:\n")):
            file = tarfile.TarInfo(name)
            file.mode, file.size = 0o644, len(content)
            layer.addfile(file, io.BytesIO(content))
    return buffer.getvalue()


def build_archive(busybox: bytes, applets: Sequence[str]) -> bytes:
    """Make an OCI image layout (image-spec 1.1, image-layout.md) in a tar, with one image under two names."""
    blobs: dict[str, bytes] = {}

    def describe(content: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    layer = describe(build_layer(busybox, applets), "application/vnd.oci.image.layer.v1.tar")
    config = {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {"Entrypoint": PAUSE, "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": describe(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": [layer],
    }
    entry = describe(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
    named = [{**entry, "annotations": {"io.containerd.image.name": name}} for name in (SANDBOX_IMAGE, BUSYBOX_IMAGE)]
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": named}
    files = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": json.dumps(index).encode(), **blobs}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            file = tarfile.TarInfo(name)
            file.size = len(content)
            archive.addfile(file, io.BytesIO(content))
    return buffer.getvalue()
