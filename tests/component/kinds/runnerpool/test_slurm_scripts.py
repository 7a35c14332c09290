"""What the executor Slurm makes of each way in which a Slurm job can end.

Our two programs are real; Slurm's commands and ssh are stand-ins, which say what a real Slurm can't be
brought to say in containers without cgroups, such as OUT_OF_MEMORY. tests/contract has the rest with a real one.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bessemer.api.runnerpool.executors import SlurmExecutor
from bessemer.kinds.runnerpool.render.slurm_files import EXECUTOR_FILE, JOB_FILE, SlurmHost, build_slurm_files
from tests.support.checkout import ROOT

BUILD_FAILURE, SYSTEM_FAILURE = 101, 102
"""What gitlab-runner would tell: a program of the Custom executor has these two ways to fail.
Source: https://docs.gitlab.com/runner/executors/custom/#error-handling"""
RECORD = "{state}|{status}|oxygen2|{reason}|"
"""As squeue writes the fields that the script asks for; the status is that of wait(2)."""
STAND_INS = {
    # The cluster is this machine: the job's directory, which has the same path there, need not be copied.
    "ssh": 'command=${!#}; case $command in tar*) exec cat >/dev/null ;; esac; exec bash -c "$command"',
    "ssh-agent": "",
    "ssh-add": "",
    "sbatch": r"""
        for word in "$@"; do case $word in --output=*) output=${word#*=} ;; esac; done
        printf '%s\0' "$@" >"$OPTIONS_SEEN"
        echo the job says this >"$output"; echo 77""",
    # Each look takes the next line; the last one stays.
    "squeue": r"""
        line=$(head -n 1 "$STATES")
        case $line in
        "error: "*) echo "slurm_load_jobs ${line%%|*}" >&2 ; failed=1 ;;
        "") ;;
        *) echo "$line" ;;
        esac
        [ "$(wc -l <"$STATES")" -le 1 ] || sed -i 1d "$STATES"
        exit ${failed:-0}""",
    "scontrol": 'echo "Slurmctld(primary) at oxygen1 is $CONTROLLER"',
    "sacct": '[ -z "$ACCOUNTED" ] || echo "$ACCOUNTED"',
    "scancel": 'echo "$@" >>"$CANCELLED"',
}


@dataclass(frozen=True)
class Ended:
    """How gitlab-runner would see it."""

    failure: str
    exit_code: str
    """What the program says of the job's own; empty where it says nothing."""
    trace: str


