"""The ClusterBuilds of a trigger: how they are recognized, what they are doing, and how they are written. Pure.

A ClusterBuild belongs to the trigger that its label names. It has no owner reference: it may outlive the trigger.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bessemer.api.buildtrigger.resource import BuildTrigger
from bessemer.api.buildtrigger.spec import BuildTriggerSpec
from bessemer.api.clusterbuild.names import KIND
from bessemer.api.clusterbuild.resource import ClusterBuild, parse_cluster_build
from bessemer.api.group import API_VERSION
from bessemer.api.names import build_label_value
from bessemer.api.wellknown import (
    ABORT_ANNOTATION,
    COMMIT_ANNOTATION,
    EVENT_ANNOTATION,
    PROJECT_ANNOTATION,
    REF_ANNOTATION,
    RETRY_ANNOTATION,
    RULE_ANNOTATION,
    TRIGGER_LABEL,
)
from bessemer.foreign import make_line, make_text
from bessemer.kinds.buildtrigger.facts import BuildFact, BuildState
from bessemer.kinds.buildtrigger.manifests import Cluster
from bessemer.kinds.buildtrigger.records import Record
from bessemer.kinds.buildtrigger.scope import get_project
from bessemer.kube.protocol import Object

REASON_CHARACTERS, MESSAGE_CHARACTERS = 128, 2000
"""Of the condition of a build that are kept: users may write its status, and a trigger's own has less room."""
UNWANTED = "unwanted-by-"
"""Beginning of the value of the abort annotation of a build that its job does not want any more."""
REPLACED = "replaced-by-"
"""Beginning of the value of the abort annotation that a trigger sets; the name of the event's record follows."""


def belongs_to(trigger: str, raw: Mapping[str, Any]) -> bool:
    """Return whether a ClusterBuild belongs to the trigger of this name."""
    labels = raw["metadata"].get("labels")
    return isinstance(labels, Mapping) and labels.get(TRIGGER_LABEL) == build_label_value(trigger)


def is_of(spec: BuildTriggerSpec, build: BuildFact, record: Record) -> bool:
    """Return whether a build is that of the branch, tag or merge request of an event, whatever commit of it."""
    same = build.project.lower() == get_project(spec, record.event).lower()
    return same and build.ref == record.event.ref


def parse_build(raw: Mapping[str, Any]) -> BuildFact:
    """Return what a ClusterBuild is doing; it may contain anything."""
    build = parse_cluster_build(raw)
    found = build.annotations
    state, reason, message = _find_state(build)
    abort = found.get(ABORT_ANNOTATION, "")
    return BuildFact(
        name=build.name,
        uid=build.uid,
        state=state,
        reason=reason,
        message=message,
        event=make_line(found.get(EVENT_ANNOTATION, ""), 253),
        commit=make_line(found.get(COMMIT_ANNOTATION, ""), 64),
        ref=make_line(found.get(REF_ANNOTATION, ""), 300),
        project=make_line(found.get(PROJECT_ANNOTATION, ""), 1024),
        rule=make_line(found.get(RULE_ANNOTATION, ""), 63),
        aborting=abort.startswith(REPLACED),
        unwanted=make_line(abort.removeprefix(UNWANTED), 253) if abort.startswith(UNWANTED) else "",
        deleting=build.deleted is not None,
        details=build.status if _is_current(build) else None,
        spec=build.spec,
    )


def _is_current(build: ClusterBuild) -> bool:
    """Return whether the status is about the current spec, and the latest order to try again."""
    current = build.status.observed_generation == build.generation
    return current and build.annotations.get(RETRY_ANNOTATION) in (None, build.status.handled_retry)


def _find_state(build: ClusterBuild) -> tuple[BuildState, str, str]:
    """Return the state of a build, with reason and message of a finished one."""
    status, ready = build.status, build.status.condition("Ready")
    if status.end_time is None or ready is None or not _is_current(build):
        return BuildState.BUILDING, "", ""
    state = BuildState.READY if ready.status == "True" else BuildState.FAILED
    return state, make_line(ready.reason, REASON_CHARACTERS), make_text(ready.message, MESSAGE_CHARACTERS)


def build_manifest(trigger: BuildTrigger, record: Record, rule: str, cluster: Cluster, project: str) -> Object:
    """Return the ClusterBuild of a manifest, as it is applied.

    The annotation for retries has the name of the event, so that an event starts a failed build again even where the
    manifest is the same.
    """
    annotations = {
        **cluster.annotations,
        EVENT_ANNOTATION: record.name,
        COMMIT_ANNOTATION: record.event.commit,
        REF_ANNOTATION: record.event.ref,
        RULE_ANNOTATION: rule,
        PROJECT_ANNOTATION: project,
        RETRY_ANNOTATION: record.name,
    }
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": cluster.name,
            "namespace": trigger.namespace,
            "labels": {**cluster.labels, TRIGGER_LABEL: build_label_value(trigger.name)},
            "annotations": annotations,
        },
        "spec": cluster.build_spec(),
    }
