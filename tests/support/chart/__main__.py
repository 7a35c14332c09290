"""Check the charts: ``helm lint``, schemas of Kubernetes, the helm-unittest suites, the README's table of values.

With ``--write``, README.md is written instead. The programs are built once from pinned Go modules; nothing else is
downloaded.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local_kubernetes.binaries.build import get_binaries
from local_kubernetes.binaries.components import HELM_DOCS, HELM_UNITTEST, KUBECONFORM, KUBERNETES_RELEASES
from local_kubernetes.binaries.tools import tool
from local_kubernetes.commands import run
from local_kubernetes.errors import ClusterError
from tests.support.chart.schemas import LOCATION, get_schemas, write_own_schemas
from tests.support.checkout import ROOT

CHART = ROOT / "helm" / "bessemer"
CRD_CHART = ROOT / "helm" / "bessemer-crds"
README = CHART / "README.md"
SECONDS = 120


def main(arguments: Sequence[str]) -> int:
    """Run all checks, or write the README; return the exit code."""
    if list(arguments) == ["--write"]:
        README.write_text(build_readme(), encoding="utf-8")
        return 0
    wrong = [complaint for complaint in check() if complaint]
    print("\n".join(wrong) if wrong else "The charts are in order.")
    return 1 if wrong else 0


def check() -> Iterator[str]:
    """Yield one text for each check that fails."""
    if not README.exists() or README.read_text(encoding="utf-8") != build_readme():
        yield f"{README.relative_to(ROOT)} is not what values.yaml says: `make crds` writes it"
    files = sorted((CHART / "ci").glob("*.yaml"))
    with tempfile.TemporaryDirectory() as own, ThreadPoolExecutor(max_workers=2) as pool:
        write_own_schemas(Path(own))
        yield from pool.map(lint, [CRD_CHART, *[CHART] * len(files)], [None, *files])
        yield conform([str(path) for path in sorted((ROOT / "examples").glob("*.yaml"))], "", [Path(own)])
        for minor in KUBERNETES_RELEASES:
            folders = [get_schemas(minor), Path(own)]
            yield conform(["-"], render(CRD_CHART, None, minor), folders)
            yield from pool.map(lambda path: conform(["-"], render(CHART, path, minor), folders), files)  # noqa: B023  ends in here
    yield get_complaint([get_binaries(HELM_UNITTEST) / "helm-unittest", "--strict", str(CHART)])


def build_readme() -> str:
    """Return the chart's README: README.md.gotmpl with the table of values."""
    options = ["--dry-run", "--log-level", "warning", "--sort-values-order", "file"]
    text = run([get_binaries(HELM_DOCS) / "helm-docs", f"--chart-search-root={CHART}", *options], timeout=SECONDS)
    return text.rstrip("\n") + "\n"


def lint(chart: Path, values: Path | None) -> str:
    """Return the errors that ``helm lint`` reports for a chart."""
    return get_complaint([tool("helm"), "lint", "--strict", "--quiet", str(chart), *_list_flags(values)])


def render(chart: Path, values: Path | None, minor: str) -> str:
    """Return a chart's manifests for a Kubernetes of a minor release."""
    where = ["--namespace", "bessemer-system", "--kube-version", KUBERNETES_RELEASES[minor]]
    return run([tool("helm"), "template", "metal", chart, *where, *_list_flags(values)], timeout=SECONDS)


def conform(files: Sequence[str], manifests: str, folders: Sequence[Path]) -> str:
    """Return the errors that kubeconform reports for files, or (``-``) for these manifests."""
    locations = [f"--schema-location={folder / LOCATION}" for folder in folders]
    return get_complaint([get_binaries(KUBECONFORM) / "kubeconform", "-strict", *locations, *files], manifests)


def get_complaint(argv: Sequence[str | Path], stdin: str = "") -> str:
    """Return all output of a program that fails; empty if it succeeds."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=SECONDS, check=False)
    return "" if done.returncode == 0 else f"{argv[0]} {argv[1]}:\n{done.stdout}{done.stderr}"


def _list_flags(values: Path | None) -> list[str]:
    return [] if values is None else ["--values", str(values)]


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ClusterError as error:
        sys.exit(f"chart: {error}")
