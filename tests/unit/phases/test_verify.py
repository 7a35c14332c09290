"""Verify: nodes must be in service in Slurm, and every job must keep what is expected of it."""

from __future__ import annotations

from typing import Any

import pytest

from bessemer.api.clusterbuild.verification import Expectation, SlurmJob
from bessemer.api.phase_contract import NodeGroup, NodeState, PhaseInput, PhaseName
from bessemer.errors import Invalid
from bessemer.machines.clock import Terminated
from bessemer.machines.slurm import JobState, JobUnknown, SlurmFailed, SlurmNode
from bessemer.phases import verify
from bessemer.phases.verify_job import find_problems, run_job, watch
from tests.fakes.slurm import FakeSlurm
from tests.unit.phases.cluster_fakes import FakeContext, VirtualClock, build_input, build_spec

HOSTS = ["oxygen2", "oxygen3"]
IDLE = [SlurmNode(host, "idle") for host in HOSTS]
NAMES = "oxygen2\noxygen3\n"
PENDING = JobState("PENDING", 0, "", "", "Resources")
RUNNING = JobState("RUNNING", 0, "oxygen[2-3]", "oxygen2")
COMPLETED = JobState("COMPLETED", 0, "oxygen[2-3]", "oxygen2")
FAILED = JobState("FAILED", 1, "oxygen[2-3]", "oxygen2", "NonZeroExitCode")
JOB = SlurmJob(name="hostname", script="#!/bin/sh\nsrun hostname\n", time_limit_seconds=60)


def verify_input(*jobs: dict[str, Any], min_ready: str = "100%", state: NodeState = NodeState.CONFIGURED) -> PhaseInput:
    changes: dict[str, Any] = {"verify": {"jobs": list(jobs)}} if jobs else {}
    spec = build_spec(2, compute={"minReady": min_ready}, **changes)
    return build_input(PhaseName.VERIFY, [("oxygen[2-3]", state, None)], spec=spec)


def test_nodes_are_ready_once_every_job_has_passed() -> None:
    slurm = FakeSlurm([IDLE], {"hostname": [PENDING, RUNNING, COMPLETED]}, NAMES)
    result = verify.run(verify_input(), FakeContext(slurm=slurm).as_context())
    assert result.succeeded
    assert result.nodes == [NodeGroup(hosts="oxygen[2-3]", state=NodeState.READY)]
    (job,) = result.jobs
    assert (job.passed, job.state, job.exit_code, job.nodes, job.job_id) == (True, "COMPLETED", 0, "oxygen[2-3]", 1)
    assert job.output_tail == NAMES


def test_a_failing_job_leaves_nodes_unproven_and_the_other_jobs_still_run() -> None:
    slurm = FakeSlurm([IDLE], {"first": [FAILED], "second": [COMPLETED]})
    jobs = [{"name": name, "script": "#!/bin/sh\n"} for name in ("first", "second")]
    result = verify.run(verify_input(*jobs), FakeContext(slurm=slurm).as_context())
    assert (result.succeeded, result.reason, result.retryable) == (False, "VerificationFailed", True)
    assert [job.passed for job in result.jobs] == [False, True]
    assert result.nodes == []
    assert "job first: its exit code is 1, not 0" in result.message


def test_nodes_may_take_a_while_to_register() -> None:
    half = [SlurmNode("oxygen2", "idle"), SlurmNode("oxygen3", "unknown*")]
    slurm = FakeSlurm([[], half, IDLE], {"hostname": [COMPLETED]}, NAMES)
    context = FakeContext(slurm=slurm)
    assert verify.run(verify_input(), context.as_context()).succeeded
    assert 0 < context.clock.now() < 10


def test_a_node_that_slurm_lacks_fails_and_the_jobs_run_on_the_others() -> None:
    late = SlurmNode("oxygen3", "down*", "Not responding")
    completed = JobState("COMPLETED", 0, "oxygen2", "oxygen2")
    slurm = FakeSlurm([[SlurmNode("oxygen2", "idle"), late]], {"hostname": [completed]}, NAMES)
    context = FakeContext(slurm=slurm)
    result = verify.run(verify_input(min_ready="50%"), context.as_context())
    assert result.succeeded
    assert slurm.submitted == [("hostname", ("oxygen2",))]
    failed = result.nodes[1]
    assert (failed.hosts, failed.reason) == ("oxygen3", "NotInSlurm")
    assert failed.message == "Slurm has it as down*: Not responding"
    assert 120 <= context.clock.now() <= 125


