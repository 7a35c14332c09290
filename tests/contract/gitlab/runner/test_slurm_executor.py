"""The executor Slurm: GitLab's own runner, OpenSSH and a real Slurm; GitLab itself is the simulator."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from bessemer.api.runnerpool.resource import parse_runner_pool
from bessemer.kinds.runnerpool.render.config import HOME_DIRECTORY, build_secret_data
from bessemer.kinds.runnerpool.render.slurm_files import SlurmHost
from tests.contract.gitlab.conftest import Site
from tests.contract.machines.daemons import ensure_program
from tests.contract.machines.slurm_cluster import SlurmCluster, run_slurm
from tests.contract.machines.test_ssh import make_key
from tests.support.runner_image import get_gitlab_runner

PROJECT = "hpc/sim"
SECONDS = 90
ACCOUNT = """useradd --create-home --shell /bin/bash ci
install -d -m 700 -o ci -g ci ~ci/.ssh && cat >~ci/.ssh/authorized_keys"""


@dataclass
class Pool:
    """A runner of the executor Slurm, as a pool would configure it."""

    site: Site
    cluster: SlurmCluster
    home: Path
    builds: Path
    """The same path here and on the cluster."""
    access_token: str

    def job(self, *script: str, **more: Any) -> int:
        """Have a job wait in GitLab."""
        (number,) = self.site.control.run_jobs(PROJECT, {"tags": ["hpc"], "script": list(script), **more})
        return number

    @contextmanager
    def runner(self) -> Iterator[subprocess.Popen[bytes]]:
        """Have a runner take one job."""
        runner = get_gitlab_runner()
        command = [str(runner), "run-single", "-c", str(self.home / "config.toml"), "-r", "lab", "--max-builds", "1"]
        environment = {"PATH": f"{runner.parent}:{os.environ['PATH']}", "BESSEMER_HOME": str(self.home)}
        process = subprocess.Popen(
            command,
            env=environment | {"HOME": str(self.home)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def run(self, *script: str, **more: Any) -> dict[str, Any]:
        """Run one job; return what became of it."""
        number = self.job(*script, **more)
        with self.runner() as process:
            process.wait(SECONDS)
        return self.get(number)

    def get(self, number: int) -> dict[str, Any]:
        return self.site.control.jobs()[number]

    def cancel(self, number: int) -> None:
        """Cancel a job as a user does."""
        found = self.site.connect(self.access_token).projects.get(PROJECT).jobs.get(number)
        found.cancel()

    def wait_until(self, what: Callable[[], object], seconds: float = SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, [job["trace"] for job in self.site.control.jobs().values()]
            time.sleep(0.1)

    def queue(self) -> list[str]:
        """List Slurm's jobs that have not ended, by their names."""
        return self.cluster.run("squeue --noheader --format=%j").split()

    def left(self) -> list[str]:
        """List what is left of jobs in the builds directory."""
        return self.cluster.run(f"ls {self.builds}").split()


@pytest.fixture(scope="module")
def login() -> Any:
    return make_key()


@pytest.fixture(scope="module")
def cluster(login: Any) -> Iterator[SlurmCluster]:
    """Return a Slurm with an account for jobs."""
    ensure_program("ssh", "openssh-client")
    with run_slurm() as cluster:
        cluster.run(ACCOUNT, login.public + "\n")
        yield cluster


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Return a folder with a path that is short enough for a socket in it: unix(7) has 108 bytes."""
    with TemporaryDirectory(prefix="slurm-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def pool(site: Site, cluster: SlurmCluster, login: Any, short_path: Path) -> Iterator[Pool]:
    cluster.clear()
    tokens = site.control.seed(
        projects=[{"path": PROJECT}],
        users=[{"username": "bot", "access": {"hpc": 50}}],
        tokens=[{"user": "bot", "name": "api", "scopes": ["api", "create_runner"]}],
    )
    fields = {"runner_type": "project_type", "project_id": 1, "tag_list": ["hpc"], "run_untagged": False}
    token = site.control.create_runner(tokens["api"], **fields)["token"]
    home, builds = short_path / "home", short_path / "builds"
    home.mkdir()
    builds.mkdir()
    cluster.run(f"install -d -m 755 {short_path} && install -d -m 700 -o ci -g ci {builds}")
    host = SlurmHost(cluster.management.address, cluster.management.port, cluster.management.host_key)
    slurm = {
        "host": host.address,
        "hostKey": host.host_key,
        "user": "ci",
        "identitySecret": {"name": "key"},
        "buildsDirectory": str(builds),
    }
    spec = {
        "gitlab": {"url": site.url, "scope": {"type": "Project", "path": PROJECT}},
        "runner": {"tokenSecret": {"name": "runner"}, "tags": ["hpc"]},
        "executor": {"type": "Slurm", "slurm": slurm},
    }
    metadata = {"namespace": "ci", "name": "lab", "uid": "0123456789abcdef"}
    made = parse_runner_pool({"metadata": metadata, "spec": spec})
    assert made.spec is not None, made.spec_error
    for name, text in build_secret_data(made, made.spec, token, {"slurm-identity": login.private}, host).items():
        (home / name).write_text(text.replace(HOME_DIRECTORY, str(home)))
        (home / name).chmod(0o600)
    yield Pool(site, cluster, home, builds, tokens["api"])
    # It ends with its pod; here there is none.
    if (agent := home / "slurm-agent.env").exists():
        subprocess.run(["bash", "-c", f". {agent} && ssh-agent -k"], check=True, capture_output=True)


def test_a_job_runs_under_slurm_and_nothing_is_left_of_it(pool: Pool) -> None:
    done = pool.run("echo job $SLURM_JOB_NAME on $SLURM_JOB_NODELIST", "echo to stderr >&2")
    assert done["status"] == "success", done["trace"]
    assert f"job gitlab-{done['id']} on oxygen2" in done["trace"]
    assert "to stderr" in done["trace"]
    assert (pool.queue(), pool.left()) == ([], [])


def test_the_key_of_the_account_is_in_no_file_once_the_runner_is_prepared(pool: Pool) -> None:
    """A job's hooks run in the runner pod, as the same user."""
    assert "PRIVATE KEY" in (pool.home / "slurm-identity").read_text()
    assert pool.run("echo ran")["status"] == "success"
    left = [path.name for path in pool.home.iterdir() if path.is_file() and "PRIVATE KEY" in path.read_text()]
    assert left == []
    assert pool.run("echo ran")["status"] == "success", "the agent has it still"