@dataclass(frozen=True)
class Runner:
    """A runner's home, and a cluster of stand-ins."""

    directory: Path
    options: list[str] = field(default_factory=list)
    """What sbatch was called with."""

    def run(self, *states: str, reason: str = "None", code: str = "0:0", **variables: str) -> Ended:
        """Run a job's script; Slurm says these states one after the other."""
        for name in ("scratch", "builds"):
            (self.directory / name).mkdir()
        script = self.directory / "script"
        script.write_text("true\n")
        exit_code, signal = map(int, code.split(":"))
        status = exit_code << 8 | signal
        lines = [
            state if state in ("", FORGOTTEN, SILENT) else RECORD.format(state=state, reason=reason, status=status)
            for state in states
        ]
        (self.directory / "states").write_text("".join(f"{line}\n" for line in lines))
        environment = {
            "PATH": f"{self.directory / 'bin'}:{os.environ['PATH']}",
            "BESSEMER_HOME": str(self.directory / "home"),
            "TMPDIR": str(self.directory / "scratch"),
            "CUSTOM_ENV_CI_JOB_ID": "7",
            "BUILD_FAILURE_EXIT_CODE": str(BUILD_FAILURE),
            "SYSTEM_FAILURE_EXIT_CODE": str(SYSTEM_FAILURE),
            "BUILD_EXIT_CODE_FILE": str(self.directory / "exit-code"),
            "STATES": str(self.directory / "states"),
            "CANCELLED": str(self.directory / "cancelled"),
            "OPTIONS_SEEN": str(self.directory / "options"),
            "CONTROLLER": "UP",
            "ACCOUNTED": "",
            **variables,
        }
        program = ["bash", str(self.directory / "home" / EXECUTOR_FILE)]
        trace = ""
        for stage in (["prepare"], ["run", str(script), "build_script"]):
            done = subprocess.run(
                [*program, *stage], env=environment, capture_output=True, text=True, timeout=60, check=False
            )
            trace += done.stdout
            if done.returncode:
                break
        code_file = self.directory / "exit-code"
        if (seen := self.directory / "options").exists():
            self.options[:] = seen.read_text().split("\0")
        failures = {0: "none", BUILD_FAILURE: "script_failure", SYSTEM_FAILURE: "runner_system_failure"}
        return Ended(
            failures.get(done.returncode, f"ended with {done.returncode}: {done.stderr}"),
            code_file.read_text().strip() if code_file.exists() else "",
            trace,
        )

    def hasten(self, patience: str) -> None:
        """Have a patience of the script on the cluster be over at once."""
        script = self.directory / "home" / JOB_FILE
        text, count = re.subn(rf"^{patience}=[0-9]+", f"{patience}=0", script.read_text(), flags=re.MULTILINE)
        assert count == 1
        script.write_text(text)


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    executor = SlurmExecutor.model_validate(
        {
            "host": "oxygen1",
            "hostKey": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHk",
            "user": "ci",
            "identitySecret": {"name": "key"},
            "buildsDirectory": str(tmp_path / "builds"),
        }
    )
    home, programs = tmp_path / "home", tmp_path / "bin"
    home.mkdir()
    host = SlurmHost("oxygen1", 22, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHk")
    for name, text in build_slurm_files(executor, host, "owner", str(home), "key").items():
        (home / name).write_text(text)
    programs.mkdir()
    for name, text in STAND_INS.items():
        program = programs / name
        program.write_text(f"#!/bin/bash\n{text}\n")
        program.chmod(0o755)
    return Runner(tmp_path)


ENDS = [
    ("COMPLETED", "0:0", "none", "", ""),
    ("FAILED", "3:0", "script_failure", "3", "the script ended with exit code 3"),
    ("FAILED", "0:11", "script_failure", "139", "the script ended with exit code 139"),
    ("TIMEOUT", "0:15", "script_failure", "124", "TIMEOUT: the job reached its time limit in Slurm (--time)"),
    (
        "DEADLINE",
        "0:0",
        "script_failure",
        "124",
        "DEADLINE: the job could not end by its deadline in Slurm (--deadline)",
    ),
    (
        "OUT_OF_MEMORY",
        "0:125",
        "script_failure",
        "137",
        "OUT_OF_MEMORY: the job used more memory than it had asked for (--mem)",
    ),
    ("NODE_FAIL", "0:0", "runner_system_failure", "", "NODE_FAIL: not the job's fault: Why"),
    ("BOOT_FAIL", "0:0", "runner_system_failure", "", "BOOT_FAIL: not the job's fault: Why"),
    ("PREEMPTED", "0:15", "runner_system_failure", "", "PREEMPTED: not the job's fault: Why"),
    ("REVOKED", "0:0", "runner_system_failure", "", "REVOKED: not the job's fault: Why"),
    ("CANCELLED", "0:15", "runner_system_failure", "", "CANCELLED: the job was cancelled in Slurm"),
]


@pytest.mark.parametrize(("state", "code", "failure", "exit_code", "said"), ENDS)
def test_each_end_of_a_slurm_job_has_its_failure_reason_exit_code_and_sentence(
    runner: Runner, state: str, code: str, failure: str, exit_code: str, said: str
) -> None:
    ended = runner.run(state, reason="Why", code=code)
    assert (ended.failure, ended.exit_code) == (failure, exit_code), ended.trace
    assert "the job says this" in ended.trace
    assert said in ended.trace


def test_a_job_that_is_killed_for_its_memory_while_it_runs_has_told_where_it_ran(runner: Runner) -> None:
    ended = runner.run("PENDING", "RUNNING", "COMPLETING", "OUT_OF_MEMORY", code="0:125")
    told = [line for line in ended.trace.splitlines() if line.startswith("slurm: ")][1:]
    assert told == [
        "slurm: job 77 waits: None",
        "slurm: job 77 runs on oxygen2",
        "slurm: OUT_OF_MEMORY: the job used more memory than it had asked for (--mem)",
    ]
    assert (ended.failure, ended.exit_code) == ("script_failure", "137")
    assert not (runner.directory / "cancelled").exists()


FORGOTTEN = "error: Invalid job id specified"
SILENT = "error: Unable to contact slurm controller (connect failure)"


@pytest.mark.parametrize("forgotten", [FORGOTTEN, ""])
@pytest.mark.parametrize(
    ("accounted", "failure", "exit_code"),
    [
        ("COMPLETED|0:0|oxygen2", "none", ""),
        ("FAILED|3:0|oxygen2", "script_failure", "3"),
        ("FAILED|0:11|oxygen2", "script_failure", "139"),
        ("OUT_OF_MEMORY|0:125|oxygen2", "script_failure", "137"),
        ("CANCELLED by 1000|0:15|oxygen2", "runner_system_failure", ""),
    ],
)
def test_how_a_job_ended_that_slurm_has_forgotten_is_read_from_its_accounting(
    runner: Runner, forgotten: str, accounted: str, failure: str, exit_code: str
) -> None:
    ended = runner.run("RUNNING", forgotten, ACCOUNTED=accounted)
    assert (ended.failure, ended.exit_code) == (failure, exit_code), ended.trace


@pytest.mark.parametrize("accounted", ["", "RUNNING|0:0|oxygen2", "no accounting"])
def test_a_job_that_slurm_has_forgotten_is_not_waited_for(runner: Runner, accounted: str) -> None:
    runner.hasten("ACCOUNT_SECONDS")
    ended = runner.run("RUNNING", FORGOTTEN, ACCOUNTED=accounted)
    assert ended.failure == "runner_system_failure", ended.trace
    said = "how the job ended is not known: Slurm has forgotten job 77 (MinJobAge), and no accounting says it"
    assert said in ended.trace


@pytest.mark.parametrize(("silent", "controller"), [(SILENT, "UP"), ("", "DOWN")])
def test_a_controller_that_does_not_answer_has_not_forgotten_its_jobs(
    runner: Runner, silent: str, controller: str
) -> None:
    runner.hasten("ACCOUNT_SECONDS")
    ended = runner.run("RUNNING", silent, silent, "COMPLETED", CONTROLLER=controller, ACCOUNTED="FAILED|3:0|oxygen2")
    assert ended.failure == "none", ended.trace


def test_a_controller_that_stays_silent_is_named(runner: Runner) -> None:
    runner.hasten("LOST_SECONDS")
    ended = runner.run("RUNNING", SILENT)
    assert ended.failure == "runner_system_failure"
    assert "Slurm does not answer: slurm_load_jobs error: Unable to contact slurm controller" in ended.trace


@pytest.mark.parametrize("reason", ["see JobState=COMPLETED", "a|COMPLETED|0", "JobState=FAILED ExitCode=9:0"])
def test_what_stands_in_free_text_of_slurms_does_not_decide_how_a_job_ended(runner: Runner, reason: str) -> None:
    ended = runner.run("FAILED", reason=reason, code="3:0")
    assert (ended.failure, ended.exit_code) == ("script_failure", "3")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        (
            "--nodes=2 --ntasks-per-node=8\n--time=30\n--account=proj7\n",
            ["--nodes=2", "--ntasks-per-node=8", "--time=30", "--account=proj7"],
        ),
        ("\n  --qos=long\r\n", ["--qos=long"]),
        ('--constraint="a&b"', ["--constraint=a&b"]),
        ("--constraint='a|b' -p gpu", ["--constraint=a|b", "-p", "gpu"]),
        ('--comment="two words"', ["--comment=two words"]),
        ("--comment=two\\ words", ["--comment=two words"]),
        ('--comment="say \\"no\\" for \\$5, \\n"', ['--comment=say "no" for $5, \\n']),
        ("--nodes=1 \\\n--exclusive", ["--nodes=1", "--exclusive"]),
        ("--comment=$(touch x)`id`*", None),
        ("--comment='$(touch x)`id`*'", ["--comment=$(touch x)`id`*"]),
        ("--comment=''", ["--comment="]),
        ("", []),
    ],
)
def test_the_words_of_scheduler_parameters_are_those_of_a_shell_with_nothing_expanded(
    runner: Runner, parameters: str, words: list[str] | None
) -> None:
    ended = runner.run("COMPLETED", CUSTOM_ENV_SCHEDULER_PARAMETERS=parameters)
    if words is None:
        assert (ended.failure, ended.exit_code) == ("script_failure", "1")
        assert "x)`id`* is no option of sbatch" in ended.trace
        return
    assert ended.failure == "none", ended.trace
    after = runner.options.index("--comment=GitLab job 7") + 1
    assert runner.options[after : after + len(words) + 1] == [*words, "--job-name=gitlab-7"]
    assert not (runner.directory / "x").exists()


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ("--comment='never", "a quote (') is not closed"),
        ('--comment="never', 'a quote (") is not closed'),
        ("--nodes=2 \\", "nothing follows the last backslash"),
        ("--nodes=2 " * 500, "more than 4096 characters"),
        ("--nodes=2\n'--output'=/etc/passwd", "--output=/etc/passwd can't be given"),
        ("--nodes=2\n--job-\\name=x", "--job-name=x can't be given"),
        ("'' --nodes=2", " is no option of sbatch"),
    ],
)
def test_scheduler_parameters_that_can_not_be_are_named(runner: Runner, parameters: str, said: str) -> None:
    ended = runner.run("COMPLETED", CUSTOM_ENV_SCHEDULER_PARAMETERS=parameters)
    assert (ended.failure, ended.exit_code) == ("script_failure", "1")
    assert f"SCHEDULER_PARAMETERS: {said}" in ended.trace
    assert runner.options == []


