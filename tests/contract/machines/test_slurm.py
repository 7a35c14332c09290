"""Every Slurm client behaves alike: the fake, and a real slurmctld with its nodes, reached over SSH.

How a job goes, the fake can't know; so each test tells it, and the real one has to go that way.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.api.clusterbuild.verification import Expectation, SlurmJob
from bessemer.errors import Invalid
from bessemer.machines.clock import Clock, SystemClock
from bessemer.machines.slurm import (
    OUTPUT_BYTES,
    JobState,
    JobUnknown,
    Slurm,
    SlurmFailed,
    SlurmNode,
    SshSlurm,
)
from bessemer.machines.slurm_submission import build_output_file
from bessemer.phases.verify_job import run_job
from tests.contract.machines.slurm_cluster import HOSTS, SlurmCluster, run_slurm
from tests.fakes.slurm import FakeSlurm
from tests.support.examples import examples
from tests.unit.phases.cluster_fakes import VirtualClock

IDLE = [SlurmNode(host, "idle") for host in HOSTS]
PENDING = JobState("PENDING", 0, "", "")
RUNNING = JobState("RUNNING", 0, "oxygen[2-3]", "oxygen2")
COMPLETED = JobState("COMPLETED", 0, "oxygen[2-3]", "oxygen2")
EXIT_3 = JobState("FAILED", 3, "oxygen[2-3]", "oxygen2", "NonZeroExitCode")
CANCELLED = JobState("CANCELLED", 0, "oxygen[2-3]", "oxygen2", signal=15)
SLEEP = "#!/bin/sh\necho started\nexec sleep 300\n"
WAIT_SECONDS = 60
"""For a job to come to a state; less than a second on an idle machine."""


@dataclass(frozen=True)
class Setup:
    """A Slurm with idle nodes oxygen2 and oxygen3."""

    slurm: Slurm
    clock: Clock
    expect: Callable[[str, Sequence[JobState], str], None]
    """Says how the jobs of a name will go, and what they will write."""
    stop: Callable[[], None]
    """Stops the controller."""
    start: Callable[[], None]
    without_slurm: Slurm
    """A client for a machine on which Slurm is not installed."""

    def submit(
        self, script: str, goes: Sequence[JobState], writes: str = "", hosts: Sequence[str] = HOSTS, **more: Any
    ) -> int:
        """Submit a job on hosts."""
        job = SlurmJob(script=script, **{"name": "some", **more})
        self.expect(job.name, goes, writes)
        return self.slurm.submit(job, hosts)

    def wait(self, job_id: int, wanted: Callable[[JobState], bool]) -> JobState:
        """Wait until a job is as wanted."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not wanted(found := self.slurm.get_job(job_id)):
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        return found

    def wait_for_end(self, job_id: int) -> JobState:
        return self.wait(job_id, lambda found: found.final)