@pytest.mark.parametrize("timeout", ["x[$(touch /tmp/injected)]", "1h", "08"])
def test_a_job_that_sets_its_timeout_to_something_else_runs(pool: Pool, timeout: str) -> None:
    Path("/tmp/injected").unlink(missing_ok=True)
    done = pool.run("echo ran", variables={"CI_JOB_TIMEOUT": timeout})
    assert done["status"] == "success", done["trace"]
    assert not Path("/tmp/injected").exists()


def test_the_exit_code_of_the_script_is_the_jobs(pool: Pool) -> None:
    done = pool.run("echo before", "(exit 3)")
    assert (done["status"], done["failure_reason"], done["exit_code"]) == ("failed", "script_failure", 3), done["trace"]
    assert "before" in done["trace"]


def test_output_is_told_while_the_job_runs(pool: Pool) -> None:
    number = pool.job("echo first", "while [ ! -e /tmp/go ]; do sleep 0.1; done", "echo second")
    pool.cluster.run("rm -f /tmp/go")
    with pool.runner() as process:
        pool.wait_until(lambda: "first" in pool.get(number)["trace"])
        assert "second" not in pool.get(number)["trace"].replace("echo second", "")
        pool.cluster.run("touch /tmp/go")
        process.wait(SECONDS)
    trace = pool.get(number)["trace"]
    assert trace.index("first") < trace.rindex("second")


def test_a_job_on_two_nodes_reaches_both(pool: Pool) -> None:
    done = pool.run(
        'srun sh -c "echo rank \\$SLURM_PROCID on \\$SLURMD_NODENAME"',
        variables={"SCHEDULER_PARAMETERS": "--nodes=2 -n 2"},
    )
    assert done["status"] == "success", done["trace"]
    assert {"rank 0 on oxygen2", "rank 1 on oxygen3"} <= {line[-17:] for line in done["trace"].split("\n")}, done[
        "trace"
    ]


def test_options_on_several_lines_are_heeded_and_a_comment_that_looks_like_a_state_is_none(pool: Pool) -> None:
    parameters = "--nodes=2\n--ntasks-per-node=1\n--comment='see JobState=COMPLETED ExitCode=9:0'\n"
    done = pool.run(
        "scontrol show job $SLURM_JOB_ID | grep -o 'NumNodes=.\\|Comment=.*'",
        "(exit 3)",
        variables={"SCHEDULER_PARAMETERS": parameters},
    )
    assert (done["status"], done["exit_code"]) == ("failed", 3), done["trace"]
    for told in ("NumNodes=2", "Comment=see JobState=COMPLETED ExitCode=9:0"):
        assert re.search(rf"01O {told} *$", done["trace"], re.MULTILINE), done["trace"]


def test_cancelled_in_gitlab_it_is_cancelled_in_slurm(pool: Pool) -> None:
    number = pool.job("echo started", "sleep 300")
    with pool.runner() as process:
        pool.wait_until(lambda: "started" in pool.get(number)["trace"])
        pool.cancel(number)
        pool.wait_until(lambda: not pool.queue(), 40)
        process.wait(SECONDS)
    assert pool.get(number)["status"] == "canceled"
    assert pool.left() == []


