"""What users of other systems complain of, where only a cluster can show that it is not so here.

docs/user/complaints.md has all of it. GitLab itself is the simulator.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from local_kubernetes.protocol import Cluster
from tests.support.runner_image import build_helper_image
from tests.support.runners import PROJECT, SOON, Runners

pytestmark = pytest.mark.e2e

SECRET = "canary-of-a-variable"


def test_jobs_are_not_claimed_without_capacity_and_the_pod_that_waits_for_a_node_is_kept(
    runners: Runners, apply_pool: Callable[..., None]
) -> None:
    apply_pool("lab", ["hpc"], pod=runners.pod | {"nodeSelector": {"bessemer.test/disk": "fast"}})
    (job,) = runners.gitlab.run_jobs(PROJECT, {"tags": ["hpc"], "script": ["true"]})

    def is_said() -> bool:
        conditions = runners.kubectl.get("rp", "lab")["status"]["conditions"]
        return any((one["type"], one["reason"]) == ("Ready", "Unschedulable") for one in conditions)

    runners.kubectl.wait_for("the pool says so", is_said, SOON, runners.explain)
    assert (runners.gitlab.jobs()[job]["status"], runners.gitlab.jobs()[job]["claims"]) == ("pending", 0)
    (pod,) = runners.pods()
    (node,) = runners.kubectl.items("nodes")
    name = node["metadata"]["name"]
    runners.kubectl.run("label", "node", name, "bessemer.test/disk=fast")  # the node that was being added
    try:
        assert runners.wait_for_jobs([job])[job]["status"] == "success"
    finally:
        runners.kubectl.run("label", "node", name, "bessemer.test/disk-")
    created = [event for event in runners.kubectl.items("events") if event["reason"] == "Created"]
    assert sum(event["involvedObject"].get("name") == "lab" for event in created) == 1, pod["metadata"]["name"]
    runners.wait_until_empty()


def test_the_secrets_of_a_job_stand_in_no_manifest_of_its_pod(
    bessemer: Cluster, runners: Runners, apply_pool: Callable[..., None]
) -> None:
    helper = build_helper_image()
    bessemer.load_image(helper.archive)
    kubernetes = {"image": helper.name, "helperImage": helper.name, "pullPolicy": "Never"}
    apply_pool("lab", ["hpc"], executor={"type": "Kubernetes", "kubernetes": kubernetes})
    variables = {"OPEN": "open-to-all", "SECRET": SECRET}
    script = ['echo "length ${#SECRET}"', "sleep 5"]
    (job,) = runners.gitlab.run_jobs(
        PROJECT, {"tags": ["hpc"], "script": script, "variables": variables, "masked": ["SECRET"]}
    )

    def find_manifests() -> str | None:
        found = runners.kubectl.items("pods", "-l", "bessemer.dev/runner-uid")
        text = json.dumps([*found, *runners.kubectl.items("configmaps")])
        return text if found and found[0]["status"].get("phase") == "Running" else None

    manifests: str = runners.kubectl.wait_for("the job runs", find_manifests, SOON, runners.explain)
    done = runners.wait_for_jobs([job])[job]
    assert f"length {len(SECRET)}" in done["trace"]
    assert "open-to-all" in manifests
    assert SECRET not in manifests
    runners.wait_until_empty()
