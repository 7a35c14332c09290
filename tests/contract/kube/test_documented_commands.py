"""kubectl and Helm take the commands in the documents: their options and arguments, the charts and their values.

Where no cluster is asked, the commands are run; else they must get as far as that no API server answers.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from local_kubernetes.binaries.tools import tool
from local_kubernetes.choice import get_kube_minor
from tests.support.checkout import ROOT
from tests.support.doccommands import Command, list_commands

COMMANDS = list_commands()
NO_SERVER = "--server=http://127.0.0.1:1"
KINDS = {"leases", "nodes", "secret", "service", "pods"} | {
    name
    for path in (ROOT / "crds").glob("*.yaml")
    for names in [yaml.safe_load(path.read_text())["spec"]["names"]]
    for name in (names["plural"], names["singular"], *names["shortNames"])
}


def of(program: str, *verbs: str) -> list[Command]:
    """List the commands of a program that have one of the verbs; without verbs, all."""
    return [c for c in COMMANDS if c.arguments[0] == program and (not verbs or set(verbs) & set(c.arguments))]


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command without any kubeconfig."""
    environment = {**os.environ, "HOME": str(folder), "KUBECONFIG": str(folder / "none")}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("command", of("kubectl"), ids=str)
def test_kubectl_takes_it(command: Command, tmp_path: Path) -> None:
    arguments = list(command.arguments[1:])
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "key").write_text("a key")
    arguments = [re.sub(r"(--from-file=(?:ssh-privatekey=)?).*", rf"\1{tmp_path}/key", one) for one in arguments]
    kubectl = str(tool("kubectl", get_kube_minor()))
    if arguments[0] == "create":
        made = run([kubectl, *arguments, "--dry-run=client", "-o", "name"], tmp_path)
        assert (made.returncode, made.stdout) == (0, f"secret/{arguments[3]}\n"), made.stderr
        return
    result = run([kubectl, *arguments, NO_SERVER, "--request-timeout=2s"], tmp_path)
    assert "127.0.0.1:1 was refused" in result.stderr or "connect: connection refused" in result.stderr, result.stderr


@pytest.mark.parametrize("command", of("kubectl", "get", "describe", "wait", "annotate", "delete"), ids=str)
def test_the_kinds_exist(command: Command) -> None:
    kinds = command.arguments[2 if command.arguments[1] != "wait" else 3].split("/")[0]
    assert set(kinds.split(",")) <= KINDS


@pytest.mark.parametrize("command", of("helm", "install", "upgrade"), ids=str)
def test_helm_renders_it(command: Command, tmp_path: Path) -> None:
    (tmp_path / "helm").symlink_to(ROOT / "helm")
    arguments = [one for one in command.arguments[2:] if one not in {"--install", "..."}]
    result = run([str(tool("helm")), "template", *arguments], tmp_path)
    assert result.returncode == 0, result.stderr
    assert [document["kind"] for document in yaml.safe_load_all(result.stdout) if document]


@pytest.mark.parametrize("command", of("helm", "uninstall"), ids=str)
def test_helm_takes_it(command: Command, tmp_path: Path) -> None:
    result = run([str(tool("helm")), *command.arguments[1:], "--kube-apiserver=http://127.0.0.1:1"], tmp_path)
    assert "unreachable" in result.stderr or "connection refused" in result.stderr, result.stderr
