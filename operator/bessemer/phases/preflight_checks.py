"""What Preflight can tell from the spec alone: pure checks of what no schema can say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address
from urllib.parse import urlsplit

from bessemer.api.clusterbuild.spec import ClusterBuildSpec, Install
from bessemer.api.clusterbuild.verification import SlurmJob
from bessemer.api.phase_contract import PhaseResult
from bessemer.errors import Invalid
from bessemer.foreign import make_line
from bessemer.machines.hostlists import build_hostlist
from bessemer.machines.machine import compute_min_ready
from bessemer.machines.netboot.entries import parse_file_name
from bessemer.machines.role_options import Roles, decide_unknown_names, decide_wrong_values
from bessemer.phases.hosts import parse_variables
from bessemer.phases.patterns import decide_job_errors
from bessemer.phases.preflight_machines import decide_machine_problems, find_other_use
from bessemer.phases.preflight_problem import Problem

_FILE_NAME = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9._+-]{0,254}")
"""What the boot daemon gives out."""
_URL_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?")
"""A name or an IPv4 address, in small letters."""


def decide_spec_problems(spec: ClusterBuildSpec) -> list[Problem]:
    """List all that is wrong with a spec."""
    problems = decide_machine_problems(spec)
    problems += _decide_urls(spec)
    problems += _decide_file_names(spec.compute.install)
    problems += _collect(lambda: compute_min_ready(spec))
    problems += [problem for job in spec.verify.jobs for problem in _decide_job(job, len(spec.compute.macs))]
    return problems


def decide_variable_problems(spec: ClusterBuildSpec, roles: Roles) -> list[Problem]:
    """Check the variables against what our roles take.

    Names that look like ours are refused where nothing else can use them; a site's own playbooks may have such.
    """
    variables, field = spec.configuration.variables, "spec.configuration.variables"
    problems = _collect(lambda: parse_variables(variables))
    problems += [Problem("InvalidVariable", f"{field}: {text}") for text in decide_wrong_values(variables, roles)]
    has_playbooks = spec.configuration.playbooks is not None
    return problems + [
        Problem("InvalidVariable", f"{field}: {text}", hint=has_playbooks)
        for text in decide_unknown_names(variables, roles)
    ]


def build_result(problems: Iterable[Problem]) -> PhaseResult:
    """Return how Preflight ended; all problems are listed, and worth another try only if every one is."""
    listed = list(problems)
    found = [problem for problem in listed if not problem.hint]
    message = "; ".join(dict.fromkeys(problem.message for problem in [*found, *listed]))
    if not found:
        message = "all checks passed" + (f"; {message}" if message else "")
        return PhaseResult(succeeded=True, reason="Succeeded", message=message[:2048])
    reason = found[0].reason if len({problem.reason for problem in found}) == 1 else "PreflightFailed"
    return PhaseResult(
        succeeded=False, reason=reason, message=message[:2048], retryable=all(problem.retryable for problem in found)
    )


def _collect(check: Callable[[], object]) -> list[Problem]:
    try:
        check()
    except Invalid as error:
        return [Problem(error.reason, error.message)]
    return []


def _decide_urls(spec: ClusterBuildSpec) -> Iterator[Problem]:
    """Check the URLs from which machines fetch files; whether the files exist is checked on the boot host."""
    own = spec.management.install
    installs = [("spec.compute.install", spec.compute.install, False)]
    installs += [("spec.management.install", own, True)] if own and spec.management.provision else []
    for field, install, remote in installs:
        for url in dict.fromkeys((install.kernel, *install.initrds, install.image)):
            why = _find_url_problem(url, remote=remote)
            if why:
                yield Problem("InvalidUrl", f"{field}: {make_line(url, 200)}: {why}")


def _find_url_problem(url: str, *, remote: bool) -> str | None:
    """Return what is wrong with a URL; one that is not ``remote`` may be of the machine itself that fetches from it."""
    if not all("!" <= character <= "~" for character in url):
        return "characters other than printable ASCII must be written as %XX"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if ":" in host:
        return "IPv6 is not supported"
    if not _URL_HOST.fullmatch(host) or port == 0:
        return "no URL with a host and a port from 1 to 65535"
    kind = _find_other_use(host) if remote else None
    return f"no address that a machine can fetch from: {kind}" if kind else None


def _find_other_use(host: str) -> str | None:
    try:
        return "loopback" if host == "localhost" else find_other_use(IPv4Address(host))
    except ValueError:
        return None


def _decide_file_names(install: Install) -> list[Problem]:
    """Check the names under which the management node keeps and serves what compute nodes boot and install."""
    every = dict.fromkeys((install.kernel, *install.initrds, install.image))
    urls = [url for url in every if _find_url_problem(url, remote=False) is None]
    names = {url: parse_file_name(url) for url in urls}
    problems = [
        Problem("InvalidFileName", f"spec.compute.install: {url} must end in a file name of letters, digits and ._+-")
        for url, name in names.items()
        if not _FILE_NAME.fullmatch(name)
    ]
    alike = [[url for url in urls if names[url] == name] for name in dict.fromkeys(names.values()) if name]
    return problems + [
        Problem("DuplicateFileName", f"spec.compute.install: {' and '.join(same)} must differ in their file names")
        for same in alike
        if len(same) > 1
    ]


def _decide_job(job: SlurmJob, nodes: int) -> list[Problem]:
    problems = []
    if job.nodes != "All" and int(job.nodes) > nodes:
        text = f"spec.verify.jobs, {job.name}: nodes: {job.nodes} is more than the {nodes} nodes there are"
        problems.append(Problem("InvalidNodeCount", text))
    return problems + [Problem(error.reason, error.message) for error in decide_job_errors(job)]


def decide_unknown_states(
    unknown: Sequence[str], why: Mapping[str, str], management: str, may_fail: int
) -> list[Problem]:
    """Judge machines whose power state can't be read: some compute nodes may fail, the management node may not.

    Args:
        unknown: these machines.
        why: what is known of the reason, by machine.
        management: the management node.
        may_fail: how many compute nodes may.
    """
    if not unknown:
        return []
    alike: dict[str, list[str]] = {}
    for host in unknown:
        alike.setdefault(why.get(host, ""), []).append(host)
    named = ", ".join(build_hostlist(hosts) + (f" ({text})" if text else "") for text, hosts in alike.items())
    fatal = management in unknown or len(unknown) > may_fail
    text = f"power control can't read the state of {named}"
    return [Problem("PowerStateUnknown", text if fatal else f"{text}: minReady allows it", True, not fatal)]