@pytest.mark.parametrize("number", ["x/../..", '7","job_env":{', "", "0", "-1", "07", "7\n8", "9" * 30, "8"])
def test_a_job_that_sets_its_number_to_something_else_fails_and_nothing_is_made(runner: Runner, number: str) -> None:
    response = runner.directory / "response.json"
    response.write_text('{"id":7,"token":"t","allow_git_fetch":true}\n')
    before = sorted(runner.directory.rglob("*"))
    for stage in ("config", "prepare", "cleanup"):
        environment = {
            "PATH": f"{runner.directory / 'bin'}:{os.environ['PATH']}",
            "BESSEMER_HOME": str(runner.directory / "home"),
            "TMPDIR": str(runner.directory),
            "CUSTOM_ENV_CI_JOB_ID": number,
            "JOB_RESPONSE_FILE": str(response),
            "BUILD_FAILURE_EXIT_CODE": str(BUILD_FAILURE),
            "SYSTEM_FAILURE_EXIT_CODE": str(SYSTEM_FAILURE),
        }
        program = ["bash", str(runner.directory / "home" / EXECUTOR_FILE), stage]
        done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (BUILD_FAILURE, "slurm: CI_JOB_ID is not the number of the job\n")
    assert sorted(runner.directory.rglob("*")) == before


