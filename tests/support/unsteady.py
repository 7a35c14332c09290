"""An in-memory Kubernetes whose calls fail as specified, before or after they have an effect."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from hypothesis import strategies as st

from bessemer.errors import BessemerError
from bessemer.kube.protocol import Conflict, Kind, Refused, Unavailable
from tests.fakes.kubernetes import FakeKubernetes

Fate = tuple[bool, str] | None
"""Fate of a call: None for success; otherwise whether it fails after its effect, and how."""
ERRORS: dict[str, Callable[[], BessemerError]] = {
    "away": lambda: Unavailable("ApiUnavailable", "connection refused"),
    "refused": lambda: Refused("Forbidden", "403"),
    "conflict": lambda: Conflict("Conflict", "409"),
}
FATES: st.SearchStrategy[list[Fate]] = st.lists(
    st.none() | st.just((True, "away")) | st.tuples(st.just(False), st.sampled_from(sorted(ERRORS))), max_size=120
)
"""Only a lost answer lets a call fail that had an effect."""


def make_unsteady(kubernetes: FakeKubernetes, fates: Iterable[Fate]) -> None:
    """Let calls fail in the specified order; calls after the last one succeed."""
    coming = iter(fates)
    call, done = kubernetes._call, kubernetes._done
    fate: list[Fate] = [None]

    def begin(verb: str, kind: Kind, what: str) -> None:
        fate[0] = next(coming, None)
        call(verb, kind, what)
        if fate[0] is not None and not fate[0][0]:
            raise ERRORS[fate[0][1]]()

    def end(answer: Any) -> Any:
        found = done(answer)
        if fate[0] is not None:
            raise ERRORS[fate[0][1]]()
        return found

    kubernetes.__dict__.update(_call=begin, _done=end)
