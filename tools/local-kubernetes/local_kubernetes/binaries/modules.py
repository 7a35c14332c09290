"""Files of Go modules that nothing is built from, such as the OpenAPI document of a Kubernetes release."""

import json
from pathlib import Path

from local_kubernetes.binaries.build import BUILD_ENVIRONMENT
from local_kubernetes.binaries.components import GO_MODULES
from local_kubernetes.binaries.toolchain import get_go
from local_kubernetes.commands import run

DOWNLOAD_SECONDS = 600


def get_module(folder: str, module: str, modfile: str = "go.mod") -> Path:
    """Return the folder with a module's files, in the version that ``go/FOLDER/MODFILE`` pins; Go checks its go.sum.

    Raises:
        ClusterError: it can't be downloaded, or is not what go.sum says.
    """
    argv: list[str | Path] = [get_go().command, "mod", "download", f"-modfile={modfile}", "-json", module]
    output = run(argv, timeout=DOWNLOAD_SECONDS, environment=BUILD_ENVIRONMENT, cwd=GO_MODULES / folder)
    return Path(json.loads(output)["Dir"])
