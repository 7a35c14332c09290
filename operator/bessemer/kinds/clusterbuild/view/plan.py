"""Show what a ClusterBuild would have done to which machine; reads nothing but the spec."""

from __future__ import annotations

from bessemer.api.clusterbuild.names import KIND
from bessemer.api.clusterbuild.spec import ClusterBuildSpec
from bessemer.api.phase_contract import PhaseName
from bessemer.console.form import Form
from bessemer.console.refusal import build_refusal
from bessemer.console.terminal import build_cell, build_table, make_console, print_view
from bessemer.console.values import write_value
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


def print_build_plan(name: str, spec: ClusterBuildSpec, form: Form | None) -> None:
    """Print what is done to which machine; raises Invalid with all that is wrong."""
    problems = [
        *decide_spec_problems(spec),
        *decide_variable_problems(spec, read_roles(playbook_directory() / "roles")),
    ]
    wrong = [problem.message for problem in problems if not problem.hint]
    if wrong:
        raise build_refusal(wrong)
    notes = [problem.message for problem in problems]
    actions, machines = compute_actions(spec), list_machines(spec)
    if form is not None:
        phases = [dict(zip(("phase", "machines", "action"), map(str, row), strict=True)) for row in actions]
        hosts = [dict(zip(("host", "mac", "address"), row, strict=True)) for row in machines]
        write_value({"kind": KIND, "name": name, "notes": notes, "phases": phases, "machines": hosts}, form)
        return
    rows = [[column or "-" for column in row] for row in machines]
    print_view(
        make_console(),
        build_cell(f"clusterbuild/{name}", "bold"),
        *(build_cell(f"Note: {note}") for note in notes),
        "",
        build_table(("PHASE", "MACHINES", "ACTION"), actions),
        "",
        build_table(("HOST", "MAC", "ADDRESS"), rows),
    )


def list_machines(spec: ClusterBuildSpec) -> list[tuple[str, str | None, str | None]]:
    """List host, MAC address and address of each machine; None for what is not known."""
    management = spec.management
    compute = [(machine.host, machine.mac, machine.address) for machine in parse_compute_machines(spec)]
    return [(management.host, management.mac, management.address), *compute]
