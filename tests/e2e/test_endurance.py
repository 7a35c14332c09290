"""The long ones: many kills at random moments, and a build deleted in each of its phases."""

from __future__ import annotations

import random
import time
from functools import partial

import pytest

from bessemer.api.phase_contract import PHASE_ORDER
from tests.e2e.conftest import MakeSite
from tests.support.disturbance import find_under_way, kill_operator, phase_pods
from tests.support.site import Site, condition, is_settled

pytestmark = [pytest.mark.e2e, pytest.mark.soak]

KILLS = 20
LONGEST_PAUSE_SECONDS = 12.0
"""Between a kill and the next: a new operator needs a few seconds to take the lead, and must then be caught at work."""
PHASE_SECONDS = 400
DELETION_SECONDS = 180
"""On a healthy site it takes seconds; the operator itself gives up later."""


def apply_verification(site: Site, number: int) -> None:
    """Change the jobs, so that a build that is Ready has something to do again."""
    job = {"name": f"again{number}", "script": "#!/bin/sh\nsrun hostname\n", "expect": {"everyNode": True}}
    site.kubectl.apply(site.build_manifest(verify={"jobs": [job]}, retries={"phaseAttempts": 1}))


def test_twenty_kills_at_random_moments_lose_and_repeat_nothing(make_site: MakeSite) -> None:
    site = make_site("kills", compute_nodes=2)
    seed = time.time_ns()
    print(f"moments are drawn with seed {seed}")
    moments = random.Random(seed)  # noqa: S311  no secret is drawn
    apply_verification(site, 0)
    seen: set[tuple[str, str]] = set()
    for kill in range(1, KILLS + 1):
        time.sleep(moments.uniform(0, LONGEST_PAUSE_SECONDS))  # not a wait for anything: the moment is the test
        kill_operator(site)
        seen |= {(pod["metadata"]["name"], pod["metadata"]["uid"]) for pod in phase_pods(site)}
        if is_settled(site.get_build()):
            apply_verification(site, kill)
    build = site.wait_until_settled()
    assert condition(build, "Ready")["status"] == "True", site.explain()
    assert {phase["failures"] for phase in build["status"]["phases"]} == {0}
    names = [name for name, _ in seen]
    assert len(names) == len(set(names)), "an attempt had two pods"
    assert network_boots(site) == ["oxygen1", "oxygen2", "oxygen3"]


def network_boots(site: Site) -> list[str]:
    """List the machines that were installed, each as often as it was."""
    events = site.lab.events()
    return sorted(e["machine"] for e in events if e["event"] == "boot" and e["source"] == "network")


def test_a_build_deleted_in_each_phase_is_gone_and_leaves_nothing(make_site: MakeSite) -> None:
    site = make_site("deletions", compute_nodes=1)
    for number, phase in enumerate(PHASE_ORDER):
        power_off = number % 2 == 0
        site.kubectl.apply(site.build_manifest(onDelete="PowerOff" if power_off else "Keep"))
        site.kubectl.wait_for(
            f"{phase} to be under way", partial(find_under_way, site, phase), PHASE_SECONDS, site.explain
        )
        before = {machine: found["power"] for machine, found in site.lab.state().items()}
        site.kubectl.run("delete", "clusterbuild", "oxygen", timeout=DELETION_SECONDS)
        site.wait_until_nothing_is_left()
        after = {machine: found["power"] for machine, found in site.lab.state().items()}
        if power_off:
            assert set(after.values()) == {"off"}, f"deleted during {phase}"
        else:
            assert all(after[machine] == "on" for machine in after if before[machine] == "on"), f"during {phase}"
