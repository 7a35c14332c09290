"""``bessemer retry``, ``pause``, ``resume`` and ``abort``."""

from __future__ import annotations

from bessemer.cli.options import BuildArgument
from bessemer.cli.target import Target, on_cluster


@on_cluster
def retry(target: Target, name: BuildArgument) -> None:
    """Try again what failed.

    Each phase gets a new budget of attempts. Ends an abort and a pause.
    """
    _order("RETRY", name, target)


@on_cluster
def pause(target: Target, name: BuildArgument) -> None:
    """Start no new phase; the running one goes on."""
    _order("PAUSE", name, target)


@on_cluster
def resume(target: Target, name: BuildArgument) -> None:
    """End a pause."""
    _order("RESUME", name, target)


@on_cluster
def abort(target: Target, name: BuildArgument) -> None:
    """Stop a build and take back what was staged."""
    _order("ABORT", name, target)


def _order(word: str, name: str, target: Target) -> None:
    import asyncio

    from bessemer.cli.annotate import Order, patch_annotations
    from bessemer.cli.kinds import parse_build_name
    from bessemer.cli.session import open_session
    from bessemer.console.terminal import print_text

    build, order = parse_build_name(name), Order[word]

    async def work() -> str:
        async with open_session(target) as session:
            await patch_annotations(session, build, order)
            return session.namespace

    namespace = asyncio.run(work())
    print_text(f"{namespace}/{build}: {order.value}\n")
