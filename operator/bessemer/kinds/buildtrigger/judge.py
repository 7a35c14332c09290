"""What the files of a repository lead to: ClusterBuilds, or why they can't be used. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bessemer.api.buildtrigger.resource import BuildTrigger
from bessemer.api.buildtrigger.rules import Mode, Rule
from bessemer.api.buildtrigger.spec import BuildTriggerSpec
from bessemer.errors import Invalid
from bessemer.foreign import make_line
from bessemer.kinds.buildtrigger.facts import Problem, Resolution
from bessemer.kinds.buildtrigger.manifests import Cluster, join_lines, parse_clusters
from bessemer.kinds.buildtrigger.policy import Policy, list_violations
from bessemer.kinds.buildtrigger.records import RecordedJob
from bessemer.machines.machine import parse_compute_machines


def judge_files(
    trigger: BuildTrigger, spec: BuildTriggerSpec, rule: Rule, files: Mapping[str, bytes], commit: str
) -> Resolution:
    """Return the ClusterBuilds of files at a commit; all that is wrong with them is listed at once."""
    try:
        clusters = parse_clusters(files, trigger.namespace, spec.overrides, commit)
        policy = Policy(spec.allow)
        wrong = [
            f"{cluster.path}: {cluster.name}: {line}"
            for cluster in clusters
            for line in list_violations(policy, cluster.spec)
        ]
    except Invalid as error:
        return Resolution(rule.name, refusal=Problem(error.reason, error.message))
    if wrong:
        return Resolution(rule.name, refusal=Problem("NotAllowed", join_lines(wrong)))
    broken = [f"{cluster.path}: {cluster.name}: {why}" for cluster in clusters if (why := _find_problem(cluster))]
    if broken:
        return Resolution(rule.name, refusal=Problem("InvalidManifest", join_lines(broken)))
    return Resolution(rule.name, tuple(clusters), planned=rule.mode is Mode.PLAN)


def _find_problem(cluster: Cluster) -> str:
    """Return what is wrong with the list of machines, which no schema can check; empty if nothing is."""
    try:
        parse_compute_machines(cluster.spec)
    except Invalid as error:
        return error.message
    return ""


def choose_clusters(found: Resolution, job: RecordedJob) -> Resolution:
    """Return only what a job asks for: all files at the commit are checked all the same."""
    chosen = tuple(
        cluster
        for cluster in found.clusters
        if job.manifest in ("", cluster.path) and job.cluster in ("", cluster.name)
    )
    if chosen or found.refusal is not None:
        return replace(found, clusters=chosen)
    wanted = " of ".join(filter(None, (job.cluster and f"ClusterBuild {job.cluster}", job.manifest))) or "ClusterBuild"
    there = ", ".join(f"{cluster.name} of {cluster.path}" for cluster in found.clusters[:8])
    text = f"the trigger reads no {wanted} at this commit" + (f", only {there}" if there else "")
    return replace(found, clusters=(), refusal=Problem("ClusterNotFound", make_line(text)))
