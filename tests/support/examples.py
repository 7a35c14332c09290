"""Number of cases of property and crash tests: a fifth in ``make check``, all everywhere else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

SHARE = 5
FEW = os.environ.get("BESSEMER_TEST_EXAMPLES") == "few"
"""Whether this is the inner loop; ``make check`` sets it."""

T = TypeVar("T")


def examples(count: int) -> int:
    """Return the number of examples of a property test that has so many by default."""
    return max(3, count // SHARE) if FEW else count


def spread(cases: Sequence[T]) -> Sequence[T]:
    """Return the cases to run of a long series, such as one for each call at which a process can be killed.

    In the inner loop this is every fifth of them, and the last.
    """
    return [*cases[:-1:SHARE], *cases[-1:]] if FEW else cases
