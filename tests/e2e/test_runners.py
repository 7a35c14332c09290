"""Runner pools on a real Kubernetes with GitLab's own runner; GitLab itself is the simulator."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from tests.support.cluster.protocol import Cluster
from tests.support.disturbance import kill_operator
from tests.support.gitlab.control import Simulator
from tests.support.gitlab_pod import build_url, install_simulator
from tests.support.image import ROOT, build_image
from tests.support.kubectl import Kubectl, KubectlError, Resource
from tests.support.runner_image import build_runner_image
from tests.support.site import SYSTEM_NAMESPACE

pytestmark = pytest.mark.e2e

PROJECT = "hpc/simulations"
NAMESPACE = "runners"
SOON = 60
"""Seconds for a handful of pods, on a busy machine."""


@dataclass
class Runners:
    """A namespace with a GitLab, and pools in it."""

    kubectl: Kubectl
    gitlab: Simulator
    image: str
    access_token: str
    made: list[str] = field(default_factory=list)

    def apply_secret(self, name: str, value: str) -> None:
        """Write a Secret as a user would."""
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"token": value}}
        self.kubectl.apply(secret)

    def apply_pool(self, name: str, tags: list[str], **spec: Any) -> None:
        """Apply a pool whose runner Bessemer manages, unless something else is given; wait until it is ready."""
        own = {
            "gitlab": {
                "url": build_url(NAMESPACE),
                "scope": {"type": "Project", "path": PROJECT},
                "apiTokenSecret": {"name": "gitlab"},
                "webhookSecret": {"name": "webhook"},
            },
            "runner": {"managed": {}, "tags": tags},
            "pod": {"image": self.image, "imagePullPolicy": "Never"},
        }
        metadata = {"name": name}
        pool = {"apiVersion": "bessemer.dev/v1alpha1", "kind": "RunnerPool", "metadata": metadata, "spec": own | spec}
        self.kubectl.apply(pool)
        self.made.append(name)
        self.kubectl.run("wait", f"runnerpool/{name}", "--for=condition=Ready", f"--timeout={SOON}s", timeout=SOON + 10)

    def pods(self) -> list[Resource]:
        """List all runner pods."""
        return self.kubectl.items("pods", "-l", "bessemer.dev/pool")

    def wait_for_jobs(self, jobs: list[int], seconds: float = SOON) -> dict[int, dict[str, Any]]:
        """Wait until jobs have ended; give them."""

        def ended() -> dict[int, dict[str, Any]] | None:
            found = {number: job for number, job in self.gitlab.jobs().items() if number in jobs}
            over = all(job["status"] in ("success", "failed", "canceled") for job in found.values())
            return found if over else None

        result: dict[int, dict[str, Any]] = self.kubectl.wait_for("jobs end", ended, seconds, self.explain)
        return result

    def wait_until_empty(self, seconds: float = SOON) -> None:
        """Wait until no runner pod is left, and no manager."""
        self.kubectl.wait_for("runner pods go", lambda: not self.pods(), seconds, self.explain)

        def forgotten() -> bool:
            return not any(runner["managers"] for runner in self.gitlab.runners())

        self.kubectl.wait_for("GitLab forgets the managers", forgotten, 5, self.explain)

    @property
    def system(self) -> Kubectl:
        """kubectl in the operator's namespace."""
        return Kubectl(self.kubectl.program, self.kubectl.kubeconfig, SYSTEM_NAMESPACE)

    def explain(self) -> str:
        """Say how things stand, for a test that fails."""
        return "\n".join(
            [
                str([(one["status"], one["error"]) for one in self.gitlab.deliveries()[-5:]]),
                self.kubectl.run("get", "pods,rp", "-o", "wide"),
                self.kubectl.run("describe", "rp")[-6000:],
                self.system.run("logs", "deployment/bessemer", "--tail=60"),
            ]
        )


