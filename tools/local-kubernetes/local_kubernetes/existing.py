"""A cluster named by the user: used only with explicit consent, never removed."""

from dataclasses import dataclass
from pathlib import Path

from local_kubernetes.commands import run
from local_kubernetes.errors import ClusterError, announce
from local_kubernetes.marker import apply_marker


@dataclass(frozen=True)
class ExistingCluster:
    """A cluster that the user runs."""

    name: str
    kubeconfig: Path
    kubectl: Path

    def load_image(self, archive: Path) -> None:
        """Refuse: loading images to the nodes of a user's cluster is the user's decision."""
        raise ClusterError(
            f"{archive.name} can't be put on the nodes of {self.name}: push it to a registry that they use, "
            "or load it there by hand, and run again"
        )

    def down(self) -> None:
        """Do nothing: the cluster is not ours to remove."""
        announce(f"leaving cluster {self.name}: it was there before")


def open_existing(kubeconfig: Path, consent: str | None, kubectl: Path) -> ExistingCluster:
    """Open the cluster of a kubeconfig. `consent` has to be the name of its current context.

    Raises ClusterError when it is not, or when the cluster does not answer.
    """
    if not kubeconfig.is_file():
        raise ClusterError(f"BESSEMER_TEST_KUBECONFIG: {kubeconfig} is no file")
    context = run([kubectl, "--kubeconfig", kubeconfig, "config", "current-context"]).strip()
    if consent != context:
        raise ClusterError(
            f"tests create and delete things in the cluster of context {context!r}. If that is what you want, set "
            f"BESSEMER_TEST_KUBECONFIG_YES={context}"
        )
    apply_marker(kubectl, kubeconfig, context)
    return ExistingCluster(context, kubeconfig, kubectl)
