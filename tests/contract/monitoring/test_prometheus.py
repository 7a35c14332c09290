"""Prometheus' own tool takes the alerts, the dashboard's queries and the metrics; each alert fires when it must."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest

from bessemer.kinds.runnerpool.facts import RunnerPodState
from tests.contract.machines.daemons import extract_program
from tests.fakes.metrics import build_registry
from tests.support.checkout import ROOT

OPERATIONS = ROOT / "docs" / "operations"
VARIABLES = {"$namespace": "lab|site", "$pool": ".+", "$__rate_interval": "4m"}
"""Values of Grafana's variables, as Grafana writes them into a query."""
POOL = 'namespace="lab",pool="p"'
JOBS, PODS = f"bessemer_pool_pending_jobs{{{POOL}}}", f"bessemer_pool_pods{{{POOL},state=%s}}"
NO_PODS = {PODS % f'"{state.value}"': "0x60" for state in RunnerPodState}
BUCKET = f'bessemer_pool_wait_to_start_seconds_bucket{{{POOL},le="%s"}}'
ERRORS = 'bessemer_reconcile_errors_total{kind="RunnerPool",reason="InternalError"}'
ATTEMPTS = 'bessemer_phase_attempts_total{phase="Verify",reason="%s"}'
FIRING: dict[str, dict[str, str]] = {
    "BessemerHasNoLeader": {'bessemer_leading{instance="a"}': "0x60", 'bessemer_leading{instance="b"}': "0x60"},
    "BessemerReconcileErrors": {ERRORS: "0+30x60"},
    "BessemerPhasesFail": {ATTEMPTS % "JobFailed": "0+1x60"},
    "BessemerJobsWait": {JOBS: "2x60", **NO_PODS},
    "BessemerPodsStartSlowly": {BUCKET % "120": "0x60", BUCKET % "300": "0+5x60", BUCKET % "+Inf": "0+5x60"},
    "BessemerPodsLost": {**NO_PODS, PODS % '"Lost"': "1x60"},
}
"""For each alert series that make it fire within an hour, one value a minute."""
QUIET: dict[str, dict[str, str]] = {
    "one leader": {'bessemer_leading{instance="a"}': "1x60", 'bessemer_leading{instance="b"}': "0x60"},
    "errors that time cures": {ERRORS: "0+1x60"},
    "phases that succeed": {ATTEMPTS % "Succeeded": "0+1x60"},
    "jobs and pods that start": {JOBS: "2x60", **NO_PODS, PODS % '"Starting"': "1x60"},
    "jobs and pods that run": {JOBS: "2x60", **NO_PODS, PODS % '"Running"': "1x60"},
    "jobs that are not known": NO_PODS,
    "pods that start at once": {BUCKET % "120": "0+5x60", BUCKET % "300": "0+5x60", BUCKET % "+Inf": "0+5x60"},
    "pods that fail": {**NO_PODS, PODS % '"Failed"': "1x60"},
}
LEADER = {'bessemer_leading{instance="c"}': "1x60"}


def read_alerts() -> dict[str, Any]:
    page = (OPERATIONS / "monitoring.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n(groups:.*?)^```", page, re.MULTILINE | re.DOTALL)
    found: dict[str, Any] = yaml.safe_load(block)
    return found


def list_queries(panels: list[dict[str, Any]]) -> Iterator[str]:
    """Return the queries of the dashboard's panels, with values for Grafana's variables."""
    for panel in panels:
        yield from list_queries(panel.get("panels", []))
        for target in panel.get("targets", []):
            query = target["expr"]
            for variable, value in VARIABLES.items():
                query = query.replace(variable, value)
            yield query


@pytest.fixture(scope="module")
def promtool() -> Path:
    return extract_program("promtool", "prometheus")


def run(promtool: Path, *arguments: str | Path, given: str = "") -> str:
    """Run promtool; returns all output, which it may not call an error."""
    done = subprocess.run(
        [promtool, *arguments], input=given, capture_output=True, text=True, check=False, timeout=120, cwd="/"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_prometheus_loads_the_alerts(promtool: Path, tmp_path: Path) -> None:
    alerts = read_alerts()
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(alerts))
    assert f"{len(alerts['groups'][0]['rules'])} rules found" in run(
        promtool, "check", "rules", "--lint=all", "--lint-fatal", tmp_path / "alerts.yaml"
    )


def test_prometheus_parses_the_queries_of_the_dashboard(promtool: Path, tmp_path: Path) -> None:
    dashboard = json.loads((OPERATIONS / "grafana-dashboard.json").read_text(encoding="utf-8"))
    queries = list(list_queries(dashboard["panels"]))
    assert len(queries) >= len(dashboard["panels"])
    assert not [query for query in queries if "$" in query]
    rules = [{"record": f"dashboard:query{number}", "expr": query} for number, query in enumerate(queries)]
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in run(promtool, "check", "rules", tmp_path / "queries.yaml")


def test_prometheus_reads_the_metrics_and_has_no_complaint(promtool: Path) -> None:
    text = generate_latest(build_registry()).decode()
    assert run(promtool, "check", "metrics", given=text) == ""


def build_test(series: dict[str, str], firing: set[str], alerts: list[str]) -> dict[str, Any]:
    """Return a test of promtool: which of the alerts fire after an hour of these series."""
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'sum by (alertname) (ALERTS{{alertname="{alert}",alertstate="firing"}})',
                "eval_time": "55m",
                "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1}] if alert in firing else [],
            }
            for alert in alerts
        ],
    }


def test_each_alert_fires_for_what_it_names_and_for_nothing_else(promtool: Path, tmp_path: Path) -> None:
    alerts = read_alerts()
    names = [rule["alert"] for rule in alerts["groups"][0]["rules"]]
    assert set(FIRING) == set(names)
    tests = [
        build_test(LEADER | series if name != names[0] else series, {name}, names) for name, series in FIRING.items()
    ]
    tests += [
        build_test(series if name == "one leader" else LEADER | series, set(), names) for name, series in QUIET.items()
    ]
    tests.append(build_test({}, {"BessemerHasNoLeader"}, names))
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(alerts))
    (tmp_path / "tests.yaml").write_text(
        yaml.safe_dump({"rule_files": ["alerts.yaml"], "evaluation_interval": "1m", "tests": tests})
    )
    run(promtool, "test", "rules", tmp_path / "tests.yaml")
