"""Power control in which one silent node holds up no other: a layer over any driver, with a memory of one phase.

A management controller (BMC) that is deaf makes each command that includes its node as slow as its device's timeout,
or lets the driver's deadline pass for all of them. So nodes that were not answered for in time are asked for one by
one; those that stay silent are remembered, and for a while commands leave them out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from bessemer.machines.clock import Clock
from bessemer.machines.hostlists import build_hostlist
from bessemer.machines.power.protocol import Power, PowerControlRefused, PowerControlUnreachable, PowerState

AT_ONCE = 32
"""Commands for one node each that are under way at a time."""
SLOW_SECONDS = 5.0
"""A node whose state is not known after so long is silent; one that powermand can't read at once may be known soon."""
SILENT_SECONDS = 300.0
"""So long a silent node is left out before it is asked for again."""

T = TypeVar("T")
_log = logging.getLogger(__name__)


class PatientPower:
    """Power control as one phase uses it; see Power. Without an answer for any node it raises what the driver does."""

    def __init__(self, power: Power, clock: Clock) -> None:
        self._power = power
        self._clock = clock
        self._silent: dict[str, tuple[float, str]] = {}
        self._has_answered = False
        self._seen: set[str] = set()

    def on(self, nodes: Collection[str]) -> dict[str, str]:
        """Switch nodes on; returns complaints by node, a silent node's among them."""
        return self._switch(self._power.on, nodes)

    def off(self, nodes: Collection[str]) -> dict[str, str]:
        """Switch nodes off at once; returns complaints by node, a silent node's among them."""
        return self._switch(self._power.off, nodes)

    def state(self, nodes: Collection[str]) -> dict[str, PowerState]:
        """Read states back; a silent node's is UNKNOWN, which is neither on nor off."""
        asked = self._select_asked(nodes)
        started = self._clock.now()
        states = dict.fromkeys(nodes, PowerState.UNKNOWN)
        if not asked:
            return states
        states |= {
            node: state
            for answer in self._ask(self._power.state, asked)
            for node, state in answer.items()
            if node in states
        }
        waited = self._clock.now() - started
        if waited > SLOW_SECONDS and len(self._seen) > 1:  # one alone holds up no other: it is asked for again at once
            unread = [node for node in asked if states[node] is PowerState.UNKNOWN and node not in self._silent]
            self._note_silent(dict.fromkeys(unread, f"power control did not learn its state within {waited:.0f} s"))
        return states

    def explain(self, nodes: Collection[str]) -> dict[str, str]:
        """Return why the state of silent nodes is not known, by node."""
        return {node: self._silent[node][1] for node in nodes if node in self._silent}

    def _switch(self, verb: Callable[[Collection[str]], Mapping[str, str]], nodes: Collection[str]) -> dict[str, str]:
        asked = self._select_asked(nodes)
        complaints = {node: text for answer in self._ask(verb, asked) for node, text in answer.items()} if asked else {}
        return complaints | self.explain(nodes)

    def _select_asked(self, nodes: Collection[str]) -> list[str]:
        """List the nodes to ask for; one that was silent is asked for again after a while."""
        now = self._clock.now()
        self._seen.update(nodes)
        self._silent = {node: seen for node, seen in self._silent.items() if now - seen[0] < SILENT_SECONDS}
        return [node for node in nodes if node not in self._silent]

    def _ask(self, command: Callable[[Collection[str]], T], nodes: list[str]) -> list[T]:
        """Return one command for all nodes; where it is not answered, one for each, and note those that stay silent.

        Raises:
            PowerControlUnreachable: no answer for any node, ever: it is the power control that doesn't answer.
        """
        try:
            answer = command(nodes)
        except PowerControlUnreachable as error:
            if len(nodes) > 1:
                return self._ask_each(command, nodes, error)
            if not self._has_answered:
                raise
            self._note_silent({nodes[0]: error.message})
            return []
        self._has_answered = True
        return [answer]

    def _ask_each(
        self, command: Callable[[Collection[str]], T], nodes: list[str], error: PowerControlUnreachable
    ) -> list[T]:
        _log.warning("power control: %s: ask for each of %s", error.message, build_hostlist(nodes))
        sample = nodes[:: -(-len(nodes) // AT_ONCE)]  # spread, as the nodes of one rack may be silent together
        answers: list[T] = []
        silent: dict[str, str] = {}
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="power") as pool:
            for part in (sample, [node for node in nodes if node not in sample]):
                futures = {node: pool.submit(command, [node]) for node in part}
                for node, future in futures.items():
                    try:
                        answers.append(future.result())
                    except (PowerControlUnreachable, PowerControlRefused) as failed:
                        silent[node] = failed.message
                if not answers:
                    raise error
        self._has_answered = True
        self._note_silent(silent)
        return answers

    def _note_silent(self, nodes: Mapping[str, str]) -> None:
        now = self._clock.now()
        self._silent |= {node: (now, text) for node, text in nodes.items()}
        if nodes:
            _log.warning("power control: silent: %s", build_hostlist(nodes.keys()))
