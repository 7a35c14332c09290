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
    from bessemer.logformat import JsonFormatter, PrintableFormatter, configure_logging
    from bessemer.process import run_operator

    settings = get_settings()
    text = PrintableFormatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    configure_logging(JsonFormatter() if settings.log_format == "json" else text, level)
    logging.getLogger("kopf.objects").setLevel(max(logging.WARNING, level))  # a line for each event
    raise typer.Exit(asyncio.run(run_operator(settings)))
