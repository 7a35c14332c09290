"""Where jobs, tokens and webhooks of runner pools come from, on a real Kubernetes; GitLab itself is the simulator."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import pytest

from local_kubernetes.kubectl import KubectlError, Resource
from tests.support.gitlab_pod import build_url
from tests.support.runners import PROJECT, SOON, Runners

pytestmark = pytest.mark.e2e
ELSEWHERE = "physics/tools"


@pytest.fixture
def given_runner(runners: Runners) -> Iterator[Callable[..., str]]:
    """Return what creates runners by hand, each for jobs of its tag, and gives their tokens; they go with the test."""
    made: list[int] = []

    def create(tag: str) -> str:
        (job,) = runners.gitlab.run_jobs(PROJECT, {"when": "manual"})
        project = runners.gitlab.jobs()[job]["project_id"]
        fields = {"runner_type": "project_type", "project_id": project, "tag_list": [tag], "run_untagged": False}
        created = runners.gitlab.create_runner(runners.access_token, **fields)
        made.append(created["id"])
        return str(created["token"])

    yield create
    for number in made:
        runners.gitlab.delete_runner(runners.access_token, number)


@pytest.fixture
def apply_given_pool(
    runners: Runners, apply_pool: Callable[..., None], given_runner: Callable[..., str]
) -> Iterator[Callable[..., str]]:
    """Return what applies a pool with a runner that is given, and gives its token; the pool goes before its runner.

    ``apply_pool`` is asked for first, as it looks at what is left when all else is over.
    """

    def apply(name: str, **spec: Any) -> str:
        token = given_runner(name)
        runners.apply_secret(name, token)
        apply_pool(name, [name], **{"runner": {"tokenSecret": {"name": name}, "tags": [name]}, **spec})
        return token

    yield apply
    for name in runners.made:
        runners.kubectl.run("delete", "runnerpool", name, "--ignore-not-found", timeout=120)


def read_config(runners: Runners, pool: str) -> str:
    """Return what the pool's runners are told."""
    secret = runners.kubectl.get("secret", f"{pool}-runner")
    return base64.b64decode(secret["data"]["config.toml"]).decode()


def source(path: str | None, **fields: Any) -> Resource:
    """Return a source of jobs: a group, or the whole instance."""
    scope = {"type": "Group", "path": path} if path else {"type": "Instance"}
    return {"url": build_url("runners"), "scope": scope, "pollSeconds": 10, **fields}


def test_a_token_is_rotated_while_a_job_runs(runners: Runners, apply_given_pool: Callable[..., str]) -> None:
    old = apply_given_pool("given")
    (first,) = runners.gitlab.run_jobs(PROJECT, {"tags": ["given"], "script": ["sleep 8; echo to the end"]})
    runners.kubectl.wait_for("the job runs", lambda: runners.gitlab.jobs()[first]["status"] == "running", SOON)
    new = runners.gitlab.reset_runner_token(old)
    runners.apply_secret("given", new)
    began = monotonic()
    runners.kubectl.wait_for("the new token is in use", lambda: new in read_config(runners, "given"), 10)
    assert monotonic() - began < 4, "Secrets are not watched"
    (second,) = runners.gitlab.run_jobs(PROJECT, {"tags": ["given"], "script": ["true"]})
    done = runners.wait_for_jobs([first, second])
    assert [(done[job]["status"], done[job]["claims"]) for job in (first, second)] == [("success", 1)] * 2
    assert "to the end" in done[first]["trace"]


def test_nothing_but_a_runners_token_is_enough_for_runners_that_ask_for_themselves(
    runners: Runners, apply_given_pool: Callable[..., str]
) -> None:
    scope = {"type": "Project", "path": PROJECT}
    apply_given_pool("blind", gitlab={"url": build_url("runners"), "scope": scope}, min=1)
    condition = runners.find_condition("blind", "DemandKnown")
    assert (condition["status"], "spec.gitlab.apiTokenSecret" in condition["message"]) == ("False", True)
    (job,) = runners.gitlab.run_jobs(PROJECT, {"tags": ["blind"], "script": ["true"]})
    assert runners.wait_for_jobs([job])[job]["status"] == "success"


