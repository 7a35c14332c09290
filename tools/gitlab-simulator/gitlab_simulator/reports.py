"""What GitLab reads of the reports of jobs: variables (dotenv) and tests (JUnit). Pure.

Source: app/services/ci/parse_dotenv_artifact_service.rb, lib/gitlab/ci/parsers/test/junit.rb,
https://docs.gitlab.com/ci/yaml/artifacts_reports/, https://docs.gitlab.com/api/pipelines/#get-a-test-report-for-a-pipeline
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable
from typing import Any
from xml.etree import ElementTree

from .model import Job

DOTENV_BYTES = 5 * 1024
DOTENV_VARIABLES = 20
REPORT_BYTES = 16 * 1024 * 1024
"""Of a report that is unpacked."""
_LINE = re.compile(r"(.*?)=(.*)")
_KEY = re.compile(r"[A-Za-z0-9_]+")
_FAILED = ("failure", "error", "skipped")


class WrongReportError(Exception):
    """A report that GitLab does not take; the text says why."""


def unpack(content: bytes) -> bytes:
    """Return a report as the job wrote it. Raises WrongReportError."""
    try:
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(content, REPORT_BYTES)
    except zlib.error as error:
        raise WrongReportError(f"Invalid Format: {error}") from error


def pack(content: bytes) -> bytes:
    """Return a report as the runner sends it."""
    return gzip.compress(content)


def parse_dotenv(content: bytes) -> dict[str, str]:
    """Read the variables that a job leaves to the later ones. Raises WrongReportError."""
    text = unpack(content)
    if len(text) >= DOTENV_BYTES:
        raise WrongReportError(f"Dotenv Artifact Too Big. Maximum Allowable Size: {DOTENV_BYTES}")
    variables: dict[str, str] = {}
    for line in text.decode("utf-8-sig", "replace").splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise WrongReportError("Invalid Format")
        key, value = (part.strip() for part in match.groups())
        if not _KEY.fullmatch(key):
            raise WrongReportError("Validation failed: Key can contain only letters, digits and '_'.")
        variables[key] = value
    if len(variables) > DOTENV_VARIABLES:
        raise WrongReportError(f"Dotenv files cannot have more than {DOTENV_VARIABLES} variables")
    return variables


def build_test_report(jobs: Iterable[Job]) -> dict[str, Any]:
    """Return the tests of a pipeline: a suite for each job that has some."""
    with_tests = ((job, job.artifacts["junit"][1]) for job in jobs if "junit" in job.artifacts)
    suites = [_build_suite(job.name, content) for job, content in with_tests]
    counts = ("total_time", "total_count", "success_count", "failed_count", "skipped_count", "error_count")
    return {name: sum(suite[name] for suite in suites) for name in counts} | {"test_suites": suites}


def _build_suite(name: str, content: bytes) -> dict[str, Any]:
    """One that can't be read has no tests, and says why."""
    try:
        root = ElementTree.fromstring(unpack(content))  # noqa: S314  expat of today refuses entities that grow
    except (ElementTree.ParseError, WrongReportError) as error:
        return _count(name, [], f"JUnit XML parsing failed: {error}")
    return _count(name, [_build_case(case) for case in root.iter("testcase")], None)


def _count(name: str, cases: list[dict[str, Any]], error: str | None) -> dict[str, Any]:
    numbers = {f"{status}_count": sum(case["status"] == status for case in cases) for status in
               ("success", "failed", "skipped", "error")}  # fmt: skip
    total = {"total_time": sum(case["execution_time"] for case in cases), "total_count": len(cases)}
    return {"name": name, **total, **numbers, "suite_error": error, "test_cases": cases}


def _build_case(case: ElementTree.Element) -> dict[str, Any]:
    found = next((child for kind in _FAILED if (child := case.find(kind)) is not None), None)
    status = "success" if found is None else "failed" if found.tag == "failure" else found.tag
    said = None if found is None else (found.text or "").strip() or found.get("message")
    output = case.findtext("system-out")
    try:
        seconds = float(case.get("time", "0"))
    except ValueError:
        seconds = 0.0
    return {
        "status": status,
        "name": case.get("name"),
        "classname": case.get("classname"),
        "file": case.get("file"),
        "execution_time": seconds,
        "system_output": said or output,
        "stack_trace": None,
        "recent_failures": None,
    }
