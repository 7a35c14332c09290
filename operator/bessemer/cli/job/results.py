"""What a job leaves to GitLab: its exit code, a dotenv report and a JUnit report. Pure.

Sources: https://docs.gitlab.com/ci/yaml/artifacts_reports/ and https://docs.gitlab.com/ci/testing/unit_test_reports/
"""

from __future__ import annotations

import re
from enum import IntEnum
from xml.etree.ElementTree import Element, SubElement, tostring

from bessemer.api.jobprogress import BuildProgress, JobProgress

_VALUE = re.compile(r"[A-Za-z0-9._:/@-]*")
_REFUSED = frozenset({"Refused", "Skipped"})


class Exit(IntEnum):
    """Exit codes of ``bessemer job build``."""

    READY = 0
    FAILED = 1
    ERROR = 2
    REFUSED = 3
    ABORTED = 4


def compute_exit(progress: JobProgress) -> Exit:
    """Return the exit code for what has become of a build."""
    if progress.state in ("Succeeded", "Planned"):
        return Exit.READY
    if progress.unwanted or "Aborted" in {build.reason for build in progress.builds} | {progress.reason}:
        return Exit.ABORTED
    return Exit.REFUSED if progress.state in _REFUSED else Exit.FAILED


def write_dotenv(progress: JobProgress) -> str:
    """Return the variables that later jobs of the pipeline get; of one build, since their names are fixed."""
    if len(progress.builds) != 1:
        return ""
    build = progress.builds[0]
    values = {
        "BESSEMER_CLUSTER_NAME": build.name,
        "BESSEMER_CLUSTER_NAMESPACE": build.namespace,
        "BESSEMER_CLUSTER_STATE": "Ready" if build.ready else build.phase,
        "BESSEMER_CLUSTER_ADDRESS": build.address if build.ready else "",
    }
    return "".join(f"{name}={value}\n" for name, value in values.items() if _VALUE.fullmatch(value))


def write_junit(progress: JobProgress) -> bytes:
    """Return the verification jobs as a JUnit report: one suite for each cluster."""
    root = Element("testsuites")
    for build in progress.builds:
        _add_suite(root, build)
    return bytes(tostring(root, encoding="utf-8", xml_declaration=True))


def _add_suite(root: Element, build: BuildProgress) -> None:
    failed = sum(not job.passed for job in build.verification)
    attributes = {"name": build.name} | {
        "tests": str(len(build.verification)),
        "failures": str(failed),
        "errors": "0",
        "skipped": "0",
    }
    suite = SubElement(root, "testsuite", attributes)
    for job in build.verification:
        case = SubElement(suite, "testcase", name=job.name, classname=f"bessemer.{build.name}")
        if not job.passed:
            SubElement(case, "failure", message=job.message or job.state).text = job.message
        SubElement(case, "system-out").text = f"nodes: {job.nodes}\n{job.output}"
