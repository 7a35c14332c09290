"""Metrics, their table, the alerts and the dashboard name the same."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.fakes.metrics import build_registry
from tests.support.checkout import ROOT

PAGE = (ROOT / "docs" / "operations" / "monitoring.md").read_text(encoding="utf-8")
DASHBOARD = (ROOT / "docs" / "operations" / "grafana-dashboard.json").read_text(encoding="utf-8")


def list_metrics() -> dict[str, str]:
    """Return the metrics and their types; counters as they are scraped."""
    found = build_registry().collect()
    return {f"{metric.name}_total" if metric.type == "counter" else metric.name: metric.type for metric in found}


def test_the_table_has_the_metrics_and_no_others() -> None:
    assert set(re.findall(r"^\| `(bessemer_\w+)` \|", PAGE, re.MULTILINE)) == set(list_metrics())


@pytest.mark.parametrize("text", [PAGE.partition("## Alerts")[2], DASHBOARD], ids=["alerts", "dashboard"])
def test_queries_name_series_that_there_are(text: str) -> None:
    series = {
        f"{name}{suffix}"
        for name, kind in list_metrics().items()
        for suffix in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))
    }
    asked = set(re.findall(r"\bbessemer_\w+", text))
    assert asked
    assert asked <= series


def test_alerts_are_a_group_of_rules() -> None:
    (block,) = re.findall(r"^```yaml\n(groups:.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (group,) = yaml.safe_load(block)["groups"]
    assert all({"alert", "expr", "annotations"} <= set(rule) for rule in group["rules"])