def test_a_pool_of_a_group_takes_jobs_of_projects_below_it(runners: Runners, apply_pool: Callable[..., None]) -> None:
    deep = "hpc/climate/ocean"
    runners.gitlab.seed(projects=[{"path": deep}, {"path": ELSEWHERE}])
    apply_pool("group", ["group"], gitlab=source("hpc", apiTokenSecret={"name": "gitlab"}))
    (theirs,) = runners.gitlab.run_jobs(ELSEWHERE, {"tags": ["group"]})
    (job,) = runners.gitlab.run_jobs(deep, {"tags": ["group"], "script": ["echo from below"]})
    done = runners.wait_for_jobs([job])[job]
    assert (done["status"], "from below" in done["trace"]) == ("success", True)
    assert runners.gitlab.jobs()[theirs]["status"] == "pending"
    runners.wait_until_empty()


def test_a_pool_of_the_instance_takes_jobs_of_every_project(runners: Runners, apply_pool: Callable[..., None]) -> None:
    tokens = runners.gitlab.seed(
        projects=[{"path": f"{ELSEWHERE}-2"}],
        users=[{"username": "root", "admin": True}],
        tokens=[{"user": "root", "name": "root", "scopes": ["api", "create_runner", "manage_runner"]}],
    )
    runners.apply_secret("root", tokens["root"])
    apply_pool("instance", ["instance"], gitlab=source(None, apiTokenSecret={"name": "root"}))
    jobs = [
        runners.gitlab.run_jobs(project, {"tags": ["instance"], "script": ["true"]})[0]
        for project in (PROJECT, f"{ELSEWHERE}-2")
    ]
    assert {job["status"] for job in runners.wait_for_jobs(jobs).values()} == {"success"}
    runners.wait_until_empty()


TINYPROXY = "Port 8888\nListen 0.0.0.0\nMaxClients 100\nTimeout 600\nLogLevel Info\n"


@pytest.fixture
def proxy(runners: Runners) -> Iterator[str]:
    """Return the address of a real HTTP proxy in a pod, whose log says what went through it."""
    container = {
        "name": "proxy",
        "image": runners.image,
        "imagePullPolicy": "Never",
        "command": [
            "bash",
            "-c",
            'echo "$CONFIGURATION" > /tmp/tinyproxy.conf; exec tinyproxy -d -c /tmp/tinyproxy.conf',
        ],
        "env": [{"name": "CONFIGURATION", "value": TINYPROXY}],
    }
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    runners.kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "proxy"}, "spec": spec})
    runners.kubectl.wait_for("the proxy listens", lambda: "Starting main loop" in read_proxy_log(runners), SOON)
    yield f"http://{runners.kubectl.get('pod', 'proxy')['status']['podIP']}:8888"
    runners.kubectl.run("delete", "pod", "proxy", "--ignore-not-found")


def read_proxy_log(runners: Runners) -> str:
    """Return what the proxy has written, nothing while it does not run."""
    try:
        return runners.kubectl.run("logs", "proxy")
    except KubectlError:
        return ""


def test_runners_and_jobs_use_the_proxy_but_for_what_is_reached_directly(
    runners: Runners, proxy: str, apply_pool: Callable[..., None]
) -> None:
    script = ["echo asked by ${http_proxy:-none}, ${HTTP_PROXY:-none}, without ${no_proxy:-none}"]
    apply_pool("direct", ["direct"], proxy={"http": proxy, "none": [".svc", "10.0.0.0/8"]})
    (job,) = runners.gitlab.run_jobs(PROJECT, {"tags": ["direct"], "script": script})
    trace = runners.wait_for_jobs([job])[job]["trace"]
    assert f"asked by {proxy}, {proxy}, without .svc,10.0.0.0/8" in trace
    assert "jobs/request" not in read_proxy_log(runners)
    apply_pool("proxied", ["proxied"], proxy={"http": proxy})
    (job,) = runners.gitlab.run_jobs(PROJECT, {"tags": ["proxied"], "script": script})
    done = runners.wait_for_jobs([job])[job]
    assert (done["status"], f"asked by {proxy}, {proxy}, without none" in done["trace"]) == ("success", True)
    asked = [
        line for line in read_proxy_log(runners).splitlines() if "POST" in line or "PATCH" in line or "PUT" in line
    ]
    for part in ("/api/v4/jobs/request", f"/api/v4/jobs/{job}/trace", f"/api/v4/jobs/{job} "):
        assert any(part in line for line in asked), f"{part} did not go through the proxy: {asked}"
    runners.wait_until_empty()


