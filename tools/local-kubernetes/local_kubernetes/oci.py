"""Writes image archives, which any container runtime imports, without a builder or a daemon.

Formats: OCI image specification 1.1, image-layout.md, manifest.md and config.md; and, in the same archive, the
manifest.json that Docker's `load` before version 25 wants instead (moby, image/spec/spec.md, version 1.2).
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""Names of the kernel to names of Go, which images use."""
MEDIA = "application/vnd.oci.image"
CHUNK = 1 << 20


@dataclass(frozen=True)
class Image:
    """An image in an archive."""

    name: str
    """Name with tag, as pods name it."""
    archive: Path
    """OCI archive."""


@dataclass(frozen=True)
class ImageConfiguration:
    """How containers of an image start."""

    entrypoint: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)

    def build(self, diff_ids: Sequence[str]) -> dict[str, Any]:
        """Return the image's configuration document for its layers' digests."""
        return {
            "architecture": ARCHITECTURES[platform.machine()],
            "os": "linux",
            "config": {
                "Entrypoint": list(self.entrypoint),
                "Env": [f"{key}={value}" for key, value in self.environment.items()],
            },
            "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        }


def create_archive(
    target: Path, names: Sequence[str], layers: Sequence[Path], configuration: ImageConfiguration
) -> None:
    """Write an image archive.

    Args:
        target: the archive; it appears when it is complete.
        names: the image's names with their tags.
        layers: the lowest first; each a tar archive or a folder, whose files then belong to root.
        configuration: how containers start.

    """
    partial = target.with_suffix(".partial")
    with tarfile.open(partial, "w") as archive:
        described = [add_layer(archive, layer) for layer in layers]
        config = add_document(
            archive, configuration.build([layer["digest"] for layer in described]), f"{MEDIA}.config.v1+json"
        )
        manifest = {"schemaVersion": 2, "mediaType": f"{MEDIA}.manifest.v1+json", "config": config, "layers": described}
        entry = add_document(archive, manifest, f"{MEDIA}.manifest.v1+json")
        named = [
            {**entry, "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}}
            for name in names
        ]
        index = {"schemaVersion": 2, "mediaType": f"{MEDIA}.index.v1+json", "manifests": named}
        add_file(archive, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        add_file(archive, "index.json", json.dumps(index).encode())
        blobs = [locate_blob(layer["digest"]) for layer in described]
        docker = [{"Config": locate_blob(config["digest"]), "RepoTags": list(names), "Layers": blobs}]
        add_file(archive, "manifest.json", json.dumps(docker).encode())
    partial.rename(target)


def add_layer(archive: tarfile.TarFile, source: Path) -> dict[str, Any]:
    """Add a layer; return its descriptor."""
    if source.is_file():
        with source.open("rb") as stream:
            return add_stream(archive, stream)
    with tempfile.TemporaryFile(dir=Path(archive.name).parent) as stream:  # type: ignore[arg-type]  # it was opened by its path
        with tarfile.open(fileobj=stream, mode="w") as layer:
            layer.add(source, arcname=".", filter=belong_to_root)
        stream.seek(0)
        return add_stream(archive, stream)


def belong_to_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave the builder's user and clock out of an image."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    return entry


def add_stream(archive: tarfile.TarFile, stream: IO[bytes]) -> dict[str, Any]:
    """Add an uncompressed layer from a file that can be read twice; return its descriptor."""
    digest = hashlib.sha256()
    while chunk := stream.read(CHUNK):
        digest.update(chunk)
    name = f"sha256:{digest.hexdigest()}"
    entry = tarfile.TarInfo(locate_blob(name))
    entry.size = stream.tell()
    stream.seek(0)
    archive.addfile(entry, stream)
    return {"mediaType": f"{MEDIA}.layer.v1.tar", "digest": name, "size": entry.size}


def add_document(archive: tarfile.TarFile, document: dict[str, Any], media_type: str) -> dict[str, Any]:
    """Add a JSON document; return its descriptor."""
    content = json.dumps(document).encode()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    add_file(archive, locate_blob(digest), content)
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def locate_blob(digest: str) -> str:
    """Return the path in the archive of what has this digest."""
    return f"blobs/{digest.replace(':', '/')}"


def add_file(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a small file."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
