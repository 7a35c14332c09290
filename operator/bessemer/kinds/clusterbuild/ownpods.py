"""Which pods are phase pods of a build: those that we made for it, and none that only looks like one.

Who may create pods in a build's namespace, such as the account of a pool's runners, may copy labels, annotations and
owner reference, and end a pod with a message of success. What holds against that:

- An attempt that the status knows is the pod with the UID that our own create answered; UIDs are Kubernetes' to give.
- One that it does not know yet, as we died between the create and the status, bears a seal over the build's UID, its
  own name and its input digest, made with a key that lies in the operator's namespace.

What does not: who may delete our pod, and recreate it with the seal it bore, in the seconds between our create and the
status being written; and who may ``exec`` into our own pod, or write the status of pods.
"""

from __future__ import annotations

from bessemer.api.clusterbuild.resource import ClusterBuild
from bessemer.api.names import attempt_name
from bessemer.api.phase_contract import PhaseName
from bessemer.engine.ownkey import Seal
from bessemer.kube.pods import PodFact


def build_seal(build: ClusterBuild, seal: Seal, pod: str, input_digest: str) -> str:
    """Return what the pod of an attempt bears to be known again."""
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
