"""Names of machines for property tests: what sites call them, and what the schema takes."""

from __future__ import annotations

import re

from hypothesis import strategies as st

_ANY = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,12}[a-z0-9])?", fullmatch=True)
_NUMBERS = st.integers(0, 120).flatmap(lambda number: st.sampled_from([f"{number}", f"{number:02d}", f"{number:03d}"]))
_BY_PLACE = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["r", "rack", "x", "n", "", "1-"]),
        _NUMBERS,
        st.sampled_from(["n", "-blade", "a", "", "-", "c0-"]),
        st.sampled_from(["", "1", "2", "3", "08", "09", "10", "a", "1a"]),
    ),
)
"""Names that differ in several places, most of which fold."""


def _fits(name: str) -> bool:
    """Return whether a name can be a machine's: Slurm reads the number at its end with 64 bits."""
    return re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name) is not None and not re.search(r"[0-9]{19}$", name)


_RUN = st.builds(
    lambda first, count, digits: {f"n{number:0{digits}d}" for number in range(first, first + count)},
    *(st.integers(0, 120), st.integers(1, 30), st.integers(1, 3)),
)
"""Of numbers that get longer, padded or not: n[09-101]."""
HOST_NAMES = st.one_of(_ANY, _BY_PLACE).filter(_fits)
HOST_SETS = st.sets(HOST_NAMES, min_size=1, max_size=40) | _RUN
