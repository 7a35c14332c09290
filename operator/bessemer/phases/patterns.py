"""What a verification job must print: regular expressions in linear time, and host names. Pure.

Patterns are RE2's, since one of Python's may take longer than the build: ``^(a+)+$`` on 40 letters takes hours.
"""

from __future__ import annotations

import re
from collections.abc import Collection

import re2

from bessemer.api.clusterbuild.verification import SlurmJob, find_script_problems
from bessemer.api.reasons import INVALID_JOB
from bessemer.errors import Invalid
from bessemer.foreign import make_line, make_text

_QUIET = re2.Options()
_QUIET.log_errors = False
_LABEL = re.compile(r"^\s*[0-9]+:\s")
"""What ``srun --label`` puts in front of each line."""


def decide_job_errors(job: SlurmJob) -> list[Invalid]:
    """List what makes a job one that can't pass, whatever the cluster does."""
    field = f"spec.verify.jobs[{job.name}]"
    errors = [Invalid(INVALID_JOB, f"{field}.script: {problem}") for problem in find_script_problems(job.script)]
    try:
        re2.compile(job.expect.output or "", _QUIET)
    except re2.error as error:
        said = error.args[0].decode(errors="replace") if error.args and isinstance(error.args[0], bytes) else error
        text = f"{field}.expect.output is no regular expression of RE2: {make_line(str(said), 200)}"
        errors.append(Invalid("InvalidPattern", text))
    return errors


def is_found(pattern: str, output: str) -> bool:
    """Return whether a pattern is found in an output, as it is or without the control sequences of terminals."""
    compiled = re2.compile(f"(?m){pattern}", _QUIET)
    return any(compiled.search(text) is not None for text in (output, clean_output(output)))


def clean_output(output: str) -> str:
    """Return an output as printable text."""
    return make_text(output, len(output) + 1)


def find_named(hosts: Collection[str], output: str) -> set[str]:
    """Return those of the hosts that an output names.

    A name that has letters and digits counts as a word anywhere: oxygen1 is not in oxygen10. Any other may be a number
    or a word like all others, and counts on lines that hold nothing but host names of the job, with or without domain.
    """
    text = clean_output(output)
    lines = [_LABEL.sub("", line).split() for line in text.split("\n")]
    names = [{word.partition(".")[0] for word in words} for words in lines]
    found = {name for line in names if line <= set(hosts) for name in line}
    unlike_words = {host for host in hosts if re.search("[a-z]", host) and re.search("[0-9]", host)}
    return found | {word for word in re.findall(r"(?<![\w-])[a-z0-9][a-z0-9-]*(?![\w-])", text) if word in unlike_words}