@pytest.fixture(scope="module")
def runners(bessemer: Cluster) -> Iterator[Runners]:
    """Give a namespace with a GitLab in it."""
    image = build_runner_image()
    bessemer.load_image(image.archive)
    kubectl = Kubectl(bessemer.kubectl, bessemer.kubeconfig, NAMESPACE)
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    kubectl.run("wait", "serviceaccount/default", "--for=create", "--timeout=30s")
    gitlab = install_simulator(bessemer, NAMESPACE, build_image().name)
    tokens = gitlab.seed(
        projects=[{"path": PROJECT}],
        users=[{"username": "bot", "access": {"hpc": 50}}],
        tokens=[{"user": "bot", "name": "api", "scopes": ["api", "create_runner", "manage_runner"]}],
    )
    made = Runners(kubectl, gitlab, image.name, tokens["api"])
    made.apply_secret("gitlab", tokens["api"])
    made.apply_secret("webhook", "webhook-secret")
    # GitLab disables a webhook that fails, as that of a pool does which comes and goes with the tests.
    made.apply_pool("hub", ["nothing"])
    url = f"http://bessemer.{SYSTEM_NAMESPACE}.svc:8080/v1/gitlab/{NAMESPACE}/hub"
    gitlab.add_hook(project=PROJECT, url=url, token="webhook-secret")
    yield made
    kubectl.run("delete", "runnerpool", "--all", timeout=120)
    kubectl.run("delete", "namespace", NAMESPACE, timeout=120)


@pytest.fixture
def apply_pool(runners: Runners) -> Iterator[Callable[..., None]]:
    """Give what applies pools; they go with the test, and leave nothing in GitLab."""
    runners.made.clear()
    yield runners.apply_pool
    for name in runners.made:
        runners.kubectl.run("delete", "runnerpool", name, "--ignore-not-found", timeout=120)
    assert [runner["tags"] for runner in runners.gitlab.runners()] == [["nothing"]]
    assert runners.pods() == []


def build_example(**changes: Any) -> Resource:
    """Read the example; lay changes over parts of its spec."""
    manifest: Resource = yaml.safe_load((ROOT / "examples" / "runnerpool.yaml").read_text(encoding="utf-8"))
    for part, fields in changes.items():
        own = manifest["spec"].get(part)
        manifest["spec"][part] = own | fields if isinstance(own, dict) else fields
    return manifest


