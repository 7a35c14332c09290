"""The documents are true to the code: reasons are explained, the example is shown whole, links lead somewhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support import session
from tests.support.checkout import ROOT

PACKAGE = ROOT / "operator" / "bessemer"
DOCUMENTS = [
    path for pattern in ("*.md", "docs/**/*.md", "playbooks/**/*.md", "tools/**/*.md") for path in ROOT.glob(pattern)
]
KUBERNETES = {"Unschedulable", "ErrImagePull", "ImagePullBackOff", "CreateContainerConfigError"}
"""Reasons that Kubernetes gives and we pass on."""
NO_REASONS = set(
    re.findall(
        r"\w+",
        # Of Kubernetes' API; types of conditions and columns; of HTTP, Slurm and the spec.
        """
        Background BadRequest BearerToken ClusterBuild ConfigMap ContainerCreating Date DeadlineExceeded DeleteOptions
        Disrupted DisruptionTarget Error Event Evicted FallbackToLogsOnError False File IfNotPresent Image
        InitContainerFailed Lease Memory Never NodeLost NodeShutdown Normal Opaque Pending Pod PodDeleted
        PodInitializing PodScheduled Preempting Reconcile RuntimeDefault Secret Shutdown Strict True Unknown Warning

        DemandKnown Draining JobTaken JobsTaken Min NoJob PodsLost RunnerPool RunnerRegistered ScalingLimited

        Active BuildTrigger MergeRequest RecordsIntact SourceReachable TokenValid WebhookHealthy

        Age CleanedUp Elapsed JobsVerified MachinesClaimed ManagementBooted ManagementConfigured Nodes NodesBooted Phase
        PreflightPassed Progressing Reason ServicesConfigured

        AccessKey AuthenticationType BucketLocation BucketName Insecure Role ServerAddress Shared SecretKey Type Path
        BatchMode ConnectTimeout ConnectionAttempts GlobalKnownHostsFile Host HostKeyAlias HostName IdentityAgent
        IdentityFile LogLevel Port ServerAliveCountMax ServerAliveInterval StrictHostKeyChecking User UserKnownHostsFile
        Always ClusterRole RoleBinding ServiceAccount

        BestEffort DoesNotExist Exists In NotBestEffort NotIn NotTerminating PriorityClass Terminating

        Accept All Authorization BatchHost ExitCode JobState Location NodeList None
        """,
    )
)


def reasons_in_code() -> dict[str, str]:
    """Find every word in CamelCase that the operator and the phases may say, with a place where it stands.

    What is no reason has to be in NO_REASONS, so that a new reason can't be forgotten.
    """
    found = {}
    for path in PACKAGE.rglob("*.py"):
        if (
            {"cli", "console", "view"} & set(path.relative_to(PACKAGE).parts)
            or path.name.startswith("crd")
            or path.name == "podtypes.py"
        ):  # words of Kubernetes
            continue
        for node in walk_but_enums(ast.parse(path.read_text())):
            word = node.value if isinstance(node, ast.Constant) else None
            if isinstance(word, str) and re.fullmatch(r"[A-Z][a-z]+([A-Z][a-z]*)*", word) and word not in NO_REASONS:
                found[word] = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
    return found


def walk_but_enums(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a syntax tree; the words of enums are values of fields, which the field reference has."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.ClassDef) and any(getattr(b, "id", "") == "StrEnum" for b in child.bases)):
            yield from walk_but_enums(child)


def documented_reasons() -> set[str]:
    """Read the first column of the tables."""
    documents = ("reasons.md", "runnerpool-reasons.md", "buildtrigger-reasons.md")
    text = "".join((ROOT / "docs" / "user" / name).read_text() for name in documents)
    return set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))


def test_every_reason_is_explained_and_none_that_is_gone() -> None:
    in_code, documented = reasons_in_code(), documented_reasons()
    assert {reason: place for reason, place in in_code.items() if reason not in documented} == {}
    assert documented - set(in_code) - KUBERNETES == set()


def test_the_first_build_explains_the_whole_example() -> None:
    page = (ROOT / "docs" / "user" / "first-build.md").read_text()
    blocks = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert yaml.safe_load("".join(blocks)) == yaml.safe_load((ROOT / "examples" / "oxygen.yaml").read_text())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    without_code = re.sub(r"`[^`\n]+`", "", document.read_text())
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", without_code)
    assert [link for link in links if "://" not in link and not (document.parent / link).exists()] == []


def test_the_drawing_of_the_session_is_that_of_its_record() -> None:
    assert session.DRAWING.read_text(encoding="utf-8") == session.draw(session.RECORD.read_text(encoding="utf-8"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_left_to_be_filled_in(document: Path) -> None:
    assert not re.findall(r"@@\w+@@|TODO|FIXME", document.read_text(encoding="utf-8"))
