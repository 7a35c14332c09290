"""Runner pools on a real Kubernetes with GitLab's own runner; GitLab itself is the simulator."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from local_kubernetes.kubectl import KubectlError
from tests.support.disturbance import kill_operator
from tests.support.plan import explain_plan_refusal
from tests.support.runners import PROJECT, SOON, Runners, assert_whole_log, build_example, write_lines

pytestmark = pytest.mark.e2e
LINES = 400
"""Of the log of a job whose log is looked at."""


def test_the_example_is_taken(runners: Runners) -> None:
    assert runners.explain_refusal() == ""
    assert explain_plan_refusal(build_example()) == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"min": 21}, "min must not be greater than max"),
        ({"runner": {"tokenSecret": {"name": "given"}}}, "exactly one of tokenSecret and managed is required"),
        ({"runner": {"tags": []}}, "tags, or runUntagged: true, are required"),
        ({"gitlab": {"scope": {"type": "Instance", "path": "hpc"}}}, "path is required for a Group or Project"),
        ({"gitlab": {"scope": {"type": "Project"}}}, "path is required for a Group or Project"),
        ({"gitlab": {"apiTokenSecret": None}}, "gitlab.apiTokenSecret is required for runner.managed"),
        ({"gitlab": {"url": "gitlab.example.org"}}, "spec.gitlab.url"),
        ({"gitlab": {"url": "https://gitlab.example.org/?private_token=x"}}, "spec.gitlab.url"),
        ({"idleSeconds": -1}, "spec.idleSeconds"),
        ({"schedules": [{"name": "day", "start": "0 7 * * *", "durationSeconds": 60, "min": 21}]}, "greater than max"),
        (
            {"pod": {"labels": {"bessemer.dev/job": "7"}}},
            "names that begin with bessemer.dev/ are reserved for Bessemer",
        ),
        ({"runner": {"tags": ["hpc", "hpc"]}}, "spec.runner.tags[1]: Duplicate value"),
    ],
)
def test_a_bad_pool_is_refused_at_apply_naming_the_field(runners: Runners, changes: dict[str, Any], said: str) -> None:
    assert said in runners.explain_refusal(**changes)
    assert said in explain_plan_refusal(build_example(**changes))


def test_a_job_gets_a_pod_and_nothing_is_left_of_it(runners: Runners, apply_pool: Callable[..., None]) -> None:
    apply_pool("lab", ["hpc"])
    assert runners.pods() == []
    (job,) = runners.gitlab.run_jobs(PROJECT, {"tags": ["hpc"], "script": ["echo the answer is $((6 * 7))"]})
    done = runners.wait_for_jobs([job])[job]
    assert (done["status"], done["claims"]) == ("success", 1)
    assert "the answer is 42" in done["trace"]
    runners.wait_until_empty()


def test_forty_jobs_over_two_pools_run_once_each_with_whole_logs_and_leave_nothing(
    runners: Runners, apply_pool: Callable[..., None]
) -> None:
    apply_pool("cpu", ["cpu"], max=8)
    apply_pool("gpu", ["gpu", "cuda"], max=6)
    script = [write_lines(LINES // 2), "sleep 1", write_lines(LINES // 2, LINES // 2 + 1)]
    jobs = [{"name": f"job {n}", "tags": ["cpu"] if n % 2 else ["gpu"], "script": script} for n in range(40)]
    done = runners.wait_for_jobs(runners.gitlab.run_jobs(PROJECT, *jobs), 300)
    assert {(job["status"], job["claims"]) for job in done.values()} == {("success", 1)}
    assert {job["name"] for job in done.values()} == {f"job {n}" for n in range(40)}
    for job in done.values():
        assert_whole_log(job, LINES)
    runners.wait_until_empty()
    runners.delete_pools("cpu", "gpu")


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


def test_a_pool_that_is_deleted_says_that_it_is_draining_and_its_job_ends_first(
    runners: Runners, apply_pool: Callable[..., None]
) -> None:
    apply_pool("lab", ["hpc"])
    script = [write_lines(LINES // 2), "sleep 8", write_lines(LINES // 2, LINES // 2 + 1)]
    (job,) = runners.gitlab.run_jobs(PROJECT, {"tags": ["hpc"], "script": script})
    runners.kubectl.wait_for("the job runs", lambda: runners.gitlab.jobs()[job]["status"] == "running", SOON)
    runners.kubectl.run("delete", "rp", "lab", "--wait=false")

    def drains() -> dict[str, Any] | None:
        found = runners.find_condition("lab", "Draining")
        return found if found.get("status") == "True" else None

    condition = runners.kubectl.wait_for("the pool says so", drains, SOON, runners.explain)
    assert (condition["reason"], condition["message"]) == ("Deleted", "1 pod is left")
    assert runners.find_condition("lab", "Ready")["reason"] == "Deleting"
    assert runners.gitlab.jobs()[job]["status"] == "running"
    done = runners.wait_for_jobs([job])[job]
    assert (done["status"], done["claims"]) == ("success", 1)
    assert_whole_log(done, LINES)
    runners.kubectl.run("wait", "rp/lab", "--for=delete", f"--timeout={SOON}s", timeout=SOON + 10)
    assert runners.pods() == []
    runners.kubectl.run("wait", "secret/lab-runner", "--for=delete", f"--timeout={SOON}s", timeout=SOON + 10)
    assert [(runner["tags"], runner["managers"]) for runner in runners.gitlab.runners()] == [(["nothing"], [])]


def test_a_pool_can_be_scaled_and_shows_its_counts(runners: Runners, apply_pool: Callable[..., None]) -> None:
    apply_pool("lab", ["hpc"], max=3)
    runners.kubectl.run("scale", "rp", "lab", "--replicas=2")
    assert runners.kubectl.get("rp", "lab")["spec"]["min"] == 2

    def waiting() -> bool:
        status = runners.kubectl.get("rp", "lab")["status"]
        return (status["idle"], status["replicas"]) == (2, 2)

    runners.kubectl.wait_for("two pods wait", waiting, SOON, runners.explain)
    scale = runners.kubectl.get("rp", "lab", "--subresource=scale")
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (2, 2)
    selected = runners.kubectl.items("pods", "-l", scale["status"]["selector"])
    assert {pod["metadata"]["name"] for pod in selected} == {"lab-runner-0", "lab-runner-1"}
    header, row = (line.split() for line in runners.kubectl.run("get", "rp", "lab").splitlines())
    assert header == ["NAME", "READY", "MIN", "MAX", "PENDING", "STARTING", "RUNNING", "IDLE", "AGE"]
    assert row[:-1] == ["lab", "True", "2", "3", "0", "0", "0", "2"]
    with pytest.raises(KubectlError, match="min must not be greater than max"):
        runners.kubectl.run("scale", "rp", "lab", "--replicas=4")
    runners.kubectl.apply(runners.build_pool("lab", ["hpc"], max=3, idleSeconds=0, min=2))
    runners.kubectl.run("scale", "rp", "lab", "--replicas=0")
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


SCAN_MEMORY = r"""
foreach my $pid (map { m{(\d+)} } glob "/proc/[0-9]*") {
    next if $pid == $$ or $pid == getppid;
    open my $maps, "<", "/proc/$pid/maps" or next;
    open my $memory, "<:raw", "/proc/$pid/mem" or next;
    my ($name) = do { local @ARGV = "/proc/$pid/comm"; <> };
    while (<$maps>) {
        my ($from, $to) = /^(\w+)-(\w+) r/ or next;
        seek $memory, hex $from, 0 and read $memory, my $part, hex($to) - hex $from or next;
        print $name and last if $part =~ /glr[t]-[A-Za-z0-9_-]{8}/;
    }
}
"""
"""Names the processes whose memory has the token of a runner; the pattern itself is no token."""


def test_a_job_can_not_find_the_runners_token(runners: Runners, apply_pool: Callable[..., None]) -> None:
    """The log would have it masked, so the job counts what it finds; a planted token shows that it would find one."""
    apply_pool("lab", ["hpc"])
    token = "glrt[-][A-Za-z0-9_-]{8}"
    script = [
        "cp /usr/bin/perl /tmp/planted-one",
        "/tmp/planted-one -e 'sleep 60' glr''t-planted-secret & planted=$!",
        f"echo memories=$(perl -e '{SCAN_MEMORY}')",
        "kill $planted",
        "echo glr''t-planted-secret > /tmp/planted",
        f"echo files=$(grep -rlsaE '{token}' /etc /run /var /builds /tmp /home | sort | tr '\\n' ' ')",
        f"echo environments=$(cat /proc/[0-9]*/environ 2>/dev/null | grep -caE '{token}')",
        f"echo arguments=$(cat /proc/[0-9]*/cmdline 2>/dev/null | grep -caE '{token}')",
        "echo account=$(ls /var/run/secrets 2>/dev/null)",
    ]
    (job,) = runners.gitlab.run_jobs(PROJECT, {"tags": ["hpc"], "script": script})
    done = runners.wait_for_jobs([job])[job]
    says = r"O (memories|files|environments|arguments|account)=(.*?)\s*$"
    found = dict(re.findall(says, done["trace"], re.MULTILINE))
    assert done["status"] == "success", done["trace"]
    places = {"memories": "planted-one", "files": "/tmp/planted"}
    assert found == places | {"environments": "0", "arguments": "0", "account": ""}
    runners.wait_until_empty()