def test_too_few_nodes_in_slurm_fail_the_phase_without_a_job() -> None:
    slurm = FakeSlurm([[SlurmNode("oxygen2", "idle")]])
    result = verify.run(verify_input(), FakeContext(slurm=slurm).as_context())
    assert (result.succeeded, result.reason, result.retryable) == (False, "TooFewNodes", True)
    assert "oxygen3: Slurm doesn't know it" in result.message
    assert slurm.submitted == []
    assert [(group.hosts, group.reason) for group in result.nodes] == [
        ("oxygen3", "NotInSlurm")
    ]  # no job proved oxygen2


def test_only_configured_nodes_are_looked_for_but_missed_ones_again() -> None:
    phase_input = build_input(
        PhaseName.VERIFY,
        [
            ("oxygen2", NodeState.CONFIGURED, None),
            ("oxygen3", NodeState.FAILED, "NotInSlurm"),
            ("oxygen4", NodeState.FAILED, "NeverNetbooted"),
            ("oxygen5", NodeState.INSTALLED, None),
        ],
    )
    assert verify.select_configured(phase_input) == ["oxygen2", "oxygen3"]


def test_a_wrong_pattern_names_its_job_before_anything_runs() -> None:
    slurm = FakeSlurm([IDLE])
    job = {"name": "bad", "script": "#!/bin/sh\n", "expect": {"output": "("}}
    with pytest.raises(Invalid, match=r"spec\.verify\.jobs\[bad\]\.expect\.output"):
        verify.run(verify_input(job), FakeContext(slurm=slurm).as_context())
    assert slurm.submitted == []


def test_a_script_that_sbatch_would_not_take_names_its_job_before_anything_runs() -> None:
    slurm = FakeSlurm([IDLE])
    job = {"name": "bad", "script": "#!/bin/sh\r\ntrue\r\n"}
    with pytest.raises(Invalid, match=r"spec\.verify\.jobs\[bad\]\.script: it must have Unix line endings"):
        verify.run(verify_input(job), FakeContext(slurm=slurm).as_context())
    assert slurm.submitted == []


def test_nodes_that_others_have_planned_or_reserved_are_in_service() -> None:
    nodes = [SlurmNode("oxygen2", "planned"), SlurmNode("oxygen3", "reserved")]
    slurm = FakeSlurm([nodes], {"hostname": [COMPLETED]}, NAMES)
    assert verify.run(verify_input(), FakeContext(slurm=slurm).as_context()).succeeded


def test_a_job_that_slurm_has_forgotten_has_not_passed() -> None:
    class Forgetful(FakeSlurm):
        def get_job(self, job_id: int) -> JobState:
            raise JobUnknown(f"squeue: exit code 1: Invalid job id specified: {job_id}")

    result = run_job(Forgetful([IDLE], {"hostname": [COMPLETED]}, NAMES), VirtualClock(), JOB, HOSTS)
    assert (result.passed, result.state, result.exit_code) == (False, "UNKNOWN", None)
    assert (result.message or "").startswith("how it ended is not known: squeue")


def test_a_controller_that_starts_again_while_a_job_runs_only_delays() -> None:
    class Restarting(FakeSlurm):
        looks = 0

        def get_job(self, job_id: int) -> JobState:
            self.looks += 1
            if 2 <= self.looks <= 12:
                raise SlurmFailed("squeue: exit code 1: Unable to contact slurm controller")
            return super().get_job(job_id)

    assert run_job(Restarting([IDLE], {"hostname": [RUNNING, COMPLETED]}, NAMES), VirtualClock(), JOB, HOSTS).passed


