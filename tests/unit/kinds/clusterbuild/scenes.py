"""What the tests of whole builds share: results of phases, and what a phase was told."""

from __future__ import annotations

import json

from bessemer.kube.protocol import Object
from tests.support.world import NAMESPACE, World

ALL_PODS = [
    "oxygen-preflight-1",
    "oxygen-boot-management-1",
    "oxygen-configure-management-1",
    "oxygen-boot-compute-1",
    "oxygen-configure-services-1",
    "oxygen-verify-1",
    "oxygen-cleanup-1",
]
FAILURE = {"succeeded": False, "reason": "Broken", "message": "it broke", "retryable": True}
FINAL = {"succeeded": False, "reason": "Wrong", "message": "the spec is wrong", "retryable": False}
INSTALLED = {
    "succeeded": True,
    "reason": "Succeeded",
    "nodes": [
        {"hosts": "oxygen[2-4]", "state": "Installed"},
        {"hosts": "oxygen5", "state": "Failed", "reason": "NeverNetbooted", "message": "no request for a kernel"},
    ],
}

STATELESS = {"install": {"method": "Stateless", "image": "http://10.77.0.1/images/compute.squashfs"}}


def input_of(world: World, pod: str) -> Object:
    data = world.kubernetes.objects["configmaps", NAMESPACE, pod]["data"]
    parsed: Object = json.loads(data["input.json"])
    return parsed
