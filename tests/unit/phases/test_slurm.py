"""Slurm's commands: what is sent, and what is read out of the answers."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from bessemer.clusterbuild.verification import SlurmJob
from bessemer.errors import Invalid
from bessemer.phases.machines import SshTarget
from bessemer.phases.slurm import SlurmFailed, SlurmNode, SshSlurm, build_submission, parse_job, parse_nodes
from bessemer.phases.ssh import CommandResult, Ssh

MANAGEMENT = SshTarget("oxygen1", "rack", "ssh-ed25519 A")
OXYGEN2 = SshTarget("oxygen2", "10.141.0.2", "ssh-ed25519 B", jump=MANAGEMENT)
JOB = SlurmJob(name="hostname", script="#!/bin/sh\nsrun hostname\n", time_limit_seconds=90)

# As Slurm 22.05 prints it, in one line.
SHOWN = (
    "JobId=7 JobName=bessemer-hostname UserId=root(0) GroupId=root(0) MCS_label=N/A Priority=4294901758 Nice=0 "
    "Account=(null) QOS=(null) JobState={state} Reason={reason} Dependency=(null) Requeue=0 Restarts=0 BatchFlag=1 "
    "Reboot=0 ExitCode={exit_code} RunTime=00:00:01 TimeLimit=00:02:00 TimeMin=N/A Partition=all "
    "ReqNodeList=oxygen[2-3] ExcNodeList=(null) NodeList={nodes} {batch} NumNodes=2 NumCPUs=2 NumTasks=2 "
    "Command=(null) WorkDir=/tmp StdErr=/tmp/bessemer-7.out StdIn=/dev/null StdOut=/tmp/bessemer-7.out Power=\n"
)


class FakeSsh(Ssh):
    """Answers commands by their first word."""

    def __init__(self, answers: Mapping[str, CommandResult]) -> None:
        self.answers = answers
        self.commands: list[tuple[str, str, bytes]] = []

    def probe(self, target: SshTarget, timeout_seconds: float) -> None:
        raise NotImplementedError

    def run(self, target: SshTarget, command: str, stdin: bytes = b"", timeout_seconds: float = 60) -> CommandResult:
        assert timeout_seconds > 0
        self.commands.append((target.name, command, stdin))
        return self.answers.get(command.split(maxsplit=1)[0], CommandResult(0, "", ""))

    def upload(self, target: SshTarget, content: bytes, path: str, mode: int = 0o644) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def slurm(**answers: CommandResult) -> tuple[SshSlurm, FakeSsh]:
    ssh = FakeSsh(answers)
    return SshSlurm(ssh, MANAGEMENT, {"oxygen2": OXYGEN2}), ssh


def test_a_node_of_two_partitions_is_one_node() -> None:
    nodes = parse_nodes("oxygen2|idle|none\noxygen2|idle|none\noxygen3|down*|Not responding\n")
    assert nodes == [SlurmNode("oxygen2", "idle"), SlurmNode("oxygen3", "down*", "Not responding")]


@pytest.mark.parametrize("state", ["idle", "mixed", "allocated", "completing", "idle-", "mixed+"])
def test_nodes_that_take_jobs_are_usable(state: str) -> None:
    assert SlurmNode("oxygen2", state).usable


@pytest.mark.parametrize("state", ["idle*", "down", "down*", "drained", "draining", "unknown*", "idle~", "planned"])
def test_nodes_that_take_no_jobs_are_not_usable(state: str) -> None:
    assert not SlurmNode("oxygen2", state).usable


@pytest.mark.parametrize(
    ("state", "busy", "withdrawn"),
    [
        ("allocated", True, False),
        ("draining", True, True),
        ("draining*", False, True),
        ("drained", False, True),
        ("down*", False, True),
        ("idle", False, False),
    ],
)
def test_a_node_is_busy_while_jobs_run_there(state: str, busy: bool, withdrawn: bool) -> None:
    node = SlurmNode("oxygen2", state)
    assert (node.busy, node.withdrawn) == (busy, withdrawn)


def test_a_running_job_is_read() -> None:
    shown = SHOWN.format(
        state="RUNNING", reason="None", exit_code="0:0", nodes="oxygen[2-3]", batch="BatchHost=oxygen2"
    )
    job = parse_job(shown)
    assert (job.state, job.nodes, job.batch_host, job.reason, job.final) == (
        "RUNNING",
        "oxygen[2-3]",
        "oxygen2",
        "",
        False,
    )


def test_a_waiting_job_says_why() -> None:
    job = parse_job(SHOWN.format(state="PENDING", reason="Resources", exit_code="0:0", nodes="(null)", batch=""))
    assert (job.nodes, job.batch_host, job.reason) == ("", "", "Resources")


def test_a_failed_job_has_its_exit_code() -> None:
    job = parse_job(
        SHOWN.format(
            state="FAILED", reason="NonZeroExitCode", exit_code="3:0", nodes="oxygen2", batch="BatchHost=oxygen2"
        )
    )
    assert (job.exit_code, job.signal, job.final) == (3, 0, True)


def test_a_job_that_a_signal_ended_tells_which() -> None:
    shown = SHOWN.format(
        state="FAILED", reason="JobLaunchFailure", exit_code="0:11", nodes="oxygen2", batch="BatchHost=oxygen2"
    )
    assert (parse_job(shown).exit_code, parse_job(shown).signal) == (0, 11)


def test_several_jobs_have_no_single_state() -> None:
    shown = SHOWN.format(state="COMPLETED", reason="None", exit_code="0:0", nodes="oxygen2", batch="BatchHost=oxygen2")
    with pytest.raises(Invalid, match=r"spec\.verify\.jobs\[hostname\]\.script"):
        parse_job(shown + shown.replace("COMPLETED", "RUNNING"))


@pytest.mark.parametrize("text", ["", "slurm_load_jobs error: Invalid job id specified", "JobState=RUNNING NodeList=a"])
def test_what_is_no_job_is_refused(text: str) -> None:
    with pytest.raises(SlurmFailed, match="scontrol"):
        parse_job(text)


def test_a_job_on_all_nodes_names_them_and_its_limit_is_rounded_up_to_minutes() -> None:
    command = build_submission(JOB, ["oxygen2", "oxygen3"])
    assert {"--nodes=2", "--nodelist=oxygen[2-3]", "--time=2", "--chdir=/tmp"} <= set(command)


def test_a_job_on_some_nodes_leaves_the_choice_to_slurm() -> None:
    command = build_submission(JOB.model_copy(update={"nodes": "1"}), ["oxygen2", "oxygen3"])
    assert "--nodes=1" in command
    assert not any(option.startswith("--nodelist") for option in command)


def test_submitting_ends_earlier_jobs_of_the_same_name_and_sends_the_script() -> None:
    door, ssh = slurm(sbatch=CommandResult(0, "12;oxygen\n", ""))
    assert door.submit(JOB, ["oxygen2", "oxygen3"]) == 12
    assert ssh.commands[0][1] == "scancel --quiet --name=bessemer-hostname"
    assert ssh.commands[1][2] == JOB.script.encode()
    assert {command[0] for command in ssh.commands} == {"oxygen1"}


def test_a_refused_job_says_what_slurm_said() -> None:
    door, _ = slurm(sbatch=CommandResult(1, "", "sbatch: error: Batch job submission failed:\n no nodes\n"))
    with pytest.raises(SlurmFailed, match="submission failed: no nodes"):
        door.submit(JOB, ["oxygen2"])


def test_an_answer_without_a_number_is_no_submission() -> None:
    door, _ = slurm(sbatch=CommandResult(0, "Welcome to oxygen\n", ""))
    with pytest.raises(SlurmFailed, match="Welcome"):
        door.submit(JOB, ["oxygen2"])


def test_output_is_read_on_the_node_where_it_lies_and_removed() -> None:
    door, ssh = slurm(tail=CommandResult(0, "oxygen2\n", ""))
    assert door.take_output(12, "oxygen2") == "oxygen2\n"
    host, command, _ = ssh.commands[0]
    assert host == "oxygen2"
    assert command.endswith("/tmp/bessemer-12.out && rm -f /tmp/bessemer-12.out")


def test_output_that_is_not_there_is_an_error() -> None:
    door, _ = slurm(tail=CommandResult(1, "", "tail: cannot open\n"))
    with pytest.raises(SlurmFailed, match="output of job 12 on oxygen2: exit code 1: tail: cannot open"):
        door.take_output(12, "oxygen2")


def test_output_on_a_foreign_node_is_not_looked_for() -> None:
    door, ssh = slurm()
    with pytest.raises(SlurmFailed, match="oxygen9"):
        door.take_output(12, "oxygen9")
    assert ssh.commands == []


def test_without_slurm_there_are_no_nodes() -> None:
    door, _ = slurm(command=CommandResult(127, "", ""))
    assert door.list_nodes() == []


def test_nodes_are_listed_with_their_reasons() -> None:
    door, _ = slurm(sinfo=CommandResult(0, "oxygen2|drained|bessemer: removed\n", ""))
    assert door.list_nodes() == [SlurmNode("oxygen2", "drained", "bessemer: removed")]


def test_a_reason_with_spaces_is_one_word_for_the_shell() -> None:
    door, ssh = slurm()
    door.drain(["oxygen2", "oxygen3"], "bessemer: removed")
    assert ssh.commands[0][1] == ("scontrol update 'NodeName=oxygen[2-3]' State=DRAIN 'Reason=bessemer: removed'")


def test_a_job_is_looked_at_and_cancelled_by_its_number() -> None:
    shown = SHOWN.format(state="COMPLETED", reason="None", exit_code="0:0", nodes="oxygen2", batch="BatchHost=oxygen2")
    door, ssh = slurm(scontrol=CommandResult(0, shown, ""))
    assert door.get_job(7).state == "COMPLETED"
    door.cancel(7)
    assert [command for _, command, _ in ssh.commands] == ["scontrol show job --oneliner 7", "scancel --quiet 7"]
