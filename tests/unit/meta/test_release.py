"""Releases: one version everywhere, a pipeline that GitLab accepts, and a change log that can be rendered."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.checkout import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
VERSION = PROJECT["project"]["version"]
PIPELINE: dict[str, Any] = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())


def run_script(job: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the script of a job as a runner does."""
    script = "set -e\n" + "\n".join(PIPELINE[job]["script"])
    environment = {"PATH": f"{folder / 'bin'}:/usr/bin:/bin", **environment}
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("chart", ["bessemer", "bessemer-crds"])
def test_charts_have_the_version_of_the_package(chart: str) -> None:
    metadata = yaml.safe_load((ROOT / "helm" / chart / "Chart.yaml").read_text())
    assert (metadata["version"], metadata["appVersion"]) == (VERSION, VERSION)


def test_commands_in_documents_have_the_version_of_the_package() -> None:
    documents = [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]
    written = {
        version
        for path in documents
        for version in re.findall(r"(?:image\.tag=|example\.org/bessemer:)(\S+)", path.read_text())
    }
    assert written == {VERSION}


def test_gitlab_accepts_the_pipeline() -> None:
    schema = ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"]
    command = [sys.executable, "-m", "check_jsonschema", *schema, str(ROOT / ".gitlab-ci.yml")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_pipeline_runs_what_developers_run() -> None:
    assert PIPELINE["test"]["script"] == [".ci/run"]
    assert "rules" not in PIPELINE["test"]


def test_only_a_tag_publishes_and_only_after_the_tests() -> None:
    publishing = {name for name, job in PIPELINE.items() if isinstance(job, dict) and job.get("stage") == "publish"}
    assert publishing == {"pages", "container-image", "charts"}
    for name in publishing:
        assert PIPELINE[name]["rules"] == [{"if": "$CI_COMMIT_TAG"}]
        assert {"test", "version"} <= set(PIPELINE[name].get("needs", ["test", "version"]))


@pytest.mark.parametrize(("tag", "code"), [(f"v{VERSION}", 0), (VERSION, 1), (f"v{VERSION}1", 1)])
def test_a_tag_of_another_version_is_refused(tag: str, code: int) -> None:
    command = "\n".join(PIPELINE["version"]["script"]).replace("python3", sys.executable)
    environment = {"CI_COMMIT_TAG": tag}
    result = subprocess.run(
        ["bash", "-ec", command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == code, result.stderr


def test_the_published_chart_takes_the_published_image_and_the_token_is_no_argument(tmp_path: Path) -> None:
    values = tmp_path / "helm" / "bessemer" / "values.yaml"
    values.parent.mkdir(parents=True)
    values.write_text((ROOT / "helm" / "bessemer" / "values.yaml").read_text())
    (tmp_path / "bin").mkdir()
    for name, text in {
        "helm": "mkdir -p build/charts && touch build/charts/bessemer-1.tgz build/charts/bessemer-crds-1.tgz",
        "curl": 'echo "$@" >> arguments; cat >> configuration',
    }.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    project = {"CI_API_V4_URL": "https://gitlab.example.org/api/v4", "CI_PROJECT_ID": "7", "CI_JOB_TOKEN": "secret"}
    result = run_script("charts", tmp_path, {"CI_REGISTRY_IMAGE": "registry.example.org/hpc/bessemer", **project})
    assert result.returncode == 0, result.stderr
    assert yaml.safe_load(values.read_text())["image"]["repository"] == "registry.example.org/hpc/bessemer"
    calls = (tmp_path / "arguments").read_text().splitlines()
    assert [re.findall(r"chart=@build/charts/(\S+)\.tgz", call) for call in calls] == [
        ["bessemer-1"],
        ["bessemer-crds-1"],
    ]
    assert all("secret" not in call for call in calls)
    assert (tmp_path / "configuration").read_text() == 2 * 'user = "gitlab-ci-token:secret"\n'


def test_fragments_of_the_change_log_can_be_rendered() -> None:
    command = [sys.executable, "-m", "towncrier", "build", "--draft"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    kinds = set(PROJECT["tool"]["towncrier"]["fragment"])
    strange = [path.name for path in (ROOT / "changes").glob("*.*") if path.name.split(".")[1] not in kinds]
    assert strange == []


def test_hooks_before_a_commit_are_parts_of_make_lint_and_fetch_nothing() -> None:
    command = [sys.executable, "-m", "pre_commit", "validate-config", str(ROOT / ".pre-commit-config.yaml")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [each["repo"] for each in repositories] == ["local"]
    assert {hook["language"] for hook in repositories[0]["hooks"]} == {"system"}
