"""Complete names of objects: asks the cluster, and never keeps a shell waiting for long."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bessemer.cli.target import Target

if TYPE_CHECKING:
    from bessemer.engine.description import Description

SECONDS = 5.0
"""What the completion of names may take. Nothing is completed where the cluster takes longer."""
MOST_NAMES = 500


def list_names(target: Target, incomplete: str, singulars: Sequence[str]) -> list[str]:
    """List the names that ``incomplete`` may become, of objects of these kinds; none where there is any trouble."""
    # The whole process ends, as a thread that resolves a name, or a program of the kubeconfig, can't be ended alone.
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        return asyncio.run(find_names(target, incomplete, singulars))
    except Exception:  # noqa: BLE001  a message would stand in the middle of what the user types
        return []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


async def find_names(target: Target, incomplete: str, singulars: Sequence[str]) -> list[str]:
    """List the same; raises what the cluster raises."""
    from bessemer import registry
    from bessemer.cli.session import open_session

    found = []
    async with open_session(target) as session:
        for kind in registry.KINDS:
            prefixes = list_prefixes(kind, incomplete) if kind.singular in singulars else []
            if prefixes:
                objects = await session.kubernetes.list_objects(kind.resource, session.namespace, limit=MOST_NAMES)
                found += [f"{prefix}{raw['metadata']['name']}" for raw in objects for prefix in prefixes]
    return sorted(name for name in found if name.startswith(incomplete))


def list_prefixes(kind: Description, incomplete: str) -> list[str]:
    """List what may stand before the names of a kind; nothing where ``incomplete`` can't become one of them."""
    from bessemer import registry

    word, slash, _ = incomplete.partition("/")
    if slash:
        return [f"{word}/"] if word.lower() in kind.words else []
    begun = next((f"{each}/" for each in kind.words if word and each.startswith(word)), "")
    return sorted({"", begun}) if kind is registry.KINDS[0] else [begun or f"{kind.short}/"]
