"""Builds the images and tools of the end-to-end tests before they run without a network."""

from __future__ import annotations

from local_kubernetes.binaries.tools import tool
from local_kubernetes.choice import get_kube_minor
from rack.image.build import build_image as build_rack_image
from tests.support.image import build_image
from tests.support.runner_image import build_runner_image

if __name__ == "__main__":
    for name in ("helm", "kind"):
        tool(name, get_kube_minor())
    for image in (build_image(), build_rack_image(), build_runner_image()):
        print(image.archive)
