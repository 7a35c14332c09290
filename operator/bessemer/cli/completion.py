"""Complete names of objects: asks the cluster, and never keeps a shell waiting for long."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence

from bessemer.cli.kinds import BUILD, KINDS, ShownKind
from bessemer.cli.session import open_session
from bessemer.cli.target import Target

SECONDS = 3.0
"""What a completion may take, from here on. Nothing is completed where the cluster takes longer."""
MOST_NAMES = 500


def list_names(target: Target, incomplete: str, singulars: Sequence[str]) -> list[str]:
    """List the names that ``incomplete`` may become, of objects of these kinds; none where there is any trouble."""
    # The whole process ends, as a thread that resolves a name, or a program of the kubeconfig, can't be ended alone.
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        return asyncio.run(_list(target, incomplete, [kind for kind in KINDS if kind.singular in singulars]))
    except Exception:  # noqa: BLE001  a message would stand in the middle of what the user types
        return []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


async def _list(target: Target, incomplete: str, kinds: Sequence[ShownKind]) -> list[str]:
    found = []
    async with open_session(target) as session:
        for kind, prefixes in ((kind, list_prefixes(kind, incomplete)) for kind in kinds):
            if prefixes:
                objects = await session.kubernetes.list_objects(kind.kind, session.namespace, limit=MOST_NAMES)
                found += [f"{prefix}{raw['metadata']['name']}" for raw in objects for prefix in prefixes]
    return sorted(name for name in found if name.startswith(incomplete))


def list_prefixes(kind: ShownKind, incomplete: str) -> list[str]:
    """List what may stand before the names of a kind; nothing where ``incomplete`` can't become one of them."""
    word, slash, _ = incomplete.partition("/")
    if slash:
        return [f"{word}/"] if word.lower() in kind.words else []
    begun = next((f"{each}/" for each in kind.words if word and each.startswith(word)), "")
    return sorted({"", begun}) if kind is BUILD else [begun or f"{kind.short}/"]
