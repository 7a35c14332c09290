"""The condition Reporting: whether GitLab takes what it is told. Pure."""

from __future__ import annotations

from bessemer.engine.conditions import Verdict
from bessemer.kinds.buildtrigger.facts import Facts
from bessemer.kinds.buildtrigger.report.decide import reports_anything

TYPE = "Reporting"


def compute_reporting(facts: Facts) -> Verdict:
    """Return the condition; it never concerns a build."""
    spec, reporting = facts.trigger.spec, facts.reporting
    if spec is None or not reports_anything(spec):
        return Verdict(TYPE, "Unknown", "Off", "GitLab is told nothing: spec.report")
    if facts.access is not None:
        return Verdict(TYPE, "False", facts.access.reason, facts.access.message)
    if reporting.reason:
        return Verdict(TYPE, "False", reporting.reason, reporting.message)
    for record in reversed(facts.records.own):
        known = facts.reports.get(record.name)
        for part, refusal in (known.refusals if known is not None else {}).items():
            where = f"{record.event.ref} {record.event.commit[:12]}, {part}"
            return Verdict(TYPE, "False", refusal.reason, f"{where}: {refusal.message}")
    if not any(record.report is not None for record in facts.records.own):
        return Verdict(TYPE, "Unknown", "NothingReported", "there was nothing to tell yet")
    return Verdict(TYPE, "True", "Reported")
