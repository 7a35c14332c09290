"""How far a job's build is, as it is told to the job. Pure.

The job has no rights in Kubernetes: this is all that it learns. It is bounded, since a job asks every few seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from bessemer.api.buildtrigger.status import FINAL, EventState
from bessemer.api.clusterbuild.resource import ClusterBuild, parse_cluster_build
from bessemer.api.jobprogress import BuildProgress, JobProgress, PhaseLine, VerifyLine
from bessemer.api.wellknown import EVENT_ANNOTATION
from bessemer.kinds.buildtrigger.records import Record

MOST_BUILDS = 8
"""Builds that are told of."""
MESSAGE_CHARACTERS, SHOWN_CHARACTERS = 1024, 512


def list_own_builds(record: Record, raw_builds: Iterable[Mapping[str, Any]]) -> list[ClusterBuild]:
    """List the ClusterBuilds of an event among those of its trigger."""
    builds = [parse_cluster_build(raw) for raw in raw_builds]
    own = [build for build in builds if build.annotations.get(EVENT_ANNOTATION) == record.name]
    return sorted(own, key=lambda build: build.name)


def build_progress(record: Record, own: Iterable[ClusterBuild]) -> JobProgress:
    """Return how far an event of a job is; ``own`` are its ClusterBuilds."""
    outcome = record.outcome
    return JobProgress(
        record=record.name,
        commit=record.event.commit,
        state=outcome.state if outcome is not None else EventState.WAITING,
        reason=outcome.reason if outcome is not None else "Received",
        message=outcome.message if outcome is not None else "",
        final=outcome is not None and outcome.state in FINAL,
        unwanted=record.unwanted,
        builds=[describe_build(build) for build in islice(own, MOST_BUILDS)],
    )


def describe_build(build: ClusterBuild) -> BuildProgress:
    """Return how far a ClusterBuild is."""
    status, ready = build.status, build.status.condition("Ready")
    progress, spec = status.progress, build.spec
    address = "" if spec is None else spec.management.ssh.address if spec.management.ssh else spec.management.address
    return BuildProgress(
        namespace=build.namespace,
        name=build.name,
        phase=status.phase,
        elapsed=status.elapsed,
        ready=ready is not None and ready.status == "True" and status.observed_generation == build.generation,
        reason=ready.reason if ready is not None else "",
        message=ready.message[:MESSAGE_CHARACTERS] if ready is not None else "",
        address=address,
        phases=[
            PhaseLine(
                name=phase.name,
                state=phase.state,
                attempt=phase.attempt,
                reason=phase.reason or "",
                message=(phase.message or "")[:MESSAGE_CHARACTERS],
                started=phase.start_time,
                ended=phase.end_time,
            )
            for phase in status.phases
        ],
        activity=f"{progress.phase}: {progress.message}"[:SHOWN_CHARACTERS] if progress is not None else "",
        nodes=f"{status.nodes.installed}/{status.nodes.desired} installed, {status.nodes.ready} ready, "
        f"{status.nodes.failed} failed",
        verification=[
            VerifyLine(
                name=job.name,
                passed=job.passed,
                state=job.state,
                nodes=job.nodes[:SHOWN_CHARACTERS],
                message=job.message[:SHOWN_CHARACTERS],
                output=job.output_tail[-SHOWN_CHARACTERS:],
            )
            for job in status.jobs
        ],
    )
