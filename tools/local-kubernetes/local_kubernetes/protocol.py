"""The interface of a test cluster."""

from pathlib import Path
from typing import Protocol


class Cluster(Protocol):
    """A Kubernetes cluster that tests may do anything with."""

    @property
    def name(self) -> str:
        """Its name, unique on this machine."""

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig whose current context is this cluster, as administrator."""

    @property
    def kubectl(self) -> Path:
        """A kubectl that fits the cluster's version."""

    def load_image(self, archive: Path) -> None:
        """Put the images of an OCI or Docker archive on the nodes, under the names in the archive.

        Doing so again with the same archive does no harm. Pods use them with `imagePullPolicy: Never`.
        """

    def down(self) -> None:
        """Remove the cluster and everything of it. Does nothing when it is gone already."""
