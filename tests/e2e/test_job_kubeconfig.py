"""``bessemer job`` with a kubeconfig, on a real Kubernetes with the chart's policies and the documented rights.

GitLab's agent gives jobs such a kubeconfig; here it is that of a ServiceAccount. No machine answers.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from local_kubernetes.kubectl import Kubectl
from local_kubernetes.protocol import Cluster
from tests.e2e.conftest import delete_namespace
from tests.support.checkout import ROOT

pytestmark = pytest.mark.e2e
NAMESPACE = "agents"
MANIFEST = ROOT / "examples" / "oxygen.yaml"
GROUP = "rbac.authorization.k8s.io"
FOLLOW = [
    {"apiGroups": ["bessemer.dev"], "resources": ["clusterbuilds"], "verbs": ["get", "create", "patch"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
]
AUTHOR = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
]
JOB_SECONDS = 180
"""For Preflight to fail on a busy machine."""


@pytest.fixture(scope="module")
def kubectl(bessemer: Cluster) -> Iterator[Kubectl]:
    """Yield kubectl in a namespace with the Secret of the manifest."""
    kubectl = Kubectl(bessemer.kubectl, bessemer.kubeconfig, NAMESPACE)
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    key = {"metadata": {"name": "oxygen-ssh"}, "stringData": {"ssh-privatekey": "none that works"}}
    kubectl.apply({"apiVersion": "v1", "kind": "Secret", **key})
    yield kubectl
    delete_namespace(kubectl)


def write_kubeconfig(kubectl: Kubectl, name: str, rules: list[dict[str, list[str]]], folder: Path) -> Path:
    """Write the kubeconfig of an account that may do what the rules say, and nothing else."""
    metadata = {"name": name}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    role = {"apiVersion": f"{GROUP}/v1", "kind": "Role", "metadata": metadata, "rules": rules}
    binding = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": GROUP, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}],
    }
    kubectl.apply(account, role, binding)
    administrators = yaml.safe_load(kubectl.kubeconfig.read_text(encoding="utf-8"))
    context = {"cluster": administrators["clusters"][0]["name"], "namespace": NAMESPACE, "user": name}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": administrators["clusters"],
        "contexts": [{"name": "hpc/agents:lab", "context": context}],
        "users": [{"name": name, "user": {"token": kubectl.run("create", "token", name).strip()}}],
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def run_job(kubeconfig: Path, folder: Path, *command: str, number: int = 302) -> subprocess.CompletedProcess[str]:
    """Run the job's command as the component does."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "KUBECONFIG": str(kubeconfig),
        "BESSEMER_AUTH": "kubeconfig",
        "BESSEMER_CONTEXT": "hpc/agents:lab",
        "BESSEMER_MANIFEST": str(MANIFEST),
        "BESSEMER_FOLDER": str(folder / "out"),
        "CI_JOB_ID": str(number),
        "CI_COMMIT_SHA": "c" * 40,
    }
    program = Path(sys.executable).parent / "bessemer"
    return subprocess.run(
        [str(program), "job", *command],
        check=False,
        capture_output=True,
        text=True,
        timeout=JOB_SECONDS,
        env=environment,
        cwd=folder,
    )


def test_the_documented_rights_suffice_to_build_follow_and_report(kubectl: Kubectl, tmp_path: Path) -> None:
    kubeconfig = write_kubeconfig(kubectl, "job", [*FOLLOW, *AUTHOR], tmp_path)
    done = run_job(kubeconfig, tmp_path, "build")
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "PreflightFailed" in said
    assert "powermand at rack:10101" in said, "what failed is told"
    assert "Traceback" not in said
    build = kubectl.get("clusterbuild", "oxygen")
    assert build["metadata"]["annotations"]["bessemer.dev/retry"] == "job-302"
    assert "BESSEMER_CLUSTER_NAME=oxygen\n" in (tmp_path / "out" / "bessemer.env").read_text(encoding="utf-8")

    aborted = run_job(kubeconfig, tmp_path, "abort")
    assert aborted.returncode == 0, aborted.stdout + aborted.stderr
    assert kubectl.get("clusterbuild", "oxygen")["metadata"]["annotations"]["bessemer.dev/abort"] == "true"


@pytest.mark.parametrize(
    ("name", "rules", "reason"),
    [("stranger", [], "Forbidden"), ("reader", FOLLOW, "you must be allowed to create pods")],
)
def test_who_may_not_build_is_told_what_is_missing(
    kubectl: Kubectl, tmp_path: Path, name: str, rules: list[dict[str, list[str]]], reason: str
) -> None:
    kubectl.run("delete", "clusterbuild", "--all", timeout=120)
    done = run_job(write_kubeconfig(kubectl, name, rules, tmp_path), tmp_path, "build")
    said = done.stdout + done.stderr
    assert done.returncode in (2, 3), said
    assert reason in said
    assert "Traceback" not in said
    assert kubectl.items("clusterbuilds") == []
