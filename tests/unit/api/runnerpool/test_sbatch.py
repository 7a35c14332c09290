"""Which options of sbatch a job and a pool may give: what Bessemer depends on can't be named in any way."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

import bessemer.kinds.runnerpool.render
from bessemer.api.runnerpool.executors import SlurmExecutor
from bessemer.api.runnerpool.sbatch import REFUSED
from bessemer.api.schema import compute_structural_schema
from bessemer.cli.rules import list_broken_rules
from tests.unit.kinds.runnerpool.render.test_executors import EXECUTORS
from tests.unit.kinds.runnerpool.scenes import build_pool

PROGRAM = Path(bessemer.kinds.runnerpool.render.__file__).parent / "slurm" / "executor.sh"
BAD_BUILD = 1


def run_program(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Call a function of the executor's program."""
    (home / "slurm-settings").write_text("BUILDS=/builds\nOWNER=lab\nOPTIONS=()\n")
    environment = {
        "PATH": "/usr/bin:/bin",
        "BESSEMER_HOME": str(home),
        "TMPDIR": str(home),
        "CUSTOM_ENV_CI_JOB_ID": "7",
        "BUILD_EXIT_CODE_FILE": str(home / "code"),
        "BUILD_FAILURE_EXIT_CODE": str(BAD_BUILD),
    }
    command = ["/bin/bash", str(PROGRAM), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "words",
    [
        "--partition=gpu --nodes=2 --ntasks-per-node=8 --time=30",
        "--partition gpu -N 2 -n2 -t 0:30",
        "-p output -wnode1 -vvv -H",
        "--part=gpu --qos=high --wait-all-nodes=1 --cluster-constraint=a",
        "--hold --exclusive --no-requeue --nice=-5",
        "-Oc4 -vn 2",
    ],
)
def test_a_job_may_have_its_own_options(tmp_path: Path, words: str) -> None:
    done = run_program(tmp_path, "check_options", *words.split())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        *((f"--time=1 {word}", word) for word in ("--array=0-9", "--arr=0-9", "--a=1", "--outp=/x", "--cluster=other")),
        *((f"--time=1 {word}", word) for word in ("--wra=id", "--test", "--test-only", "--wait", "--job", "--=x")),
        *((word, word) for word in ("-a0-9", "-Ha0-9", "-vvQ", "-HOJname", "-W", "-h", "-V", "-e", "-vM", "-!a1")),
        ("-n 2 : -n 3", ":"),
        ("--hold -- evil.sh", "--"),
        ("-n - evil.sh", "-"),
    ],
)
def test_a_job_may_not_name_what_bessemer_depends_on_however_it_is_written(
    tmp_path: Path, words: str, refused: str
) -> None:
    done = run_program(tmp_path, "check_options", *words.split())
    said = f"slurm: SCHEDULER_PARAMETERS: {refused} can't be given: Bessemer sets it or depends on it\n"
    assert (done.returncode, done.stdout) == (BAD_BUILD, said)


@pytest.mark.parametrize(
    "words", ["evil.sh", "--hold evil.sh", "--ho evil.sh", "-H evil.sh", "-n2 evil.sh", "-vH evil.sh"]
)
def test_no_word_takes_the_place_of_the_jobs_script(tmp_path: Path, words: str) -> None:
    done = run_program(tmp_path, "check_options", *words.split())
    assert (done.returncode, done.stdout) == (
        BAD_BUILD,
        "slurm: SCHEDULER_PARAMETERS: evil.sh is no option of sbatch\n",
    )


def test_jobs_and_pools_are_refused_the_same(tmp_path: Path) -> None:
    assert run_program(tmp_path, "eval", "echo $REFUSED").stdout.split() == list(REFUSED)


def explain_options(*options: str) -> tuple[str, list[str]]:
    """Return what the pool says of its options, and what the rules of the CRD do."""
    slurm: dict[str, Any] = EXECUTORS["Slurm"]["slurm"] | {"options": list(options)}
    schema = compute_structural_schema(SlurmExecutor)
    return build_pool(executor={"type": "Slurm", "slurm": slurm}).spec_error, list_broken_rules(slurm, schema, "slurm")


@pytest.mark.parametrize(
    "option", [f"--{name[:end]}{value}" for name in REFUSED for end in range(1, len(name) + 1) for value in ("", "=x")]
)
def test_a_pool_may_not_name_what_bessemer_depends_on_nor_abbreviate_it(option: str) -> None:
    said = "options[1]: can't be set, not even abbreviated: Bessemer sets this option or depends on it"
    assert explain_options("--mem=4G", option) == (f"spec.executor.slurm.{said}", [f"slurm.{said}"])


@pytest.mark.parametrize(
    "option", ["--partition=gpu", "--part=gpu", "--wait-all-nodes=1", "--cluster-constraint=a", "--hold", "--qos=wrap"]
)
def test_a_pool_may_have_other_options(option: str) -> None:
    assert explain_options(option) == ("", [])
