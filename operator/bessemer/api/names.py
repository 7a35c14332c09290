"""Names of the objects that belong to an object of our kinds: always valid, and unique for each owner.

A name that fits is used unchanged. A name that does not (too long, or with dots where a DNS label is needed) is
shortened and gets the first digits of its SHA-256 as a suffix; so does a name that already looks like that, so that two
names never give the same result. The part after the build's name has a fixed form, so that one build's pod name can't
be read as another's. Owner UIDs are nevertheless compared before an object is adopted.
"""

from __future__ import annotations

import hashlib
import re

from bessemer.api.phase_contract import PhaseName

DNS_LABEL_LIMIT = 63
"""Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names"""
_DIGEST_DIGITS = 16
"""64 bits: finding two names with the same digits is infeasible."""
_DIGESTED = re.compile(rf"(.*-)?[0-9a-f]{{{_DIGEST_DIGITS}}}")
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def bounded_label(name: str, limit: int) -> str:
    """Return a DNS label of at most ``limit`` characters for a valid object name: the name itself where possible."""
    if len(name) <= limit and _DNS_LABEL.fullmatch(name) and not _DIGESTED.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_DIGITS]
    stem = re.sub(r"[^a-z0-9]+", "-", name.lower())[: limit - _DIGEST_DIGITS - 1].strip("-")
    return f"{stem}-{digest}" if stem else digest


def build_label_value(build: str) -> str:
    """Return the value of the label that names the build or pool an object belongs to."""
    return bounded_label(build, DNS_LABEL_LIMIT)


def attempt_name(build: str, phase: PhaseName, attempt: int) -> str:
    """Return the name of the pod of one attempt of one phase, and of the ConfigMap with its input."""
    words = re.sub(r"(?<!^)([A-Z])", r"-\1", phase.value).lower()
    suffix = f"-{words}-{attempt}"
    return bounded_label(build, DNS_LABEL_LIMIT - len(suffix)) + suffix


def secret_name(build: str) -> str:
    """Return the name of the Secret with the build's seed, key and progress token."""
    return bounded_label(build, DNS_LABEL_LIMIT - len("-bessemer")) + "-bessemer"


def runner_pod_name(pool: str, slot: int) -> str:
    """Return the name of the pod in a slot of a RunnerPool: two pods can't occupy one slot."""
    suffix = f"-runner-{slot}"
    return bounded_label(pool, DNS_LABEL_LIMIT - len("-runner-9999")) + suffix


def runner_secret_name(pool: str) -> str:
    """Return the name of the Secret with the configuration of a RunnerPool's runners."""
    return bounded_label(pool, DNS_LABEL_LIMIT - len("-runner")) + "-runner"


def runner_account_name(pool: str) -> str:
    """Return the name of the ServiceAccount, and of its RoleBinding, of runners that create pods for jobs."""
    return runner_secret_name(pool)


def runner_system_id(pool_uid: str, slot: int) -> str:
    """Return the system_id by which GitLab distinguishes the runner managers of a RunnerPool, one for each slot.

    gitlab-runner accepts ``r_`` or ``s_`` with twelve letters or digits, and replaces anything else.
    """
    return "r_" + hashlib.sha256(f"{pool_uid}/{slot}".encode()).hexdigest()[:12]


def event_record_name(trigger: str, trigger_uid: str, *parts: str) -> str:
    """Return the name of the ConfigMap that records an event of a BuildTrigger.

    ``parts`` identify the event: the same event has the same name, so that it is recorded once.
    """
    digest = hashlib.sha256("\0".join((trigger_uid, *parts)).encode()).hexdigest()[:_DIGEST_DIGITS]
    suffix = f"-event-{digest}"
    return bounded_label(trigger, DNS_LABEL_LIMIT - len(suffix)) + suffix