def make_fake() -> Setup:
    fake = FakeSlurm([IDLE])

    def expect(name: str, goes: Sequence[JobState], writes: str) -> None:
        fake.jobs[name], fake.output = goes, writes

    unreachable = SlurmFailed("scontrol: exit code 1: Unable to contact slurm controller (connect failure)")
    return Setup(
        slurm=fake,
        clock=VirtualClock(),
        expect=expect,
        stop=lambda: setattr(fake, "failure", unreachable),
        start=lambda: setattr(fake, "failure", None),
        without_slurm=FakeSlurm(),
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    with run_slurm() as cluster:
        yield cluster


@pytest.fixture(params=["fake", "real"])
def setup(request: pytest.FixtureRequest) -> Iterator[Setup]:
    if request.param == "fake":
        yield make_fake()
        return
    cluster: SlurmCluster = request.getfixturevalue("cluster")
    cluster.clear()
    yield Setup(
        slurm=cluster.client(),
        clock=SystemClock(),
        expect=lambda *_: None,
        stop=cluster.stop,
        start=cluster.start,
        without_slurm=SshSlurm(cluster.ssh, cluster.boot_host, {}),
    )


def test_nodes_in_service_are_usable(setup: Setup) -> None:
    nodes = setup.slurm.list_nodes()
    assert nodes == IDLE
    assert all(node.usable for node in nodes)


def test_where_slurm_is_not_installed_there_are_no_nodes(setup: Setup) -> None:
    assert setup.without_slurm.list_nodes() == []


def test_a_job_runs_on_all_its_nodes_and_its_output_is_taken_once(setup: Setup) -> None:
    script = "#!/bin/sh\nsrun --label printenv SLURMD_NODENAME | sort\n"
    job = setup.submit(script, [PENDING, RUNNING, COMPLETED], "0: oxygen2\n1: oxygen3\n")
    assert setup.wait_for_end(job) == COMPLETED
    setup.slurm.cancel(job)
    assert setup.slurm.get_job(job) == COMPLETED
    assert setup.slurm.take_output(job, "oxygen2") == "0: oxygen2\n1: oxygen3\n"
    with pytest.raises(SlurmFailed, match=f"output of job {job} on oxygen2.*No such file"):
        setup.slurm.take_output(job, "oxygen2")


def test_a_job_that_exits_with_another_code_has_failed_with_it(setup: Setup) -> None:
    job = setup.submit("#!/bin/sh\necho out; echo oops >&2; exit 3\n", [PENDING, EXIT_3], "out\noops\n")
    assert setup.wait_for_end(job) == EXIT_3
    assert setup.slurm.take_output(job, "oxygen2") == "out\noops\n"


def test_a_job_that_a_signal_ended_has_not_passed(setup: Setup) -> None:
    job = SlurmJob(name="killed", script="#!/bin/sh\nkill -SEGV $$\n")
    setup.expect("killed", [JobState("FAILED", 0, "oxygen[2-3]", "oxygen2", "JobLaunchFailure", signal=11)], "")
    result = run_job(setup.slurm, setup.clock, job, HOSTS)
    assert (result.passed, result.state, result.exit_code) == (False, "FAILED", 0)
    assert result.message == "signal 11 ended it"


def test_a_running_job_is_cancelled(setup: Setup) -> None:
    job = setup.submit(SLEEP, [PENDING, RUNNING], "started\nslurmstepd: JOB CANCELLED\n")
    assert setup.wait(job, lambda found: found.state == "RUNNING") == RUNNING
    setup.slurm.cancel(job)
    assert setup.wait_for_end(job) == CANCELLED
    output = setup.slurm.take_output(job, "oxygen2")
    assert "CANCELLED" in output
    setup.slurm.cancel(job)
    assert setup.slurm.get_job(job) == CANCELLED


def test_a_job_whose_node_is_out_of_service_waits_and_says_for_what(setup: Setup) -> None:
    setup.slurm.drain(["oxygen3"], "bessemer: removed")
    waiting = JobState("PENDING", 0, "", "", "ReqNodeNotAvail, UnavailableNodes:oxygen3")
    job = setup.submit("#!/bin/sh\n", [PENDING, waiting])
    assert setup.wait(job, lambda found: found.reason not in ("", "Priority")) == waiting
    setup.slurm.cancel(job)
    found = setup.wait_for_end(job)
    assert (found.state, found.nodes, found.batch_host, found.signal) == ("CANCELLED", "", "", 0)


def test_a_job_that_never_starts_is_given_up(setup: Setup) -> None:
    setup.slurm.drain(["oxygen2"], "bessemer: removed")
    setup.expect("waiting", [JobState("PENDING", 0, "", "", "ReqNodeNotAvail, UnavailableNodes:oxygen2")], "")
    job = SlurmJob(name="waiting", script="#!/bin/sh\n", time_limit_seconds=1)
    result = run_job(setup.slurm, setup.clock, job, HOSTS)
    assert (result.passed, result.state, result.nodes) == (False, "CANCELLED", "")
    assert result.message.startswith("waited in the queue longer than 1 s (timeLimitSeconds): ReqNodeNotAvail")
    assert result.message.endswith(":oxygen2")


def test_a_job_that_runs_for_too_long_is_ended(setup: Setup) -> None:
    setup.expect("slow", [RUNNING], "started\n")
    result = run_job(setup.slurm, setup.clock, SlurmJob(name="slow", script=SLEEP, time_limit_seconds=1), HOSTS)
    assert (result.passed, result.state, result.message) == (
        False,
        "CANCELLED",
        "didn't end within 1 s (timeLimitSeconds)",
    )
    assert "started" in (result.output_tail or "")


def test_submitting_a_job_ends_the_earlier_one_of_its_name_only(setup: Setup) -> None:
    other = setup.submit(SLEEP, [JobState("RUNNING", 0, "oxygen3", "oxygen3")], hosts=["oxygen3"], name="other")
    first = setup.submit(SLEEP, [JobState("RUNNING", 0, "oxygen2", "oxygen2")], hosts=["oxygen2"])
    for job in (other, first):
        setup.wait(job, lambda found: found.state == "RUNNING")
    second = setup.submit("#!/bin/sh\n", [JobState("COMPLETED", 0, "oxygen2", "oxygen2")], hosts=["oxygen2"])
    assert second != first
    assert setup.wait_for_end(first).state == "CANCELLED"
    assert setup.wait_for_end(second).state == "COMPLETED"
    assert setup.slurm.get_job(other).state == "RUNNING"


def test_a_script_reaches_slurm_as_it_is_written(setup: Setup) -> None:
    text = """it's "quoted" $HOME `id` %j \\n ünï — end"""
    script = f"#!/bin/sh\n#SBATCH --output=/dev/null --job-name=other\ncat <<'EOF'\n{text}\nEOF\nprintf '%s' '\\'"
    job = setup.submit(script, [COMPLETED], f"{text}\n\\", name="0-" + "x" * 59 + "-9")
    assert setup.wait_for_end(job) == COMPLETED
    assert setup.slurm.take_output(job, "oxygen2") == f"{text}\n\\"


def test_of_a_long_output_the_end_is_read(setup: Setup) -> None:
    script = f"#!/bin/sh\nhead -c {OUTPUT_BYTES} /dev/zero | tr '\\0' x\necho; echo ünï the end\n"
    job = setup.submit(script, [COMPLETED], "x" * OUTPUT_BYTES + "\nünï the end\n")
    setup.wait_for_end(job)
    output = setup.slurm.take_output(job, "oxygen2")
    assert len(output.encode()) == OUTPUT_BYTES
    assert output.endswith("x\nünï the end\n")


def test_an_expectation_is_compared_with_what_a_job_wrote(setup: Setup) -> None:
    job = SlurmJob(
        name="pi",
        script="#!/bin/sh\nsrun printenv SLURMD_NODENAME; echo pi=3.14; exit 3\n",
        expect=Expectation(exit_code=3, output="^pi=3", every_node=True),
    )
    setup.expect("pi", [PENDING, RUNNING, EXIT_3], "oxygen2\noxygen3\npi=3.14\n")
    assert run_job(setup.slurm, setup.clock, job, HOSTS).passed


def test_a_job_that_slurm_does_not_know_is_an_error_but_ending_it_is_none(setup: Setup) -> None:
    with pytest.raises(SlurmFailed, match="Invalid job id"):
        setup.slurm.get_job(99999)
    with pytest.raises(SlurmFailed, match="No such file"):
        setup.slurm.take_output(99999, "oxygen2")
    setup.slurm.cancel(99999)


@pytest.mark.parametrize(
    ("script", "hosts", "complaint"),
    [
        ("#!/bin/sh\n", ["oxygen2", "oxygen9"], "Invalid node name"),
        ("echo hello\n", HOSTS, "does not look like a batch script"),
        ("#!/bin/sh\r\ntrue\r\n", HOSTS, "DOS line breaks"),
    ],
)
def test_a_job_that_slurm_does_not_take_says_why(
    setup: Setup, script: str, hosts: Sequence[str], complaint: str
) -> None:
    with pytest.raises(SlurmFailed, match=complaint):
        setup.submit(script, [PENDING], hosts=hosts)


def test_a_script_that_asks_for_several_jobs_is_the_users_to_mend_and_they_are_ended(setup: Setup) -> None:
    setup.expect("several", [PENDING, RUNNING], "")
    job = SlurmJob(name="several", script="#!/bin/sh\n#SBATCH --array=1-2\nsleep 300\n", nodes="1")
    with pytest.raises(Invalid, match=r"spec\.verify\.jobs\[several\]\.script: it must be one job") as caught:
        run_job(setup.slurm, setup.clock, job, HOSTS)
    assert caught.value.reason == "InvalidJob"
    other = setup.submit("#!/bin/sh\n", [COMPLETED])
    assert setup.wait_for_end(other) == COMPLETED


FREE_TEXTS = [
    "see JobState=FAILED ExitCode=9:0",
    "JobState=COMPLETED ExitCode=0:0 Reason=None",
    "one|COMPLETED|0|oxygen2|oxygen2|None|",
    "two\u2028lines",
    "a\x0cb\x0bc\x1cd\x85e",
    "a\nJobId=7 JobState=COMPLETED ExitCode=0:0\n",
]
TEXTS = st.one_of(st.sampled_from(FREE_TEXTS), st.text(st.characters(blacklist_categories=["Cs"], min_codepoint=1)))


def wait_for_end(slurm: Slurm, job: int) -> JobState:
    deadline = time.monotonic() + WAIT_SECONDS
    while not (found := slurm.get_job(job)).final:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


@pytest.mark.parametrize("text", FREE_TEXTS)
@pytest.mark.parametrize(("code", "state"), [(0, COMPLETED), (3, EXIT_3)])
def test_what_users_write_is_never_read_as_the_state_of_a_job(
    cluster: SlurmCluster, text: str, code: int, state: JobState
) -> None:
    cluster.clear()
    slurm = cluster.client()
    job = slurm.submit(SlurmJob(name="told", script=f"#!/bin/sh\n#SBATCH --hold\nexit {code}\n"), HOSTS)
    for field in ("Comment", "AdminComment", "JobName"):
        cluster.run(shlex.join(["scontrol", "update", f"JobId={job}", f"{field}={text}"]))
    cluster.run(f"scontrol release {job}")
    assert wait_for_end(slurm, job) == state


def test_no_text_makes_a_waiting_job_or_a_drained_node_another(cluster: SlurmCluster) -> None:
    cluster.clear()
    slurm = cluster.client()
    job = slurm.submit(SlurmJob(name="held", script="#!/bin/sh\n#SBATCH --hold\n"), HOSTS)
    slurm.drain(["oxygen3"], "some")

    @settings(max_examples=examples(40), deadline=None)
    @given(text=TEXTS)
    def check(text: str) -> None:
        cluster.run(shlex.join(["scontrol", "update", f"JobId={job}", f"Comment={text}", f"AdminComment={text}"]))
        assert slurm.get_job(job) == JobState("PENDING", 0, "", "", "JobHeldUser")
        slurm.drain(["oxygen3"], text or "-")
        nodes = slurm.list_nodes()
        assert [(node.host, node.state) for node in nodes] == [("oxygen2", "idle"), ("oxygen3", "drained")]
        assert all(node.reason.isprintable() for node in nodes)

    check()


def test_a_job_that_slurm_has_forgotten_is_not_known(cluster: SlurmCluster) -> None:
    with pytest.raises(JobUnknown, match="Invalid job id"):
        cluster.client().get_job(99999)


def test_nodes_that_are_planned_or_reserved_are_in_service(cluster: SlurmCluster) -> None:
    """As on a busy cluster: a job waits for both nodes, one of which runs another; then one is under maintenance."""
    cluster.clear()
    slurm = cluster.client()
    slurm.submit(SlurmJob(name="first", script=SLEEP), ["oxygen2"])
    slurm.submit(SlurmJob(name="second", script=SLEEP), HOSTS)
    cluster.run("scontrol create reservation starttime=now duration=5 user=root nodes=oxygen3 flags=maint,ignore_jobs")
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        while (states := {node.state for node in slurm.list_nodes()}) != {"allocated", "maint"}:
            assert time.monotonic() < deadline, states
            time.sleep(0.1)
        assert all(node.usable for node in slurm.list_nodes())
    finally:
        cluster.run(
            "for r in $(scontrol show res -o | sed 's/ReservationName=//; s/ .*//'); do scontrol delete res=$r; done"
        )


def test_output_is_a_file_of_a_folder_that_users_cannot_write_to(cluster: SlurmCluster) -> None:
    cluster.clear()
    slurm = cluster.client()
    job = slurm.submit(SlurmJob(name="where", script="#!/bin/sh\npwd\n"), HOSTS)
    wait_for_end(slurm, job)
    file = build_output_file(str(job))
    assert cluster.run("stat -c '%U %A' /root").split() == ["root", "drwx------"]
    assert "bessemer" not in cluster.run("ls -a /tmp")
    cluster.run(f"mv {file} {file}.kept; ln -s /etc/shadow {file}")
    with pytest.raises(SlurmFailed, match="No such file"):
        slurm.take_output(job, "oxygen2")
    cluster.run(f"mv {file}.kept {file}")
    assert slurm.take_output(job, "oxygen2") == "/root\n"


def test_jobs_of_other_users_with_the_name_of_our_job_are_left_alone(cluster: SlurmCluster) -> None:
    cluster.clear()
    submit = "cd / && setpriv --reuid=65534 --regid=65534 --clear-groups sbatch --parsable --output=/dev/null"
    theirs = int(cluster.run(f"{submit} --job-name=bessemer-hostname --hold --wrap true"))
    slurm = cluster.client()
    slurm.submit(SlurmJob(name="hostname", script="#!/bin/sh\n"), HOSTS)
    assert slurm.get_job(theirs).state == "PENDING"
    slurm.cancel(theirs)


def test_a_drained_node_takes_no_jobs_and_says_why(setup: Setup) -> None:
    reason = """bessemer: it's "out" of $order"""
    setup.slurm.drain(["oxygen3"], reason)
    nodes = {node.host: node for node in setup.slurm.list_nodes()}
    assert nodes["oxygen2"].usable
    assert nodes["oxygen3"] == SlurmNode("oxygen3", "drained", reason)
    assert (nodes["oxygen3"].usable, nodes["oxygen3"].withdrawn, nodes["oxygen3"].busy) == (False, True, False)
    with pytest.raises(SlurmFailed, match="Invalid node name"):
        setup.slurm.drain(["oxygen2", "oxygen9"], reason)


def test_a_node_that_is_drained_is_busy_until_its_jobs_have_ended(setup: Setup) -> None:
    if isinstance(setup.slurm, FakeSlurm):
        setup.slurm.nodes = [[SlurmNode("oxygen2", "allocated")], [SlurmNode("oxygen2", "idle")]]
    job = setup.submit(SLEEP, [JobState("RUNNING", 0, "oxygen2", "oxygen2")], hosts=["oxygen2"])
    setup.wait(job, lambda found: found.state == "RUNNING")
    setup.slurm.drain(["oxygen2"], "bessemer: removed")
    node = setup.slurm.list_nodes()[0]
    assert (node.state, node.busy, node.usable, node.withdrawn) == ("draining", True, False, True)
    setup.slurm.cancel(job)
    setup.wait_for_end(job)
    node = setup.slurm.list_nodes()[0]
    assert (node.state, node.busy, node.usable, node.withdrawn) == ("drained", False, False, True)


def test_a_controller_that_is_gone_is_an_error_of_every_call(setup: Setup) -> None:
    job = setup.submit("#!/bin/sh\n", [COMPLETED])
    setup.wait_for_end(job)
    calls: list[Callable[[], object]] = [
        setup.slurm.list_nodes,
        lambda: setup.submit("#!/bin/sh\n", [COMPLETED]),
        lambda: setup.slurm.get_job(job),
        lambda: setup.slurm.cancel(job),
        lambda: setup.slurm.drain(["oxygen2"], "some"),
    ]
    setup.stop()
    try:
        for call in calls:
            with pytest.raises(SlurmFailed, match="Unable to contact slurm controller"):
                call()
    finally:
        setup.start()
    assert setup.slurm.get_job(job) == COMPLETED
