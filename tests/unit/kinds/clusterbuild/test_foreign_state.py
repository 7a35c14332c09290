"""Whatever a tenant stores in a build, its pods, its Secrets and its Leases: no pass raises, and others go on."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bessemer.errors import BessemerError, Retry
from bessemer.foreign import compute_depth, decode_cut
from bessemer.kube.protocol import PODS, SECRETS
from tests.support.examples import examples
from tests.support.world import NAMESPACE, World, manifest

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["abc", "-1", "9" * 40, "2026-11-23T12:00:00Z", "True", "Verify", "Succeeded", "\x1b[2J", "\ud800"]
    )
)
FIELDS = st.sampled_from(
    ["name", "uid", "phase", "phases", "state", "attempt", "podUid", "pod", "nodes", "groups", "hosts", "conditions",
     "type", "status", "reason", "message", "lastTransitionTime", "startTime", "endTime", "jobs", "progress",
     "handledRetry", "observedGeneration", "inputDigest", "configuration", "variables", "compute", "macs", "verify"]
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(FIELDS | st.text(max_size=5), part, max_size=4),
    max_leaves=12,
)
DEEP = st.sampled_from([b'{"a":', b"["]).map(
    lambda opened: decode_cut(opened * 5000 + b"1" + (b"}" if opened[:1] == b"{" else b"]") * 5000)
)
FOREIGN = VALUES | DEEP
LABELS = st.dictionaries(
    st.sampled_from([f"bessemer.dev/{name}" for name in ("build", "phase", "attempt", "pool", "build-uid")]),
    st.sampled_from(["oxygen", "other", "Verify", "Cleanup", "1", "2", "abc", "", "-1", "9" * 60]),
)
RESULTS = st.sampled_from(
    ['{"succeeded": true, "reason": "Succeeded", "message": "forged"}', '{"succeeded": 1', "[" * 4000, "1e999", "",
     '{"succeeded": false, "reason": "\\u001b", "message": "x", "nodes": [{"hosts": "", "state": "Ready"}]}']
)  # fmt: skip
DATA = st.dictionaries(
    st.sampled_from(["seed", "ssh-privatekey", "progress-token", "other"]),
    st.sampled_from(["", "%%%", "////", "aHVudGVyMg==", 7, None]),
)


MANIFEST = manifest()


class Tenant(RuleBasedStateMachine):
    """One tenant does what he may with a build while another's goes on beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.apply(copy.deepcopy(MANIFEST))
        self.world.apply(manifest("other", **apart()))
        self.forged = 0

    def build(self) -> Any:
        return self.world.kubernetes.objects.get(("clusterbuilds", NAMESPACE, "oxygen"))

    def edit(self, part: str, value: Any) -> None:
        raw = self.build()
        if raw is not None and not isinstance(value, float):
            raw[part] = value

    @rule(value=FOREIGN)
    def store_a_spec(self, value: Any) -> None:
        """The CRD's schema says that it is an object; what is in it is not trusted to be what it says."""
        self.edit("spec", value if isinstance(value, dict) else {"configuration": {"variables": value}})

    @rule()
    def store_the_example_again(self) -> None:
        self.edit("spec", copy.deepcopy(MANIFEST["spec"]))

    @rule(value=FOREIGN)
    def store_variables(self, value: Any) -> None:
        spec = copy.deepcopy(MANIFEST["spec"])
        spec["configuration"]["variables"] = value
        self.edit("spec", spec)

    @rule(value=VALUES)
    def store_a_status(self, value: Any) -> None:
        self.edit("status", value if isinstance(value, dict) else {"phases": value, "conditions": value})

    @rule(name=st.sampled_from(["retry", "pause", "abort", "x"]), value=st.text(max_size=8))
    def annotate(self, name: str, value: str) -> None:
        raw = self.build()
        if raw is not None:
            raw["metadata"].setdefault("annotations", {})[f"bessemer.dev/{name}"] = value

    @rule(labels=LABELS, result=RESULTS, like=st.booleans(), name=st.sampled_from(["innocent", "oxygen-verify-1"]))
    def forge_a_pod(self, labels: dict[str, str], result: str, like: bool, name: str) -> None:
        pods = self.world.pods()
        raw: Any = copy.deepcopy(next(iter(pods.values()))) if like and pods else {"metadata": {}}
        self.forged += 1
        name = name if name not in pods else f"innocent-{self.forged}"
        raw["metadata"] |= {"name": name, "labels": {"bessemer.dev/build": "oxygen", **labels}}
        ended = {"exitCode": 0, "message": result}
        raw["status"] = {"phase": "Succeeded", "containerStatuses": [{"name": "phase", "state": {"terminated": ended}}]}
        asyncio.run(self.world.kubernetes.create_object(PODS, NAMESPACE, raw))

    @rule(status=VALUES, data=st.data())
    def garble_a_pod(self, status: Any, data: st.DataObject) -> None:
        pods = {name: raw for name, raw in self.world.pods().items() if name.startswith("oxygen")}
        if pods:
            raw = self.world.kubernetes.objects["pods", NAMESPACE, data.draw(st.sampled_from(sorted(pods)))]
            raw["status"] = status
            raw["metadata"]["labels"] = {"bessemer.dev/build": "oxygen", **data.draw(LABELS)}

    @rule(data=DATA | st.none())
    def garble_the_secret(self, data: dict[str, Any] | None) -> None:
        key = (SECRETS.plural, NAMESPACE, "oxygen-bessemer")
        if key in self.world.kubernetes.objects:
            self.world.kubernetes.objects[key]["data"] = data

    @rule()
    def remove_the_secret(self) -> None:
        self.world.kubernetes.objects.pop((SECRETS.plural, NAMESPACE, "oxygen-bessemer"), None)

    @rule()
    def delete(self) -> None:
        if self.build() is not None:
            self.world.delete()

    @rule(seconds=st.sampled_from([5, 60, 1000]))
    def let_time_pass(self, seconds: int) -> None:
        self.world.pass_time(seconds)

    @invariant()
    def no_pass_raises(self) -> None:
        try:
            asyncio.run(self.world.controller.reconcile((NAMESPACE, "oxygen"), 0.0))
        except Retry:
            pass
        except BessemerError as error:
            raise AssertionError(f"it can't be shown, and is tried for ever: {error}") from error
        raw = self.build()
        if raw is not None:
            status = raw.get("status") or {}
            assert compute_depth(status, 100) < 100
            json.dumps(status.get("conditions"), allow_nan=False).encode()

    def teardown(self) -> None:
        """The other build becomes Ready, and a deleted one is gone when the time for deletions is over."""
        for _ in range(20):
            self.world.step("other")
            for name in self.world.pods():
                if name.startswith("other") and self.world.pods()[name].get("status", {}).get("phase") != "Succeeded":
                    self.world.set_pod(name, "Succeeded")
            if self.world.step("other") is None:
                break
        assert self.world.condition("Ready", "other")[0] == "True"
        if self.build() is not None:
            self.world.delete()
            self.world.pass_time(901)
            for _ in range(6):
                if self.build() is not None:
                    self.no_pass_raises()
            assert self.build() is None


def apart() -> dict[str, Any]:
    """A build of other machines."""
    return {
        "management": {"host": "neon1", "mac": "52:54:00:77:00:99", "address": "10.77.0.99"},
        "compute": {
            "hosts": "neon[2-2]",
            "addresses": "10.142.0.2",
            "macs": ["52:54:00:8d:00:99"],
            "minReady": "100%",
        },
    }


Tenant.TestCase.settings = settings(
    max_examples=examples(20), stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck)
)
TestWhateverATenantStores = Tenant.TestCase
