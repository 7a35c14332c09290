"""Names of the objects that belong to a ClusterBuild or a RunnerPool: always valid, and no two owners share one.

A name that fits is used as it is. One that does not (too long, or with dots, where a DNS label is needed) is cut and
given the first digits of its SHA-256; so is one that looks as if it had been, so that no two names give the same. What
follows the build's name has a fixed form, so that the name of one build's pod can't be read as another's; owner UIDs
are compared all the same before anything is adopted.
"""

from __future__ import annotations

import hashlib
import re

from bessemer.api.phase_contract import PhaseName

DNS_LABEL_LIMIT = 63
"""Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names"""
_DIGEST_DIGITS = 16
"""64 bits: nobody finds a name whose digits are those of another's."""
_DIGESTED = re.compile(rf"(.*-)?[0-9a-f]{{{_DIGEST_DIGITS}}}")
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def bounded_label(name: str, limit: int) -> str:
    """Return a DNS label of at most ``limit`` characters for a valid object name: itself where it is one that nothing
    else is turned into.
    """
    if len(name) <= limit and _DNS_LABEL.fullmatch(name) and not _DIGESTED.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_DIGITS]
    stem = re.sub(r"[^a-z0-9]+", "-", name.lower())[: limit - _DIGEST_DIGITS - 1].strip("-")
    return f"{stem}-{digest}" if stem else digest


def build_label_value(build: str) -> str:
    """Give the value of the label that says which build or pool an object belongs to."""
    return bounded_label(build, DNS_LABEL_LIMIT)


def attempt_name(build: str, phase: PhaseName, attempt: int) -> str:
    """Give the name of the pod, and of the ConfigMap with its input, of one attempt of one phase."""
    words = re.sub(r"(?<!^)([A-Z])", r"-\1", phase.value).lower()
    suffix = f"-{words}-{attempt}"
    return bounded_label(build, DNS_LABEL_LIMIT - len(suffix)) + suffix


def secret_name(build: str) -> str:
    """Give the name of the Secret with the build's seed, key and progress token."""
    return bounded_label(build, DNS_LABEL_LIMIT - len("-bessemer")) + "-bessemer"


def runner_pod_name(pool: str, slot: int) -> str:
    """Give the name of the pod in a slot of a RunnerPool: no two pods can be in one slot."""
    suffix = f"-runner-{slot}"
    return bounded_label(pool, DNS_LABEL_LIMIT - len("-runner-9999")) + suffix


def runner_secret_name(pool: str) -> str:
    """Give the name of the Secret with the configuration of a RunnerPool's runners."""
    return bounded_label(pool, DNS_LABEL_LIMIT - len("-runner")) + "-runner"


def runner_account_name(pool: str) -> str:
    """Give the name of the service account, and its RoleBinding, of runners that create pods for jobs."""
    return runner_secret_name(pool)


def runner_system_id(pool_uid: str, slot: int) -> str:
    """Give the system_id by which GitLab tells the runner managers of a RunnerPool apart, one for each slot.

    gitlab-runner takes ``r_`` or ``s_`` and twelve letters or digits, and replaces anything else.
    """
    return "r_" + hashlib.sha256(f"{pool_uid}/{slot}".encode()).hexdigest()[:12]
