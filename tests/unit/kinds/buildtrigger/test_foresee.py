"""The plan of a merge request: which machines are installed, removed or left alone."""

from __future__ import annotations

from typing import Any

import pytest

from bessemer.api.clusterbuild.spec import ClusterBuildSpec
from bessemer.kinds.buildtrigger.foresee import foresee
from tests.support.world import manifest

MACS = [f"52:54:00:8d:00:0{number}" for number in range(2, 8)]


def parse(**changes: Any) -> ClusterBuildSpec:
    return ClusterBuildSpec.model_validate(manifest("oxygen", **changes)["spec"])


def resize(first: int, last: int) -> dict[str, Any]:
    addresses, macs = f"10.141.0.[{first}-{last}]", MACS[first - 2 : last - 1]
    return {"compute": {"hosts": f"oxygen[{first}-{last}]", "addresses": addresses, "macs": macs}}


BEFORE = parse(**resize(2, 5))
OTHER_IMAGE = {"compute": {**resize(2, 5)["compute"], "install": {"image": "http://10.77.0.1/images/new.tar.gz"}}}
OTHER_MAC = {"compute": {**resize(2, 5)["compute"], "macs": ["52:54:00:8d:00:99", *MACS[1:4]]}}


@pytest.mark.parametrize(
    ("before", "changes", "said"),
    [
        (None, resize(2, 5), "oxygen: new; installs oxygen[1-5]"),
        (BEFORE, resize(2, 5), "oxygen: leaves oxygen[1-5]"),
        (BEFORE, resize(2, 6), "oxygen: adds oxygen6, leaves oxygen[1-5]"),
        (BEFORE, resize(3, 5), "oxygen: removes oxygen2, leaves oxygen[1,3-5]"),
        (BEFORE, OTHER_IMAGE, "oxygen: installs again oxygen[2-5], leaves oxygen1"),
        (BEFORE, OTHER_MAC, "oxygen: installs again oxygen2, leaves oxygen[1,3-5]"),
        (
            BEFORE,
            resize(2, 5) | {"services": ["trino"], "onDelete": "PowerOff"},
            "oxygen: leaves oxygen[1-5]; changes onDelete, services",
        ),
        (
            BEFORE,
            resize(2, 5) | {"management": {"install": {"image": "http://10.77.0.1/images/new.tar.gz"}}},
            "oxygen: installs again oxygen1, leaves oxygen[2-5]",
        ),
    ],
)
def test_each_machine_is_added_removed_installed_again_or_left(
    before: ClusterBuildSpec | None, changes: dict[str, Any], said: str
) -> None:
    assert foresee("oxygen", before, parse(**changes)).describe() == said
