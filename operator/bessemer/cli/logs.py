"""Show the log of a phase, that of the pod of its latest attempt."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TextIO

from bessemer.api.clusterbuild.names import KIND
from bessemer.api.clusterbuild.resource import ClusterBuild, parse_cluster_build
from bessemer.api.clusterbuild.status import PhaseState, PhaseStatus
from bessemer.api.phase_contract import PhaseName
from bessemer.console.form import Form
from bessemer.console.session import Session
from bessemer.console.terminal import build_table, make_console, make_output, print_view
from bessemer.console.values import write_value
from bessemer.errors import Invalid
from bessemer.kinds.clusterbuild.resource import CLUSTER_BUILDS
from bessemer.kube.pods import PHASE_CONTAINER, PLAYBOOK_CONTAINER
from bessemer.kube.protocol import Refused

POLL_SECONDS = 1.0


async def copy_logs(session: Session, name: str, phase: PhaseName | None, out: TextIO, *, follow: bool) -> None:
    """Copy the log to a stream; with ``follow`` until the attempt ends. Raises Invalid where there is no log."""
    shown, pod = 0, ""
    while True:
        build = parse_cluster_build(await session.require(CLUSTER_BUILDS, KIND, name))
        chosen = choose_phase(build, phase)
        text = await _get_log(session, chosen)
        if chosen.pod != pod:
            shown, pod = 0, chosen.pod or ""  # another attempt
        out.write(make_output(text[shown:]))
        out.flush()
        shown = len(text)
        if not follow or chosen.state != PhaseState.RUNNING:
            return
        phase = chosen.name
        await asyncio.sleep(POLL_SECONDS)


def parse_phase(text: str | None) -> PhaseName | None:
    """Return the phase of this name, whatever its capitals; raises Invalid where there is none."""
    found = next((phase for phase in PhaseName if text and phase.value.lower() == text.lower()), None)
    if text is not None and found is None:
        raise Invalid("InvalidPhase", f"{text}: the phases are {', '.join(PhaseName)}")
    return found


async def print_log_list(session: Session, name: str, form: Form | None) -> None:
    """Print which phases have a log: that of the pod of the latest attempt."""
    build = parse_cluster_build(await session.require(CLUSTER_BUILDS, KIND, name))
    begun = [phase for phase in build.status.phases if phase.pod]
    if form is not None:
        fields = {"name", "state", "attempt", "pod", "start_time", "end_time"}
        logs = [phase.model_dump(mode="json", by_alias=True, include=fields) for phase in begun]
        write_value({"kind": build.KIND, "namespace": build.namespace, "name": build.name, "phases": logs}, form)
        return
    rows = [
        (phase.name, phase.state, str(phase.attempt), _write_time(phase.start_time), _write_time(phase.end_time),
         phase.pod or "")
        for phase in begun
    ]  # fmt: skip
    print_view(make_console(), build_table(("PHASE", "STATE", "ATTEMPT", "STARTED", "ENDED", "POD"), rows))


def _write_time(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}" if moment else ""


def choose_phase(build: ClusterBuild, phase: PhaseName | None) -> PhaseStatus:
    """Return the phase asked for, or the one that began last; raises Invalid where it has no pod."""
    begun = [entry for entry in build.status.phases if entry.pod and entry.start_time]
    if phase is not None:
        begun = [entry for entry in begun if entry.name == phase]
    if not begun:
        what = f"{phase} of {build.name} has" if phase else f"no phase of {build.name} has"
        raise Invalid("NoLog", f"{what} run yet" if phase is None else f"{what} not run yet")
    return max(begun, key=lambda entry: (entry.start_time, entry.name))


async def _get_log(session: Session, phase: PhaseStatus) -> str:
    """Return the log of the checkout of the site's playbooks, if there is one, and that of the phase."""
    text = ""
    for container in (PLAYBOOK_CONTAINER, PHASE_CONTAINER):
        try:
            text += await session.kubernetes.get_log(session.namespace, phase.pod or "", container)
        except Refused as error:
            if (
                error.reason != "BadRequest"
            ):  # which it is where the pod has no such container, or it has not started yet
                raise
    return text