@pytest.fixture
def standby(runners: Runners) -> Iterator[str]:
    """Return the address of a replica of the operator that stands by."""
    runners.system.run("scale", "deployment/bessemer", "--replicas=2")
    runners.system.run("rollout", "status", "deployment/bessemer", f"--timeout={SOON}s", timeout=SOON + 10)
    leader = runners.system.get("lease", "bessemer-operator")["spec"]["holderIdentity"]
    pods = runners.system.items("pods", "-l", "app.kubernetes.io/name=bessemer")
    (address,) = [pod["status"]["podIP"] for pod in pods if pod["metadata"]["name"] != leader]
    yield address
    runners.system.run("scale", "deployment/bessemer", "--replicas=1")


def test_a_webhook_that_reaches_a_replica_that_stands_by_is_heard(
    runners: Runners, standby: str, apply_pool: Callable[..., None]
) -> None:
    """Jobs would be found by the poll after an hour at the latest; unknown senders are refused there as well."""
    project = "hpc/standby"
    runners.gitlab.seed(projects=[{"path": project}])
    scope = {"type": "Project", "path": project}
    secrets = {"apiTokenSecret": {"name": "gitlab"}, "webhookSecret": {"name": "webhook"}}
    gitlab = {"url": build_url("runners"), "scope": scope, "pollSeconds": 3600, **secrets}
    apply_pool("standby", ["standby"], gitlab=gitlab)
    url = f"http://{standby}:8080/v1/gitlab/{runners.kubectl.namespace}/standby"
    runners.gitlab.add_hook(project=project, url=url, token="webhook-secret")
    runners.gitlab.add_hook(project=project, url=url, token="a stranger's")
    (job,) = runners.gitlab.run_jobs(project, {"tags": ["standby"], "script": ["true"]})
    assert runners.wait_for_jobs([job])[job]["status"] == "success"
    statuses = [one["status"] for one in runners.gitlab.deliveries()]
    assert 204 in statuses
    assert 401 in statuses
    runners.wait_until_empty()


def test_a_runner_of_the_pools_own_moves_with_its_scope_and_goes_for_a_given_one(
    runners: Runners, apply_pool: Callable[..., None], given_runner: Callable[..., str]
) -> None:
    def list_own() -> list[Resource]:
        return [runner for runner in runners.gitlab.runners() if runner["tags"] in (["mover"], ["mover", "moved"])]

    below = "hpc/climate/ice"
    runners.gitlab.seed(projects=[{"path": below}])
    apply_pool("mover", ["mover"])
    (before,) = list_own()
    (running,) = runners.gitlab.run_jobs(PROJECT, {"tags": ["mover"], "script": ["sleep 10; echo to the end"]})
    runners.kubectl.wait_for("the job runs", lambda: runners.gitlab.jobs()[running]["status"] == "running", SOON)

    apply_pool("mover", ["mover"], gitlab=source("hpc", apiTokenSecret={"name": "gitlab"}))
    (after,) = runners.kubectl.wait_for("another runner", lambda: [r for r in list_own() if r != before], SOON)
    assert after["id"] != before["id"]
    assert len(list_own()) == 1
    (elsewhere,) = runners.gitlab.run_jobs(below, {"tags": ["mover"], "script": ["true"]})
    done = runners.wait_for_jobs([running, elsewhere])
    assert [(done[job]["status"], done[job]["claims"]) for job in (running, elsewhere)] == [("success", 1)] * 2
    assert "to the end" in done[running]["trace"]

    runners.apply_secret("mover", given_runner("given-instead"))
    given = {"tokenSecret": {"name": "mover"}, "managed": None, "tags": ["given-instead"]}
    runners.kubectl.run(
        "patch", "runnerpool", "mover", "--type=merge", "--patch", json.dumps({"spec": {"runner": given}})
    )
    runners.kubectl.wait_for("its own runner is gone", lambda: list_own() == [], SOON)
    runners.wait_until_ready("mover")
    assert runners.kubectl.run("get", "events", "--field-selector=reason=RunnerLeft", "--output=name") == ""
    runners.kubectl.run("delete", "runnerpool", "mover", timeout=SOON)
