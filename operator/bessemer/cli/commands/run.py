"""``bessemer run``."""

from __future__ import annotations

import typer


def run() -> None:
    """Run the operator.

    Its settings come from the environment.
    """
    import asyncio
    import logging

    from bessemer.engine.settings import get_settings
    from bessemer.logformat import configure_logging
    from bessemer.process import run_operator

    configure_logging("%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # else a line for every event
    raise typer.Exit(asyncio.run(run_operator(get_settings())))
