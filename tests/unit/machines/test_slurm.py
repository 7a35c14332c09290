"""Slurm's commands: what is sent, and what is read out of the answers."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.api.clusterbuild.verification import SlurmJob
from bessemer.errors import Invalid
from bessemer.machines.machine import SshTarget
from bessemer.machines.slurm import (
    JobState,
    JobUnknown,
    SlurmFailed,
    SlurmNode,
    SshSlurm,
    parse_job,
    parse_nodes,
)
from bessemer.machines.slurm_submission import build_submission
from bessemer.machines.ssh import CommandResult, Ssh

MANAGEMENT = SshTarget("oxygen1", "rack", "ssh-ed25519 A")
OXYGEN2 = SshTarget("oxygen2", "10.141.0.2", "ssh-ed25519 B", jump=MANAGEMENT)
JOB = SlurmJob(name="hostname", script="#!/bin/sh\nsrun hostname\n", time_limit_seconds=90)

MARK = "3f"


def show(state: str, **fields: str) -> str:
    """What Slurm 22.05 prints of a job: fields padded to their widths, each with a bar behind it."""
    values = {"id": "7", "state": state, "status": "0", "batch": "n/a", "nodes": "", "reason": "None"} | fields
    return "".join(f"{value:<40}|" for value in values.values()) + MARK + "\n"


def read(text: str) -> JobState:
    return parse_job(text, MARK, 7, "hostname")


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


def list_lines(*records: str) -> str:
    return "".join(f"{record}{MARK}\n" for record in records)


def test_a_node_of_two_partitions_is_one_node() -> None:
    nodes = parse_nodes(list_lines("oxygen2|idle|none", "oxygen2|idle|none", "oxygen3|down*|Not responding"), MARK)
    assert nodes == [SlurmNode("oxygen2", "idle"), SlurmNode("oxygen3", "down*", "Not responding")]


@given(st.text(max_size=80).filter(lambda reason: MARK not in reason))
def test_no_reason_of_a_node_is_taken_for_another_node(reason: str) -> None:
    nodes = parse_nodes(list_lines(f"oxygen2|drained|{reason}\noxygen3|idle|none", "oxygen3|down|x"), MARK)
    assert [(node.host, node.state) for node in nodes] == [("oxygen2", "drained"), ("oxygen3", "down")]
    assert nodes[0].reason.isprintable()


@given(st.text(max_size=200))
def test_whatever_slurm_says_is_a_state_or_an_error(text: str) -> None:
    with contextlib.suppress(SlurmFailed):
        parse_nodes(text, MARK)
    for said in (text, show("RUNNING", reason=text), show("COMPLETED", id=text)):
        with contextlib.suppress(SlurmFailed, Invalid):
            state = read(said)
            assert state.state in ("RUNNING", "COMPLETED")
            assert state.reason.isprintable()


@pytest.mark.parametrize(
    "state", ["idle", "mixed", "allocated", "completing", "idle-", "mixed+", "planned", "reserved", "maint", "idle$"]
)
def test_nodes_that_take_jobs_are_usable(state: str) -> None:
    assert SlurmNode("oxygen2", state).usable


@pytest.mark.parametrize(
    "state",
    ["idle*", "down", "down*", "drained", "draining", "unknown*", "idle~", "planned*", "maint*", "inval", "reboot^"],
)
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
    job = read(show("RUNNING", nodes="oxygen[2-3]", batch="oxygen2"))
    assert job == JobState("RUNNING", 0, "oxygen[2-3]", "oxygen2")
    assert not job.final


def test_a_waiting_job_says_why() -> None:
    job = read(show("PENDING", reason="ReqNodeNotAvail, UnavailableNodes:oxygen3"))
    assert job == JobState("PENDING", 0, "", "", "ReqNodeNotAvail, UnavailableNodes:oxygen3")


@pytest.mark.parametrize(
    ("status", "exit_code", "signal"), [("768", 3, 0), ("11", 0, 11), ("139", 0, 11), ("3:0", 3, 0), ("0:9", 0, 9)]
)
def test_an_ended_job_has_its_exit_code_and_signal(status: str, exit_code: int, signal: int) -> None:
    job = read(show("FAILED", status=status, nodes="oxygen2", batch="oxygen2"))
    assert (job.exit_code, job.signal, job.final) == (exit_code, signal, True)


@pytest.mark.parametrize(
    "shown", [show("COMPLETED") + show("RUNNING", id="8"), show("PENDING", id="7_[1-2]"), show("RUNNING", id="7_1")]
)
def test_several_jobs_have_no_single_state(shown: str) -> None:
    with pytest.raises(Invalid, match=r"spec\.verify\.jobs\[hostname\]\.script"):
        read(shown)


def test_a_job_of_which_slurm_says_nothing_is_not_known() -> None:
    with pytest.raises(JobUnknown):
        read("")


@pytest.mark.parametrize(
    "text",
    [
        "slurm_load_jobs error: Invalid job id specified",
        "JobState=RUNNING NodeList=a",
        show("RUNNING").replace("|", ""),
        show("RUNNING", id="8"),
        show("running"),
        show("FAILED", status="x"),
        show("FAILED", status="-1"),
        show(""),
        "Welcome\n" + show("COMPLETED"),
    ],
)
def test_what_is_no_job_is_refused(text: str) -> None:
    with pytest.raises(SlurmFailed, match="squeue"):
        read(text)


def test_a_job_on_all_nodes_names_them_and_its_limit_is_rounded_up_to_minutes() -> None:
    command = build_submission(JOB, ["oxygen2", "oxygen3"])
    assert {
        "--nodes=2",
        "--nodelist=oxygen[2-3]",
        "--time=2",
        "--chdir=/root",
        "--output=/root/.bessemer-%j.out",
    } <= set(command)


def test_a_job_on_some_nodes_leaves_the_choice_to_slurm() -> None:
    command = build_submission(JOB.model_copy(update={"nodes": "1"}), ["oxygen2", "oxygen3"])
    assert "--nodes=1" in command
    assert not any(option.startswith("--nodelist") for option in command)


def test_submitting_ends_earlier_jobs_of_the_same_name_and_sends_the_script() -> None:
    client, ssh = slurm(sbatch=CommandResult(0, "12;oxygen\n", ""))
    assert client.submit(JOB, ["oxygen2", "oxygen3"]) == 12
    assert ssh.commands[0][1] == "scancel --quiet --user=root --name=bessemer-hostname"
    assert ssh.commands[1][2] == JOB.script.encode()
    assert {command[0] for command in ssh.commands} == {"oxygen1"}


def test_a_refused_job_says_what_slurm_said() -> None:
    client, _ = slurm(sbatch=CommandResult(1, "", "sbatch: error: Batch job submission failed:\n no nodes\n"))
    with pytest.raises(SlurmFailed, match="submission failed: no nodes"):
        client.submit(JOB, ["oxygen2"])


def test_an_answer_without_a_number_is_no_submission() -> None:
    client, _ = slurm(sbatch=CommandResult(0, "Welcome to oxygen\n", ""))
    with pytest.raises(SlurmFailed, match="Welcome"):
        client.submit(JOB, ["oxygen2"])


def test_output_is_read_on_the_node_where_it_lies_and_removed() -> None:
    client, ssh = slurm(**{"if": CommandResult(0, "oxygen2\n", "")})
    assert client.take_output(12, "oxygen2") == "oxygen2\n"
    host, command, _ = ssh.commands[0]
    assert host == "oxygen2"
    assert command.endswith("tail -c 1048576 /root/.bessemer-12.out && rm -f /root/.bessemer-*.out")


def test_output_that_is_not_there_is_an_error() -> None:
    client, _ = slurm(**{"if": CommandResult(1, "", "No such file\n")})
    with pytest.raises(SlurmFailed, match="output of job 12 on oxygen2: exit code 1: No such file"):
        client.take_output(12, "oxygen2")


def test_output_on_a_foreign_node_is_not_looked_for() -> None:
    client, ssh = slurm()
    with pytest.raises(SlurmFailed, match="oxygen9"):
        client.take_output(12, "oxygen9")
    assert ssh.commands == []


def test_without_slurm_there_are_no_nodes() -> None:
    client, _ = slurm(command=CommandResult(44, "", ""))
    assert client.list_nodes() == []


@pytest.mark.parametrize("code", [1, 126, 127, 137, 255])
def test_no_answer_of_sinfo_says_that_there_is_no_slurm(code: int) -> None:
    client, _ = slurm(command=CommandResult(code, "", "Cannot fork"))
    with pytest.raises(SlurmFailed, match=f"sinfo: exit code {code}: Cannot fork"):
        client.list_nodes()


@pytest.mark.parametrize(
    "text", ["oxygen2|idle", f"oxygen2|idle{MARK}", f"oxygen2|idle|none{MARK}\noxygen3|id", "Welcome"]
)
def test_half_of_an_answer_tells_no_state(text: str) -> None:
    with pytest.raises(SlurmFailed, match="sinfo didn't tell the states of the nodes"):
        parse_nodes(text, MARK)


def test_each_query_has_a_separate_mark_that_no_user_can_guess() -> None:
    client, ssh = slurm()
    assert client.list_nodes() == client.list_nodes() == []
    marks = [re.search(r"--format=%N\|%T\|%E([0-9a-f]{32})", command) for _, command, _ in ssh.commands]
    assert len({mark[1] for mark in marks if mark}) == 2


def test_a_reason_with_spaces_is_one_word_for_the_shell() -> None:
    client, ssh = slurm()
    client.drain(["oxygen2", "oxygen3"], "bessemer: removed")
    assert ssh.commands[0][1] == ("scontrol update 'NodeName=oxygen[2-3]' State=DRAIN 'Reason=bessemer: removed'")


def test_a_job_is_looked_at_by_fields_that_no_user_writes_and_cancelled_by_its_number() -> None:
    client, ssh = slurm(squeue=CommandResult(1, "", "slurm_load_jobs error: Invalid job id specified"))
    with pytest.raises(JobUnknown, match="Invalid job id"):
        client.get_job(7)
    client.cancel(7)
    (_, look, _), (_, cancel, _) = ssh.commands
    fields = re.findall(r"([A-Za-z_]+):[0-9]+\|", look)
    assert fields == ["JobArrayID", "State", "exit_code", "BatchHost", "NodeList", "Reason"]
    assert cancel == "scancel --quiet 7"


def test_a_controller_that_does_not_answer_has_not_forgotten_the_job() -> None:
    client, _ = slurm(squeue=CommandResult(1, "", "slurm_load_jobs error: \x1b[31mUnable to contact slurm controller"))
    with pytest.raises(SlurmFailed, match="squeue: exit code 1: slurm_load_jobs error: Unable to contact") as caught:
        client.get_job(7)
    assert not isinstance(caught.value, JobUnknown)
