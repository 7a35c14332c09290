"""How large images are."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from typing import IO, Any

from local_kubernetes.oci import Image


@dataclass(frozen=True)
class ImageSize:
    """Bytes of an image."""

    name: str
    archive: int
    """The OCI archive, as it is copied to a node."""
    unpacked: int
    """The files of all its layers, as they lie on a node's disk."""


def get_image_size(image: Image) -> ImageSize:
    """Read an OCI archive of one image (OCI image specification 1.1, image-layout.md and manifest.md)."""
    with tarfile.open(image.archive) as archive:
        index = read_document(archive, "index.json")
        manifest = read_document(archive, blob(index["manifests"][0]))
        unpacked = 0
        for layer in manifest["layers"]:
            with tarfile.open(fileobj=open_member(archive, blob(layer)), mode="r|*") as files:
                unpacked += sum(file.size for file in files if file.isreg())
    return ImageSize(image.name, image.archive.stat().st_size, unpacked)


def blob(descriptor: dict[str, Any]) -> str:
    """Return where a layout has what a descriptor names."""
    return f"blobs/{descriptor['digest'].replace(':', '/')}"


def read_document(archive: tarfile.TarFile, name: str) -> dict[str, Any]:
    """Read a JSON document."""
    document: dict[str, Any] = json.load(open_member(archive, name))
    return document


def open_member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    """Open a file in an archive. Raises KeyError where there is none."""
    stream = archive.extractfile(name)
    if stream is None:
        raise KeyError(f"{name} is no file")
    return stream