def test_the_example_is_taken(runners: Runners) -> None:
    runners.kubectl.run("apply", "--dry-run=server", "-f", "-", given=json.dumps(build_example()))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"min": 21}, "min must not be greater than max"),
        ({"runner": {"tokenSecret": {"name": "given"}}}, "exactly one of tokenSecret and managed is required"),
        ({"runner": {"tags": []}}, "tags, or runUntagged: true, are required"),
        ({"gitlab": {"scope": {"type": "Instance", "path": "hpc"}}}, "path is required for a Group or a Project"),
        ({"gitlab": {"scope": {"type": "Project"}}}, "path is required for a Group or a Project"),
        ({"gitlab": {"apiTokenSecret": None}}, "gitlab.apiTokenSecret is required for runner.managed"),
        ({"gitlab": {"url": "gitlab.example.org"}}, "spec.gitlab.url"),
        ({"executor": {"type": "VirtualBox"}}, "spec.executor.type"),
        ({"idleSeconds": -1}, "spec.idleSeconds"),
    ],
)
def test_a_bad_pool_is_refused_at_apply_naming_the_field(runners: Runners, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(KubectlError, match=re.escape(said)):
        runners.kubectl.run("apply", "--dry-run=server", "-f", "-", given=json.dumps(build_example(**changes)))


def test_a_job_gets_a_pod_and_nothing_is_left_of_it(runners: Runners, apply_pool: Callable[..., None]) -> None:
    apply_pool("lab", ["hpc"])
    assert runners.pods() == []
    (job,) = runners.gitlab.run_jobs(PROJECT, {"tags": ["hpc"], "script": ["echo the answer is $((6 * 7))"]})
    done = runners.wait_for_jobs([job])[job]
    assert (done["status"], done["claims"]) == ("success", 1)
    assert "the answer is 42" in done["trace"]
    runners.wait_until_empty()


def test_forty_jobs_over_two_pools_run_once_each(runners: Runners, apply_pool: Callable[..., None]) -> None:
    apply_pool("cpu", ["cpu"], max=8)
    apply_pool("gpu", ["gpu", "cuda"], max=6)
    jobs = [
        {"name": f"job {n}", "tags": ["cpu"] if n % 2 else ["gpu"], "script": [f"echo line-{n}-whole; sleep 1"]}
        for n in range(40)
    ]
    numbers = runners.gitlab.run_jobs(PROJECT, *jobs)
    done = runners.wait_for_jobs(numbers, 300)
    assert {(job["status"], job["claims"]) for job in done.values()} == {("success", 1)}
    for job in done.values():
        assert f"line-{job['name'].removeprefix('job ')}-whole" in job["trace"]
    runners.wait_until_empty()


def test_a_waiting_pod_starts_its_job_at_once(runners: Runners, apply_pool: Callable[..., None]) -> None:
    apply_pool("warm", ["warm"], min=1)
    runners.kubectl.wait_for(
        "a pod waits", lambda: runners.kubectl.get("rp", "warm")["status"].get("idle") == 1, SOON, runners.explain
    )
    (job,) = runners.gitlab.run_jobs(PROJECT, {"tags": ["warm"], "script": ["true"]})
    assert runners.wait_for_jobs([job])[job]["status"] == "success"


def test_a_pod_that_is_deleted_ends_its_job_first(runners: Runners, apply_pool: Callable[..., None]) -> None:
    apply_pool("lab", ["hpc"])
    (job,) = runners.gitlab.run_jobs(PROJECT, {"tags": ["hpc"], "script": ["sleep 5; echo to the end"]})
    runners.kubectl.wait_for("the job runs", lambda: runners.gitlab.jobs()[job]["status"] == "running", SOON)
    (pod,) = runners.pods()
    runners.kubectl.run("delete", "pod", pod["metadata"]["name"], "--wait=false")
    done = runners.wait_for_jobs([job])[job]
    assert (done["status"], "to the end" in done["trace"]) == ("success", True)
    runners.wait_until_empty()


def test_jobs_outlive_the_operator(runners: Runners, apply_pool: Callable[..., None]) -> None:
    apply_pool("lab", ["hpc"])
    jobs = runners.gitlab.run_jobs(PROJECT, *[{"tags": ["hpc"], "script": ["sleep 5; echo to the end"]}] * 3)

    def run() -> bool:
        return all(runners.gitlab.jobs()[job]["status"] == "running" for job in jobs)

    runners.kubectl.wait_for("the jobs run", run, SOON, runners.explain)
    kill_operator(runners)
    done = runners.wait_for_jobs(jobs)
    assert {(job["status"], job["claims"]) for job in done.values()} == {("success", 1)}
    runners.wait_until_empty()


def test_a_job_can_not_find_the_runners_token(runners: Runners, apply_pool: Callable[..., None]) -> None:
    """The log would have it masked, so the job counts what it finds; a planted token shows that it would find one."""
    apply_pool("lab", ["hpc"])
    token = "glrt[-][A-Za-z0-9_-]{8}"
    script = [
        "echo glr''t-planted-secret > /tmp/planted",
        f"echo files=$(grep -rlsaE '{token}' /etc /run /var /builds /tmp /home | sort | tr '\\n' ' ')",
        f"echo environments=$(cat /proc/[0-9]*/environ 2>/dev/null | grep -caE '{token}')",
        f"echo arguments=$(cat /proc/[0-9]*/cmdline 2>/dev/null | grep -caE '{token}')",
        "echo account=$(ls /var/run/secrets 2>/dev/null)",
    ]
    (job,) = runners.gitlab.run_jobs(PROJECT, {"tags": ["hpc"], "script": script})
    done = runners.wait_for_jobs([job])[job]
    found = dict(re.findall(r"O (files|environments|arguments|account)=(.*?)\s*$", done["trace"], re.MULTILINE))
    assert done["status"] == "success", done["trace"]
    assert found == {"files": "/tmp/planted", "environments": "0", "arguments": "0", "account": ""}
    runners.wait_until_empty()
