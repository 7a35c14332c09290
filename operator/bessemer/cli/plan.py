"""Show what a manifest would have done to which machine; touches nothing and asks nobody."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from bessemer.api.base import ApiModel
from bessemer.api.clusterbuild.resource import KIND
from bessemer.api.clusterbuild.spec import ClusterBuildSpec
from bessemer.api.phase_contract import PhaseName
from bessemer.api.runnerpool.executors import NO_HYPERVISOR
from bessemer.api.runnerpool.resource import KIND as POOL_KIND
from bessemer.api.runnerpool.spec import RunnerPoolSpec
from bessemer.cli.manifest import build_refusal, parse_manifest
from bessemer.cli.plan_pool import print_pool_plan
from bessemer.cli.terminal import build_cell
from bessemer.machines.machine import parse_compute_machines
from bessemer.machines.playbooks import playbook_directory
from bessemer.machines.role_options import read_roles
from bessemer.phases.preflight_checks import decide_spec_problems, decide_variable_problems


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
    kinds: dict[str, type[ApiModel]] = {KIND: ClusterBuildSpec, POOL_KIND: RunnerPoolSpec}
    name, spec = parse_manifest(text, kinds, tolerated={NO_HYPERVISOR})  # whose way out is what is printed here
    if isinstance(spec, RunnerPoolSpec):
        print_pool_plan(name, spec)
    elif isinstance(spec, ClusterBuildSpec):
        _print_build_plan(name, spec)


def _print_build_plan(name: str, spec: ClusterBuildSpec) -> None:
    problems = [
        *decide_spec_problems(spec),
        *decide_variable_problems(spec, read_roles(playbook_directory() / "roles")),
    ]
    wrong = [problem.message for problem in problems if not problem.hint]
    if wrong:
        raise build_refusal(wrong)
    console = Console()
    for problem in problems:
        console.print(f"Note: {problem.message}", markup=False)
    actions = Table(title=build_cell(f"ClusterBuild {name}", "table.title"), title_justify="left")
    for column in ("phase", "machines", "what is done"):
        actions.add_column(column)
    for row in compute_actions(spec):
        actions.add_row(*map(build_cell, row))
    console.print(actions)
    machines = Table(title="Machines", title_justify="left")
    for column in ("host", "MAC", "address"):
        machines.add_column(column)
    _add_machine(machines, spec.management.host, spec.management.mac, spec.management.address)
    for machine in parse_compute_machines(spec):
        _add_machine(machines, machine.host, machine.mac, machine.address)
    console.print(machines)


def _add_machine(table: Table, *columns: str | None) -> None:
    table.add_row(*(build_cell(column or "-") for column in columns))
