"""The command line: `local-kubernetes COMMAND`, or `python -m local_kubernetes COMMAND`."""

import os
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from local_kubernetes.binaries.tools import tool as get_tool
from local_kubernetes.choice import (
    PROVIDER,
    Provider,
    engine_answers,
    get_cluster,
    get_kube_minor,
    has_image,
    open_cluster,
    sweep_kind,
)
from local_kubernetes.engine.engine import run_engine
from local_kubernetes.errors import ClusterError, announce
from local_kubernetes.kind import NODE_IMAGES
from local_kubernetes.kubectl import KubectlError
from local_kubernetes.local.registry import ENGINE_MARK
from local_kubernetes.local.remains import sweep as sweep_local

Name = Annotated[str, typer.Argument(help="Which cluster, when there are several.")]

Archive = Annotated[Path, typer.Argument(help="An OCI or Docker archive.", exists=True, dir_okay=False)]

application = typer.Typer(help="A Kubernetes cluster for tests.", no_args_is_help=True, add_completion=False)


@application.command()
def up(name: Name = "dev") -> None:
    """Start the cluster, or find it running; it stays until `down`. KUBE=1.34 chooses a release."""
    cluster = open_cluster(name, kept=True)
    announce(f'{cluster.name} is up; in a shell: eval "$(local-kubernetes shell-env {name})"')
    print(cluster.kubeconfig)


@application.command()
def down(name: Name = "dev") -> None:
    """Remove the cluster and everything of it."""
    get_cluster(name).down()


@application.command()
def sweep() -> None:
    """Remove the clusters and container engines that killed processes left."""
    removed = sweep_kind()
    if not ENGINE_MARK.exists():
        removed += sweep_local()
    for name in removed:
        print(name)


@application.command()
def run(
    provider: Annotated[Provider, typer.Argument(help="kind-docker, kind-podman or local.")],
    command: Annotated[list[str], typer.Argument(help="The command and its arguments, after `--`.")],
) -> None:
    """Run a command whose clusters come from PROVIDER.

    Where the machine has no such container engine, or none that can pull the image of kind's nodes, one is started for
    the command in its own namespaces, which have no network, with an image that is built here; this needs root.
    """
    minor = get_kube_minor()
    engine = provider.engine
    if engine is None or (engine_answers(engine) and has_image(engine, NODE_IMAGES[minor])):
        code = subprocess.run(command, env={**os.environ, PROVIDER: provider.value}, check=False).returncode
    else:
        with run_engine(engine, minor) as running:
            code = running.call(command)
    raise SystemExit(code)


@application.command()
def kubeconfig(name: Name = "dev") -> None:
    """Print the path of the kubeconfig."""
    print(get_cluster(name).kubeconfig)


@application.command()
def load_image(archive: Archive, name: Name = "dev") -> None:
    """Put the images of an OCI or Docker archive on the cluster's nodes."""
    get_cluster(name).load_image(archive)


@application.command()
def tool(program: str) -> None:
    """Print the path of helm, kind, kwok or kubectl, building it when the PATH has no good one."""
    print(get_tool(program, get_kube_minor()))


@application.command()
def shell_env(name: Name = "dev") -> None:
    """Print shell commands that point kubectl and helm at the cluster."""
    cluster = get_cluster(name)
    folders = [str(path.parent) for path in (cluster.kubectl, get_tool("helm"))]
    print(f'export KUBECONFIG="{cluster.kubeconfig}" PATH="{":".join(folders)}:$PATH"')


def main() -> None:
    """Run a command; a ClusterError is a message, not a traceback."""
    try:
        application()
    except (ClusterError, KubectlError) as error:
        announce(f"error: {error}")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