@pytest.mark.parametrize("kind", ["link", *(["foreign"] if os.geteuid() == 0 else [])])
def test_a_directory_that_another_has_made_for_the_job_is_not_used(runner: Runner, tmp_path: Path, kind: str) -> None:
    builds, theirs = tmp_path / "builds", tmp_path / "theirs"
    theirs.mkdir()
    # The pod has a directory of its own there, and the cluster another: what the pod makes is another name here.
    only_there = 'case $* in "-p "*owner-7/.slurm) ;; *) exec /bin/mkdir "$@" ;; esac'
    (tmp_path / "bin" / "mkdir").write_text(f"#!/bin/bash\n{only_there}\n")
    (tmp_path / "bin" / "mkdir").chmod(0o755)
    builds.mkdir()
    if kind == "link":
        (builds / "owner-7").symlink_to(theirs)
    else:
        (builds / "owner-7").mkdir()
        os.chown(builds / "owner-7", 12345, 12345)
    program = ["bash", str(tmp_path / "home" / EXECUTOR_FILE), "prepare"]
    environment = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "BESSEMER_HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path),
        "CUSTOM_ENV_CI_JOB_ID": "7",
        "BUILD_FAILURE_EXIT_CODE": str(BUILD_FAILURE),
        "SYSTEM_FAILURE_EXIT_CODE": str(SYSTEM_FAILURE),
    }
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == SYSTEM_FAILURE
    assert "is there on the cluster, and is another account's or a link" in done.stdout
    assert list((builds / "owner-7").iterdir()) == []


def test_the_users_table_says_the_same_of_each_end() -> None:
    text = (ROOT / "docs" / "user" / "executors.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")
    ]
    table = {state: row[1:] for row in rows for state in re.findall(r"`([A-Z_]+)`", row[0]) if len(row) == 3}
    for state, _, failure, exit_code, _ in ENDS:
        reason, documented = table[state]
        assert reason.strip("`") == failure
        assert documented == exit_code or state in ("COMPLETED", "FAILED")