def test_a_runner_that_is_killed_leaves_no_job_in_slurm(pool: Pool) -> None:
    """With all its processes, as in a pod; the other end notices."""
    number = pool.job("echo started", "sleep 300")
    with pool.runner() as process:
        pool.wait_until(lambda: "started" in pool.get(number)["trace"])
        kill_tree(process.pid)
    pool.wait_until(lambda: not pool.queue(), 40)


def kill_tree(pid: int) -> None:
    """Kill a process and all that descend from it, as the end of a container does."""
    children = [child for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()]
    os.kill(pid, signal.SIGKILL)
    for child in children:
        kill_tree(int(child))


def test_a_job_at_its_time_limit_says_so(pool: Pool) -> None:
    done = pool.run("sleep 300", variables={"SCHEDULER_PARAMETERS": "--time=0:02"})
    assert (done["status"], done["failure_reason"], done["exit_code"]) == ("failed", "script_failure", 124), done[
        "trace"
    ]
    assert "TIMEOUT: the job reached its time limit in Slurm" in done["trace"]


def test_why_a_job_waits_is_told(pool: Pool) -> None:
    number = pool.job("true", variables={"SCHEDULER_PARAMETERS": "--nodes=9"})
    with pool.runner() as process:
        pool.wait_until(lambda: "waits: PartitionConfig" in pool.get(number)["trace"])
        pool.cancel(number)
        process.wait(SECONDS)
    assert pool.queue() == []


def test_a_node_that_fails_is_not_the_jobs_fault(pool: Pool) -> None:
    number = pool.job("echo started", "sleep 300")
    with pool.runner() as process:
        pool.wait_until(lambda: "started" in pool.get(number)["trace"])
        pool.cluster.run("scontrol update NodeName=oxygen[2-3] State=DOWN Reason=burnt")
        process.wait(SECONDS)
    done = pool.get(number)
    assert (done["status"], done["failure_reason"]) == ("failed", "runner_system_failure"), done["trace"]
    assert "NODE_FAIL: not the job's fault" in done["trace"]


def test_a_job_that_an_admin_cancels_is_not_failed_by_its_script(pool: Pool) -> None:
    number = pool.job("echo started", "sleep 300")
    with pool.runner() as process:
        pool.wait_until(lambda: "started" in pool.get(number)["trace"])
        pool.cluster.run(f"scancel --name=gitlab-{number}")
        process.wait(SECONDS)
    done = pool.get(number)
    assert (done["failure_reason"], "CANCELLED: the job was cancelled in Slurm" in done["trace"]) == (
        "runner_system_failure",
        True,
    )


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ("--partition=nowhere", "sbatch refuses the job: sbatch: error: invalid partition specified: nowhere"),
        ("--output=/etc/passwd", "--output=/etc/passwd can't be given"),
        ("--wrap=id", "--wrap=id can't be given"),
        ("--arr=0-9", "--arr=0-9 can't be given"),
        ("-Ha0-9", "-Ha0-9 can't be given"),
        ("evil.sh", "evil.sh is no option of sbatch"),
        ("--hold evil.sh", "evil.sh is no option of sbatch"),
    ],
)
def test_options_that_can_not_be_are_named(pool: Pool, parameters: str, said: str) -> None:
    done = pool.run("true", variables={"SCHEDULER_PARAMETERS": parameters})
    assert (done["status"], done["failure_reason"]) == ("failed", "script_failure"), done["trace"]
    assert said in done["trace"]


def test_artifacts_come_back_from_the_cluster_and_variables_stand_in_no_argument(pool: Pool) -> None:
    done = pool.run(
        "echo trained >model",
        "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -c swordfish-$((40 + 2)) || echo none",
        variables={"PASSWORD": "swordfish-42"},
        artifacts={"paths": ["model"]},
    )
    assert done["status"] == "success", done["trace"]
    assert "none" in done["trace"]
    assert "archive" in done["artifacts"]


def test_an_after_script_runs_on_the_host_in_the_jobs_directory(pool: Pool) -> None:
    done = pool.run("echo here >left", after_script=["cat left", "echo slurm job: ${SLURM_JOB_ID:-none}"])
    assert done["status"] == "success", done["trace"]
    assert "slurm job: none" in done["trace"]
    assert "here" in done["trace"].replace("echo here", "")


def test_a_directory_that_can_not_be_written_to_is_named(pool: Pool) -> None:
    pool.cluster.run(f"chmod 500 {pool.builds}")
    try:
        done = pool.run("true")
    finally:
        pool.cluster.run(f"chmod 700 {pool.builds}")
    assert done["failure_reason"] == "runner_system_failure"
    assert f"cannot write to {pool.builds} on the cluster (spec.executor.slurm.buildsDirectory)" in done["trace"]


def test_a_controller_that_is_away_is_not_the_jobs_fault(pool: Pool) -> None:
    pool.cluster.stop()
    try:
        done = pool.run("true")
    finally:
        pool.cluster.start()
    assert (done["failure_reason"], "Slurm does not answer" in done["trace"]) == ("runner_system_failure", True), done[
        "trace"
    ]
