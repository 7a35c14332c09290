"""``bessemer job build`` and ``bessemer job abort``."""

from __future__ import annotations

import typer

job = typer.Typer(
    name="job",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Build a cluster from a GitLab job. "
    "Settings are variables: BESSEMER_TRIGGER_URL, BESSEMER_AUTH (id_tokens, job-token or kubeconfig), "
    "BESSEMER_ID_TOKEN or BESSEMER_ID_TOKEN_FILE, BESSEMER_MANIFEST, BESSEMER_CLUSTER, BESSEMER_CA_FILE, "
    "BESSEMER_FOLDER, BESSEMER_CONTEXT, BESSEMER_NAMESPACE.",
)


@job.command()
def build() -> None:
    """Ask for a build of the pipeline's commit, and follow it to its end.

    Exit codes: 0 Ready, 1 failed, 2 an error, 3 refused, 4 aborted.
    """
    import asyncio
    import os

    from bessemer.cli.job.run import run_build
    from bessemer.cli.job.settings import read_settings

    raise typer.Exit(asyncio.run(run_build(read_settings(os.environ))))


@job.command()
def abort() -> None:
    """Abort the build that the job has asked for, as after its cancellation."""
    import asyncio
    import os

    from bessemer.cli.job.run import run_abort
    from bessemer.cli.job.settings import read_settings

    raise typer.Exit(asyncio.run(run_abort(read_settings(os.environ))))
