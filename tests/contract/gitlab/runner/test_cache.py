"""Caches in an object store, by the configuration that the operator renders: GitLab's own runner, a real store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.gitlab.conftest import Site
from tests.contract.gitlab.runner.object_store import ACCESS_KEY, REGION, SECRET_KEY, ObjectStore, run_object_store
from tests.contract.gitlab.runner.test_configurations import build_pool, run_job

BUCKET = "caches"
CACHE = {"key": "libraries", "paths": ["built"], "policy": "pull-push", "when": "on_success", "untracked": False}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    with run_object_store(tmp_path / "store") as store:
        store.create_bucket(BUCKET)
        yield store


def run_with_cache(site: Site, store: ObjectStore, folder: Path, script: list[str], secret: str) -> dict[str, Any]:
    """Run a job whose runner has the cache, in a separate folder; return its result."""
    s3 = {
        "server": store.server,
        "bucket": BUCKET,
        "region": REGION,
        "insecure": True,
        "path": "ci",
        "accessKeySecret": {"name": "store", "key": "access"},
        "secretKeySecret": {"name": "store", "key": "secret"},
    }
    folder.mkdir()
    secrets = {"s3-access-key": ACCESS_KEY, "s3-secret-key": secret}
    return run_job(site, folder, build_pool(site, cache={"s3": s3}), secrets, script=script, cache=[CACHE])


def test_a_job_finds_what_an_earlier_one_has_put_into_the_store(site: Site, store: ObjectStore, tmp_path: Path) -> None:
    first = run_with_cache(site, store, tmp_path / "1", ["mkdir built", "echo 42 > built/library"], SECRET_KEY)
    assert first["status"] == "success", first["trace"]
    (name,) = store.list_objects(BUCKET)
    assert name.startswith("ci/")
    assert "libraries" in name
    second = run_with_cache(site, store, tmp_path / "2", ["echo the answer is $(cat built/library)"], SECRET_KEY)
    assert "the answer is 42" in second["trace"]
    for job in (first, second):
        assert SECRET_KEY not in job["trace"]


def test_with_a_wrong_key_a_job_runs_without_its_cache_and_its_log_says_so(
    site: Site, store: ObjectStore, tmp_path: Path
) -> None:
    done = run_with_cache(site, store, tmp_path / "1", ["mkdir built", "echo 42 > built/library"], "not-the-key")
    assert (done["status"], store.list_objects(BUCKET)) == ("success", [])
    assert "Failed to create cache" in done["trace"]
    assert "403" in done["trace"]
