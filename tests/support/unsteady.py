"""A Kubernetes in memory whose calls fail as is foretold: before they have an effect, or after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from hypothesis import strategies as st

from bessemer.errors import BessemerError
from bessemer.kube.protocol import Conflict, Kind, Refused, Unavailable
from tests.fakes.kubernetes import FakeKubernetes

Fate = tuple[bool, str] | None
"""Of a call: nothing befalls it; or how it fails, after its effect or before."""
ERRORS: dict[str, Callable[[], BessemerError]] = {
    "away": lambda: Unavailable("ApiUnavailable", "connection refused"),
    "refused": lambda: Refused("Forbidden", "403"),
    "conflict": lambda: Conflict("Conflict", "409"),
}
FATES: st.SearchStrategy[list[Fate]] = st.lists(
    st.none() | st.just((True, "away")) | st.tuples(st.just(False), st.sampled_from(sorted(ERRORS))), max_size=120
)
"""Only an answer that is lost makes a call fail that had an effect."""


def make_unsteady(kubernetes: FakeKubernetes, fates: Iterable[Fate]) -> None:
    """Have calls fail, one after the other, as is foretold; those after the last succeed."""
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
