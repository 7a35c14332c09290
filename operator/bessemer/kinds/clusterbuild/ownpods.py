"""Recognizes the phase pods of a build, although users can create pods that look like them.

A user who may create pods in a build's namespace, or the ServiceAccount of a pool's runners, can copy labels,
annotations and owner reference, and let a pod succeed with any message. Protection:

- An attempt that is in the status is the pod with the UID that our create call returned; Kubernetes assigns UIDs.
- An attempt that is not in the status yet, because the operator died between creating the pod and writing the status,
  has a seal over the build's UID, its own name and its input digest, made with a key in the operator's namespace.

There is no protection against users who may delete the pod and recreate it with its seal in the seconds before the
status is written, who may ``exec`` into the pod, or who may write the status of pods.
"""

from __future__ import annotations

from bessemer.api.clusterbuild.resource import ClusterBuild
from bessemer.api.names import attempt_name
from bessemer.api.phase_contract import PhaseName
from bessemer.engine.ownkey import Seal
from bessemer.kube.pods import PodFact


def build_seal(build: ClusterBuild, seal: Seal, pod: str, input_digest: str) -> str:
    """Return the value of the annotation by which the pod of an attempt is recognized."""
    return seal.sign(build.uid, pod, input_digest)


def is_own(build: ClusterBuild, seal: Seal, pod: PodFact) -> bool:
    """Return whether we made this pod for this build."""
    phase = next((name for name in PhaseName if name == pod.phase), None)
    if pod.owner_uid != build.uid or phase is None or pod.attempt < 1:
        return False
    if pod.name != attempt_name(build.name, phase, pod.attempt):
        return False
    recorded = build.status.phase_status(phase)
    if recorded.attempt == pod.attempt and recorded.pod_uid:
        return pod.uid == recorded.pod_uid
    return seal.verify(pod.seal, build.uid, pod.name, pod.input_digest)
