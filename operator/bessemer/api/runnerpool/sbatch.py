"""Options of sbatch that a pool can't have, because Bessemer sets them or depends on them. Pure.

sbatch accepts any unambiguous abbreviation of a long option; which ones are unambiguous depends on its version. So all
abbreviations are refused. slurm/executor.sh refuses the same options, and their one-letter forms, in jobs.
Source: https://slurm.schedmd.com/sbatch.html
"""

from __future__ import annotations

import re
from functools import reduce
from typing import Annotated

from pydantic import AfterValidator, Field

from bessemer.api.base import cel

REFUSED = (
    *("array", "chdir", "clusters", "error", "gid", "help", "input", "job-name", "open-mode", "output", "parsable"),
    *("quiet", "requeue", "test-only", "uid", "usage", "version", "wait", "workdir", "wrap"),
)
_WHY = "can't be set, not even abbreviated: Bessemer sets this option or depends on it"


def _match_beginnings(name: str) -> str:
    """Return a regular expression for a name and all its abbreviations."""
    return reduce(lambda rest, letter: f"{letter}({rest})?" if rest else letter, reversed(name), "")


_REFUSED_PATTERN = f"^--({'|'.join(map(_match_beginnings, REFUSED))})(=.*)?$"


def _check_option(option: str) -> str:
    if re.fullmatch(_REFUSED_PATTERN, option):
        raise ValueError(_WHY)
    return option


SbatchOption = Annotated[
    str,
    Field(
        pattern=r"^--[a-z][a-z-]*(=[A-Za-z0-9_.,:/@%*+\[\]=-]*)?$",
        min_length=3,
        max_length=256,
        json_schema_extra=cel((f"!self.matches('{_REFUSED_PATTERN}')", _WHY)),
    ),
    AfterValidator(_check_option),
]
"""A long option, with its value if it has one."""
