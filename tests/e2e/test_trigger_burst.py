"""A thousand pushes at once to two replicas, of which the leader is killed meanwhile; GitLab is the simulator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local_kubernetes.kubectl import Kubectl
from local_kubernetes.protocol import Cluster
from tests.support.bursts import RULES, hold_burst
from tests.support.site import SYSTEM_NAMESPACE
from tests.support.triggers import Triggers, open_triggers

pytestmark = [pytest.mark.e2e, pytest.mark.soak]

PUSHES, BRANCHES = 1000, 20
SETTLED_SECONDS = 300
"""For the next leader to take over, to see what was missed, and to work through all of it on a busy machine."""
REPLICA_SECONDS = 120


@pytest.fixture
def system(bessemer: Cluster) -> Iterator[Kubectl]:
    """Yield kubectl in the namespace of an operator with two replicas."""
    system = Kubectl(bessemer.kubectl, bessemer.kubeconfig, SYSTEM_NAMESPACE)
    for replicas in (2, 1):
        system.run("scale", "deployment/bessemer", f"--replicas={replicas}")
        system.run("rollout", "status", "deployment/bessemer", f"--timeout={REPLICA_SECONDS}s", timeout=150)
        if replicas == 2:
            yield system


@pytest.fixture
def triggers(bessemer: Cluster, system: Kubectl) -> Iterator[Triggers]:
    with open_triggers(bessemer, "burst") as made:
        # No phase: the machines of the example are not there.
        made.kubectl.run("create", "quota", "no-phases", "--hard=pods=1")
        made.apply(rules=RULES)
        made.add_hook()
        yield made


def test_none_of_a_thousand_pushes_is_lost_though_the_leader_is_killed_among_them(
    triggers: Triggers, system: Kubectl
) -> None:
    """GitLab disables the webhook after the fourth failure, and drops what it has not sent by then."""
    burst = hold_burst(triggers.gitlab, PUSHES, BRANCHES)
    leader = system.get("lease", "bessemer-operator")["spec"]["holderIdentity"]
    triggers.gitlab.release_deliveries()
    triggers.kubectl.wait_for("some to be answered", lambda: count_answered(triggers) > PUSHES // 10, 60)
    system.run("delete", "pod", leader, "--force", "--grace-period=0")
    answered = {str(one["body"]) for one in triggers.gitlab.deliveries() if one["status"] == 200}
    assert len(answered) < PUSHES, "it was killed too late"

    triggers.kubectl.wait_for(
        "each cluster to be that of its branch's last commit",
        lambda: triggers.builds() == burst.heads,
        SETTLED_SECONDS,
        triggers.explain,
    )
    builds = triggers.kubectl.items("clusterbuilds")
    assert len(builds) == BRANCHES
    assert all(build["metadata"]["annotations"]["bessemer.dev/rule"] == "push" for build in builds)
    triggers.kubectl.wait_for(
        "no event to wait", lambda: triggers.status().get("queued") == 0, SETTLED_SECONDS, triggers.explain
    )


def count_answered(triggers: Triggers) -> int:
    """Count the webhooks that were answered with 200."""
    return sum(one["status"] == 200 for one in triggers.gitlab.deliveries())
