"""Show what a manifest would have done to which machine; touches nothing and asks nobody."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from bessemer.clusterbuild.resource import API_VERSION, KIND
from bessemer.clusterbuild.spec import ClusterBuildSpec
from bessemer.crdschema import compute_structural_schema
from bessemer.errors import Invalid
from bessemer.phases.hosts import parse_variables
from bessemer.phases.machines import parse_compute_machines
from bessemer.phases.preflight_checks import decide_spec_problems
from bessemer.phases.report import PhaseName
from bessemer.resource import explain_validation_error

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def parse_manifest(text: str) -> tuple[str, ClusterBuildSpec]:
    """Give name and spec of the only ClusterBuild in a manifest; raises Invalid naming what is wrong."""
    try:
        documents = [document for document in yaml.safe_load_all(text) if isinstance(document, dict)]
    except yaml.YAMLError as error:
        raise Invalid("InvalidManifest", f"this is no YAML: {error}") from error
    builds = [document for document in documents if document.get("kind") == KIND]
    if len(builds) != 1 or builds[0].get("apiVersion") != API_VERSION:
        raise Invalid("InvalidManifest", f"the manifest must hold one object of kind {KIND}, apiVersion {API_VERSION}")
    metadata, given = builds[0].get("metadata"), builds[0].get("spec")
    if not isinstance(given, dict):
        raise Invalid("InvalidManifest", "spec must hold fields")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Invalid("InvalidManifest", "metadata.name must be a DNS name, such as oxygen: a-z, 0-9, '-' and '.'")
    unknown = list_unknown_fields(given, compute_structural_schema(ClusterBuildSpec), "spec")
    try:
        spec = ClusterBuildSpec.model_validate(given)
    except ValidationError as error:
        lines = [f"spec.{line}" for line in explain_validation_error(error).splitlines()]
        raise build_refusal([*unknown, *lines]) from error
    if unknown:
        raise build_refusal(unknown)
    return name, spec


def list_unknown_fields(value: Any, schema: Mapping[str, Any], path: str) -> list[str]:
    """List fields that the CRD doesn't have, as kubectl does; ``schema`` is structural."""
    if isinstance(value, list):
        items = schema.get("items", {})
        return [line for at, item in enumerate(value) for line in list_unknown_fields(item, items, f"{path}[{at}]")]
    fields = schema.get("properties")
    if not isinstance(value, dict) or fields is None:
        return []
    unknown = [f"{path}.{name}: there is no such field" for name in value if name not in fields]
    inner = (list_unknown_fields(value[name], fields[name], f"{path}.{name}") for name in value if name in fields)
    return [*unknown, *(line for lines in inner for line in lines)]


def build_refusal(lines: Iterable[str]) -> Invalid:
    """Make the error of a manifest with all that is wrong with it."""
    return Invalid("InvalidManifest", "the manifest is not valid:\n" + "\n".join(f"  {line}" for line in lines))


def compute_actions(spec: ClusterBuildSpec) -> list[tuple[str, str, str]]:
    """List phase, machines and what is done to them, in order."""
    management, compute = spec.management, spec.compute
    boot = "left as it is (provision: false)"
    if management.provision and management.install:
        boot = f"POWERED OFF AND ON, network-booted from {spec.boot_host.address if spec.boot_host else '?'}, installed"
        boot += f" ({management.install.method}) with {management.install.image}"
        boot += (
            f" on {management.install.disk}, WHICH IS OVERWRITTEN" if management.install.method == "DiskImage" else ""
        )
    install = compute.install
    nodes = (
        f"POWERED OFF AND ON in waves of {compute.max_concurrent}, installed ({install.method}) with {install.image}"
    )
    nodes += f" on {install.disk}, WHICH IS OVERWRITTEN" if install.method == "DiskImage" else ""
    everything = f"{management.host}, {compute.hosts}"
    services = ", ".join(["munge", "slurmd", *spec.services])
    jobs = ", ".join(f"{job.name} ({job.nodes})" for job in spec.verify.jobs)
    return [
        (PhaseName.PREFLIGHT, everything, "checked; nothing is changed"),
        (PhaseName.BOOT_MANAGEMENT, management.host, boot),
        (
            PhaseName.CONFIGURE_MANAGEMENT,
            management.host,
            "configured: time, boot services, munge, slurmctld, powerman",
        ),
        (PhaseName.BOOT_COMPUTE, compute.hosts, f"{nodes}; {compute.min_ready} must be ready"),
        (PhaseName.CONFIGURE_SERVICES, compute.hosts, f"configured: {services}"),
        (PhaseName.VERIFY, compute.hosts, f"Slurm jobs: {jobs}"),
        (PhaseName.CLEANUP, everything, f"what was staged is taken back; when deleted: {spec.on_delete}"),
    ]


def print_plan(text: str) -> None:
    """Print the plan of a manifest; raises Invalid with all that is wrong."""
    name, spec = parse_manifest(text)
    lines = [problem.message for problem in decide_spec_problems(spec)]
    try:
        parse_variables(spec.configuration.variables)
    except Invalid as error:
        lines.append(error.message)
    if lines:
        raise build_refusal(lines)
    console = Console()
    actions = Table(title=f"ClusterBuild {name}", title_justify="left")
    for column in ("phase", "machines", "what is done"):
        actions.add_column(column)
    for row in compute_actions(spec):
        actions.add_row(*row)
    console.print(actions)
    machines = Table(title="Machines", title_justify="left")
    for column in ("host", "MAC", "address"):
        machines.add_column(column)
    machines.add_row(spec.management.host, spec.management.mac or "-", spec.management.address)
    for machine in parse_compute_machines(spec):
        machines.add_row(machine.host, machine.mac or "-", machine.address)
    console.print(machines)
