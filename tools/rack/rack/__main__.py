"""A rack of bare-metal machines in a Kubernetes cluster: `rack COMMAND`."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Annotated

import typer

from local_kubernetes.choice import get_cluster
from local_kubernetes.errors import ClusterError
from local_kubernetes.kubectl import KubectlError
from rack import standalone as standalone_rack
from rack.daemon.faults import Fault
from rack.image.build import build_image
from rack.lab import Lab
from rack.terminal import say

app = typer.Typer(
    help="A rack of bare-metal machines in a pod of a cluster.", no_args_is_help=True, pretty_exceptions_enable=False
)
Cluster = Annotated[str, typer.Option(help="name of the test cluster")]
Namespace = Annotated[str, typer.Option(help="namespace of the rack")]
Machine = Annotated[str, typer.Argument(help="name of a machine, or boothost")]


@app.command("build-image")
def build() -> None:
    """Build the lab's image; print the path of its archive."""
    print(build_image().archive)


@app.command()
def install(
    namespace: Namespace = "rack-dev",
    cluster: Cluster = "dev",
    nodes: Annotated[int, typer.Option(help="compute nodes", min=0, max=64)] = 4,
    management_installed: Annotated[bool, typer.Option(help="start with an installed management machine")] = False,
) -> None:
    """Create a rack in one of our clusters."""
    lab = Lab.install(get_cluster(cluster), namespace, nodes, management__installed=management_installed)
    print(f"{lab.service}: {lab.cluster_name}1 and {lab.hosts}, all off")


@app.command()
def uninstall(namespace: Namespace = "rack-dev", cluster: Cluster = "dev") -> None:
    """Remove a rack."""
    Lab.find(get_cluster(cluster), namespace).delete()


@app.command()
def state(namespace: Namespace = "rack-dev", cluster: Cluster = "dev") -> None:
    """Print every machine's state as JSON."""
    print(json.dumps(Lab.find(get_cluster(cluster), namespace).state(), indent=1))


@app.command()
def console(machine: Machine, namespace: Namespace = "rack-dev", cluster: Cluster = "dev", lines: int = 200) -> None:
    """Print the end of a machine's console."""
    print(Lab.find(get_cluster(cluster), namespace).console(machine, lines))


@app.command()
def fault(
    machine: Machine,
    name: Annotated[str, typer.Argument(help=", ".join(Fault))],
    namespace: Namespace = "rack-dev",
    cluster: Cluster = "dev",
    times: Annotated[int | None, typer.Option(help="how often it happens")] = None,
) -> None:
    """Switch a machine's fault on."""
    Lab.find(get_cluster(cluster), namespace).fault(machine, name, times)


@app.command()
def shell(machine: Machine, namespace: Namespace = "rack-dev", cluster: Cluster = "dev") -> None:
    """Open a shell inside a running machine."""
    kubectl = Lab.find(get_cluster(cluster), namespace).kubectl
    flags = ["--kubeconfig", str(kubectl.kubeconfig), "--namespace", namespace]
    command = [
        str(kubectl.program),
        *flags,
        "exec",
        "-it",
        "deployment/rack",
        "--",
        "rackctl",
        "exec",
        machine,
        "--",
        "bash",
    ]
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


@app.command()
def standalone(
    nodes: Annotated[int, typer.Option(help="compute nodes", min=0, max=64)] = 2,
    index: Annotated[int, typer.Option(help="number of this rack among those on this machine", min=1, max=250)] = 1,
    management_installed: Annotated[bool, typer.Option(help="start with an installed management machine")] = False,
) -> None:
    """Run a rack on this machine without Kubernetes until Ctrl-C."""
    standalone_rack.serve(nodes, management_installed=management_installed, index=index)


def main() -> None:
    """Run a command; print an error as a message, not as a traceback."""
    try:
        app()
    except (ClusterError, KubectlError, RuntimeError, TimeoutError) as error:
        say(f"error: {error}")
        raise SystemExit(1) from None
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        say(f"error: {error}; what it said is above")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
