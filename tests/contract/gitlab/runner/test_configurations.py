"""config.toml as the operator renders it, with GitLab's own runner: what can be seen without a cluster."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bessemer.api.runnerpool.resource import RunnerPool, parse_runner_pool
from bessemer.kinds.runnerpool.render.config import HOME_DIRECTORY, build_secret_data
from bessemer.kinds.runnerpool.render.executor_config import BUILDS_DIRECTORY
from tests.contract.gitlab.conftest import Site, TlsSite
from tests.contract.machines.daemons import run_sshd
from tests.contract.machines.test_ssh import make_key
from tests.support.runner_image import get_gitlab_runner

PROJECT = "hpc/sim"
SECONDS = 60


GITLAB = {"scope": {"type": "Project", "path": PROJECT}}


def build_pool(site: Site, **spec: Any) -> RunnerPool:
    own: dict[str, Any] = {
        "gitlab": GITLAB | {"url": site.url},
        "runner": {"tokenSecret": {"name": "runner"}, "tags": ["hpc"]},
    }
    metadata = {"namespace": "ci", "name": "lab", "uid": "uid"}
    return parse_runner_pool({"metadata": metadata, "spec": own | spec})


def run_job(site: Site, folder: Path, pool: RunnerPool, secrets: dict[str, str], **job: Any) -> dict[str, Any]:
    """Run one job with the files that a runner pod would have; return what became of it."""
    tokens = site.control.seed(
        projects=[{"path": PROJECT}],
        users=[{"username": "bot", "access": {"hpc": 50}}],
        tokens=[{"user": "bot", "name": "api", "scopes": ["api", "create_runner"]}],
    )
    fields = {"runner_type": "project_type", "project_id": 1, "tag_list": ["hpc"], "run_untagged": False}
    token = site.control.create_runner(tokens["api"], **fields)["token"]
    assert pool.spec is not None, pool.spec_error
    home = folder / "home"
    home.mkdir()
    for name, text in build_secret_data(pool, pool.spec, token, secrets).items():
        own = text.replace(HOME_DIRECTORY, str(home)).replace(f'"{BUILDS_DIRECTORY}', f'"{folder}/builds')
        (home / name).write_text(own)
        (home / name).chmod(0o600)
    (number,) = site.control.run_jobs(PROJECT, {"tags": ["hpc"], **job})
    runner = get_gitlab_runner()
    subprocess.run(
        [runner, "run-single", "-c", home / "config.toml", "-r", "lab", "--max-builds", "1", "--wait-timeout", "1"],
        env={"PATH": f"{runner.parent}:{os.environ['PATH']}", "HOME": str(folder)},
        cwd=folder,  # there it keeps caches that are in no store
        capture_output=True,
        timeout=SECONDS,
        check=True,
    )
    return site.control.jobs()[number]


@pytest.mark.parametrize(("trusted", "status"), [(True, "success"), (False, "failed")])
def test_by_ssh_a_job_runs_on_the_machine_with_the_given_host_key_only(
    site: Site, tmp_path: Path, trusted: bool, status: str
) -> None:
    host_key, login, other = make_key(), make_key(), make_key()
    with run_sshd(tmp_path / "sshd", host_key, login.public) as sshd:
        ssh = {
            "host": "127.0.0.1",
            "port": sshd.port,
            "user": "root",
            "identitySecret": {"name": "key"},
            "hostKey": (host_key if trusted else other).public,
        }
        pool = build_pool(site, executor={"type": "SSH", "ssh": ssh})
        done = run_job(site, tmp_path, pool, {"ssh-identity": login.private}, script=["echo from ${SSH_CLIENT%% *}"])
    assert done["status"] == status, done["trace"]
    assert ("from 127.0.0.1" in done["trace"]) == trusted
    if not trusted:
        assert "key mismatch" in done["trace"]


def test_a_gitlab_with_a_certificate_of_the_sites_own_authority_is_trusted(tls_site: TlsSite, tmp_path: Path) -> None:
    pool = build_pool(tls_site, gitlab=GITLAB | {"url": tls_site.url, "caSecret": {"name": "ca", "key": "ca.crt"}})
    done = run_job(tls_site, tmp_path, pool, {"ca.crt": tls_site.ca}, script=["echo by TLS"])
    assert (done["status"], "by TLS" in done["trace"]) == ("success", True)


def test_without_that_authority_no_job_is_asked_for(tls_site: TlsSite, tmp_path: Path) -> None:
    done = run_job(tls_site, tmp_path, build_pool(tls_site), {}, script=["true"])
    assert (done["status"], done["claims"]) == ("pending", 0)
