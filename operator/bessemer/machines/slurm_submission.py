"""How jobs are submitted to Slurm, and where their output goes. All pure."""

from __future__ import annotations

from collections.abc import Collection

from bessemer.api.clusterbuild.verification import SlurmJob
from bessemer.machines.hostlists import build_slurm_hostlist

OUTPUT_DIRECTORY = "/root"
"""On compute nodes, where jobs run as root: the one folder of every system that only root can write to. In /tmp a user
could put a link in the place of the output, or files that programs read from the folder in which they run."""
JOB_PREFIX = "bessemer-"


def build_output_file(job_id: str) -> str:
    """Name the file that a job writes to, on its first node."""
    return f"{OUTPUT_DIRECTORY}/.{JOB_PREFIX}{job_id}.out"


def build_submission(job: SlurmJob, hosts: Collection[str]) -> list[str]:
    """Build the command that submits a job. Source: https://slurm.schedmd.com/sbatch.html

    Slurm counts time limits in whole minutes; who waits for the job has the limit in seconds.
    """
    count = len(hosts) if job.nodes == "All" else int(job.nodes)
    where = [f"--nodelist={build_slurm_hostlist(hosts)}"] if count == len(hosts) else []
    return [
        "sbatch",
        "--parsable",
        "--no-requeue",
        f"--job-name={JOB_PREFIX}{job.name}",
        f"--nodes={count}",
        *where,
        f"--time={-(-job.time_limit_seconds // 60)}",
        f"--chdir={OUTPUT_DIRECTORY}",
        f"--output={build_output_file('%j')}",
        f"--error={build_output_file('%j')}",
        "--open-mode=truncate",
    ]