def test_a_controller_that_stays_away_is_tried_again_as_a_whole() -> None:
    slurm, clock = FakeSlurm([IDLE], {"hostname": [RUNNING]}), VirtualClock()
    job_id = slurm.submit(JOB, HOSTS)
    slurm.failure = SlurmFailed("squeue: exit code 1: Unable to contact slurm controller")
    with pytest.raises(SlurmFailed):
        watch(slurm, clock, job_id, 600)
    assert 60 <= clock.now() < 70


def test_what_a_job_prints_is_shown_as_printable_text() -> None:
    output = "\x1b]0;pwned\x07\x1b[1moxygen2\x1b[0m\noxygen3\u2028\x00\n"
    slurm = FakeSlurm([IDLE], {"hostname": [COMPLETED]}, output)
    result = run_job(slurm, VirtualClock(), JOB.model_copy(update={"expect": Expectation(every_node=True)}), HOSTS)
    assert result.passed
    assert result.output_tail == "oxygen2\noxygen3 ?\n"


def test_a_job_for_more_nodes_than_are_ready_is_not_submitted() -> None:
    slurm = FakeSlurm()
    result = run_job(slurm, VirtualClock(), JOB.model_copy(update={"nodes": "3"}), HOSTS)
    assert (result.passed, result.state, result.message) == (False, "NOT_SUBMITTED", "it needs 3 nodes, 2 are ready")
    assert slurm.submitted == []


def test_a_refused_job_is_a_result() -> None:
    class Refusing(FakeSlurm):
        def submit(self, *_: object) -> int:
            raise SlurmFailed("sbatch: exit code 1: invalid partition")

    result = run_job(Refusing(), VirtualClock(), JOB, HOSTS)
    assert (result.passed, result.state) == (False, "NOT_SUBMITTED")
    assert "invalid partition" in result.message


def test_a_job_whose_output_cannot_be_read_has_not_passed() -> None:
    class Mute(FakeSlurm):
        def take_output(self, job_id: int, host: str) -> str:
            raise SlurmFailed(f"output of job {job_id} on {host}: no such file")

    result = run_job(Mute([IDLE], {"hostname": [COMPLETED]}), VirtualClock(), JOB, HOSTS)
    assert (result.passed, result.state, result.job_id) == (False, "COMPLETED", 1)
    assert "no such file" in result.message


def test_a_job_that_never_starts_is_ended_after_its_limit_and_says_what_it_waited_for() -> None:
    slurm, clock = FakeSlurm([IDLE], {"hostname": [PENDING]}), VirtualClock()
    result = run_job(slurm, clock, JOB, HOSTS)
    assert (result.passed, result.state) == (False, "CANCELLED")
    assert result.message == "waited in the queue longer than 60 s (timeLimitSeconds): Resources"
    assert slurm.cancelled == [1]
    assert 60 < clock.now() < 70


def test_time_in_the_queue_is_not_counted_as_run_time() -> None:
    slurm, clock = FakeSlurm([IDLE], {"hostname": [*[PENDING] * 15, *[RUNNING] * 15, COMPLETED]}), VirtualClock()
    assert run_job(slurm, clock, JOB, HOSTS).passed
    assert clock.now() > 60


def test_a_job_that_runs_too_long_is_ended() -> None:
    slurm, clock = FakeSlurm([IDLE], {"hostname": [RUNNING]}), VirtualClock()
    result = run_job(slurm, clock, JOB, HOSTS)
    assert (result.passed, slurm.cancelled) == (False, [1])
    assert result.message == "didn't end within 60 s (timeLimitSeconds)"


def test_a_job_that_slurm_cannot_end_is_given_up() -> None:
    class Stuck(FakeSlurm):
        def get_job(self, *_: object) -> JobState:
            return RUNNING

    slurm, clock = Stuck(), VirtualClock()
    found, late = watch(slurm, clock, 1, 60)
    assert (found.state, clock.now() < 130) == ("RUNNING", True)
    assert late


def test_a_pod_that_is_stopped_ends_its_job() -> None:
    slurm = FakeSlurm([IDLE], {"hostname": [RUNNING]})
    with pytest.raises(Terminated):
        run_job(slurm, VirtualClock(stop_at=5), JOB, HOSTS)
    assert slurm.cancelled == [1]


