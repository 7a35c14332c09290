"""What a job must print: patterns in linear time, names of nodes that no other text can be taken for."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.api.clusterbuild.verification import Expectation, SlurmJob
from bessemer.phases.patterns import decide_job_errors, find_named, is_found


@pytest.mark.parametrize("pattern", ["^(a+)+$", "(a|a)*$", "(.*)*x", "^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_no_pattern_takes_longer_than_its_output_is_long(pattern: str) -> None:
    started = time.monotonic()
    is_found(pattern, "a" * 100_000 + "!")
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("pattern", "output", "found"),
    [
        ("^pi=3", "start\npi=3.14\n", True),
        ("3.14$", "pi=3.14\nend\n", True),
        ("^pi=4", "start\npi=3.14\n", False),
        ("^passed$", "\x1b[32mpassed\x1b[0m\n", True),
        ("\\x1b\\[32m", "\x1b[32mpassed\x1b[0m\n", True),
        ("a\tb", "a\tb\n", True),
        ("ünï", "ünï", True),
        ("a|^b", "x\nb", True),
    ],
)
def test_a_pattern_is_looked_for_in_the_lines_of_an_output(pattern: str, output: str, found: bool) -> None:
    assert is_found(pattern, output) is found


@given(st.text(max_size=20), st.text(max_size=200))
def test_each_pattern_is_refused_or_can_be_looked_for(pattern: str, output: str) -> None:
    job = SlurmJob(name="some", script="#!/bin/sh\n", expect=Expectation.model_construct(output=pattern))
    if not decide_job_errors(job):
        is_found(pattern, output)


@pytest.mark.parametrize("pattern", ["(", "(?=x)", "\\1", "(a{1000}){1000}", "*"])
def test_what_is_no_pattern_of_re2_says_why(pattern: str) -> None:
    (error,) = decide_job_errors(SlurmJob(name="some", script="#!/bin/sh\n", expect=Expectation(output=pattern)))
    assert error.reason == "InvalidPattern"
    assert error.message.startswith("spec.verify.jobs[some].expect.output is no regular expression of RE2: ")
    assert "b'" not in error.message


NAMED = [
    (["1", "2", "3"], "1\n2\n3\n", "123"),
    (["1", "2", "3"], "took 1 2 3 seconds\n", ""),
    (["1", "2", "3"], "0: 1\n1: 2\n2: 3\n", "123"),
    (["1", "2", "3"], "1 2\n3.cluster\n", "123"),
    (["1", "2"], "1: done\n2: done\n", ""),
    (["1", "01"], "01\n", ["01"]),
    (["no", "on"], "no errors on any node\n", ""),
    (["no", "on"], "on\r\nno\n", ["no", "on"]),
    (["oxygen1", "oxygen10"], "oxygen10\n", ["oxygen10"]),
    (["oxygen2", "oxygen3"], "hello from oxygen2.cluster, rank 0; oxygen3!", ["oxygen2", "oxygen3"]),
    (["oxygen2", "oxygen3"], "\x1b[1moxygen2\x1b[0m \x1b]0;oxygen3\x07", ["oxygen2"]),
    (["oxygen2"], "my-oxygen2 oxygen2-ib oxygen2_x", ""),
    (["rack1-blade1"], "rack1-blade10 rack1-blade1", ["rack1-blade1"]),
    (["oxygen2"], "", ""),
]


@pytest.mark.parametrize(("hosts", "output", "named"), NAMED)
def test_a_name_counts_where_nothing_else_can_be_meant(hosts: list[str], output: str, named: str | list[str]) -> None:
    assert find_named(hosts, output) == set(named)


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("#!/bin/sh\ntrue\n", ""),
        ("#!/bin/sh\n#SBATCH --comment='run with -a flag, no --array'\n#SBATCH --account=a -n 1\ntrue\n", ""),
        ("#!/bin/sh\ntrue\n#SBATCH --array=1-2\n", ""),
        ("#!/bin/sh\n# no #SBATCH --array=1-2\n", ""),
        ("echo hello\n", "#!"),
        ("\n#!/bin/sh\n", "#!"),
        ("   \n", "#!"),
        ("#!", "#!"),
        ("#!\ntrue\n", "#!"),
        ("#!sh\ntrue\n", "#!"),
        ("#! /bin/sh\ntrue\n", ""),
        ("#!/bin/sh\rtrue\r", "Unix line endings"),
        ("#!/bin/sh\nprintf '\r'\n", ""),
        ("\ufeff#!/bin/sh\n", "byte order mark"),
        ("#!/bin/sh\r\ntrue\r\n", "Unix line endings"),
        ("#!/bin/sh\ntrue\0\n", "NUL"),
        ("#!/bin/sh\n#SBATCH --array=1-2\n", "a single job"),
        ("#!/bin/sh\n#SBATCH -n 1 -a 1-2\n", "a single job"),
        ("#!/bin/sh\n\n#SBATCH -a1-2\n", "a single job"),
        ("#!/bin/sh\n#SBATCH --arr 1-2\n", "a single job"),
        ("#!/bin/sh\n#SBATCH -n1\n#SBATCH hetjob\n#SBATCH -n1\n", "a single job"),
        ('#!/bin/sh\n#SBATCH --comment="open --array=1\n', "a single job"),
    ],
)
def test_a_script_that_sbatch_would_not_take_is_refused(script: str, problem: str) -> None:
    errors = decide_job_errors(SlurmJob(name="some", script=script))
    assert [error.reason for error in errors] == (["InvalidJob"] if problem else [])
    assert all(problem in error.message for error in errors)