@pytest.mark.parametrize(
    ("expect", "found", "output", "problem"),
    [
        (Expectation(), COMPLETED, "", None),
        (Expectation(exit_code=1), FAILED, "", None),
        (Expectation(exit_code=3), FAILED, "", "its exit code is 1, not 3"),
        (Expectation(), JobState("TIMEOUT", 0, "oxygen2", "oxygen2", "TimeLimit", 15), "", "TIMEOUT: TimeLimit"),
        (Expectation(), JobState("FAILED", 0, "oxygen2", "oxygen2", "JobLaunchFailure", 9), "", "signal 9 ended it"),
        (Expectation(), JobState("NODE_FAIL", 0, "oxygen2", "oxygen2", "NodeDown"), "", "NODE_FAIL: NodeDown"),
        (Expectation(output="^pi=3"), COMPLETED, "start\npi=3.14\n", None),
        (Expectation(output="^pi=4"), COMPLETED, "start\npi=3.14\n", "doesn't match '^pi=4'"),
        (Expectation(every_node=True), COMPLETED, "oxygen3\noxygen2\n", None),
        (Expectation(every_node=True), COMPLETED, "oxygen3.cluster oxygen2.cluster", None),
        (Expectation(every_node=True), COMPLETED, "oxygen20 oxygen3", "misses oxygen2"),
        (Expectation(every_node=True), JobState("COMPLETED", 0, "", ""), "oxygen2", "misses all"),
        (Expectation(every_node=True), JobState("COMPLETED", 0, "oxygen[", ""), "oxygen2", "misses all"),
        (Expectation(every_node=True), JobState("COMPLETED", 0, "[1-3]", "1"), "took 1 2 3 seconds", "misses 1, 2, 3"),
        (Expectation(every_node=True), JobState("COMPLETED", 0, "[1-3]", "1"), "1\n3\n2\n", None),
    ],
)
def test_what_is_expected_of_a_job_is_compared(
    expect: Expectation, found: JobState, output: str, problem: str | None
) -> None:
    problems = list(find_problems(JOB.model_copy(update={"expect": expect}), found, output))
    if problem is None:
        assert problems == []
    else:
        assert len(problems) == 1
        assert problem in problems[0]


def test_the_end_of_a_long_output_is_kept() -> None:
    slurm = FakeSlurm([IDLE], {"hostname": [COMPLETED]}, "x" * 5000 + "\nthe end\n")
    result = run_job(slurm, VirtualClock(), JOB, HOSTS)
    assert len(result.output_tail) == 1024
    assert result.output_tail.endswith("the end\n")


def test_a_job_that_runs_when_the_phase_must_end_is_ended_and_the_next_is_not_begun() -> None:
    slurm = FakeSlurm([IDLE], {"first": [RUNNING], "second": [COMPLETED]})
    jobs = [{"name": name, "script": "#!/bin/sh\n", "timeLimitSeconds": 86400} for name in ("first", "second")]
    context = FakeContext(slurm=slurm)
    result = verify.run(verify_input(*jobs), context.as_context())
    assert (result.reason, result.retryable) == ("VerificationFailed", True)
    assert [(job.state, job.message) for job in result.jobs] == [
        ("CANCELLED", "had not ended when the phase's time was up (deadlines.phaseSeconds)"),
        ("NOT_SUBMITTED", "the phase's time was up (deadlines.phaseSeconds)"),
    ]
    assert context.clock.now() < 7200


class Uncancellable(FakeSlurm):
    """Slurm that can't end a job."""

    def cancel(self, job_id: int) -> None:
        raise SlurmFailed(f"scancel: exit code 1: job {job_id}")


def test_a_late_job_that_can_not_be_ended_is_late() -> None:
    result = run_job(Uncancellable([IDLE], {"hostname": [RUNNING]}), VirtualClock(), JOB, HOSTS)
    assert (result.passed, result.state) == (False, "RUNNING")
    assert result.message == "didn't end within 60 s (timeLimitSeconds)"


def test_a_pod_that_is_stopped_says_so_although_its_job_can_not_be_ended() -> None:
    with pytest.raises(Terminated):
        run_job(Uncancellable([IDLE], {"hostname": [RUNNING]}), VirtualClock(stop_at=5), JOB, HOSTS)
