"""Input of a decision: everything that one pass has read."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network

from bessemer.api.clusterbuild.resource import ClusterBuild
from bessemer.api.clusterbuild.spec import OnDelete
from bessemer.api.phase_contract import Progress
from bessemer.api.wellknown import ABORT_ANNOTATION, PAUSE_ANNOTATION, RETRY_ANNOTATION
from bessemer.engine.refusals import Refusal
from bessemer.errors import BessemerError, Invalid
from bessemer.kinds.clusterbuild.claims import Claim, compute_claims
from bessemer.kube.pods import PodFact
from bessemer.kube.podwarnings import PodWarning


@dataclass(frozen=True)
class Claims:
    """The machine Leases of the build."""

    held: frozenset[str] = frozenset()
    """Names of the Leases that this build holds."""
    conflict: str = ""
    """Which machine another build holds, as a sentence; found when this pass tried to claim it."""


@dataclass(frozen=True)
class SecretFact:
    """The Secret of the build without its secret contents."""

    exists: bool = False
    ssh_public_key: str | None = None
    """Public half of the key in it; None if the user provided a key."""
    problem: Invalid | None = None
    """What in it can't be used: SecretBroken."""


@dataclass(frozen=True)
class Facts:
    """All facts about a build in one pass."""

    build: ClusterBuild
    pods: tuple[PodFact, ...] = ()
    """Phase pods of this build, by their labels and their owner's UID."""
    orphans: tuple[str, ...] = ()
    """Names of pods of an earlier build of the same name that still have our finalizer."""
    claims: Claims = Claims()
    secret: SecretFact = SecretFact()
    key_problem: BessemerError | None = None
    """Why the login key that the spec names can't be used."""
    login_problem: BessemerError | None = None
    """Why the Secret with the login for the playbooks' server is not sent there."""
    live: Progress | None = None
    """The latest progress posted by the running phase."""
    pod_warning: PodWarning | None = None
    """The latest Warning event of a pod that does not start."""
    refusal: Refusal | None = None
    deletion_seconds: int = 900
    repeated_networks: tuple[IPv4Network, ...] = ()
    """Networks of compute nodes that more than one cluster has."""

    @property
    def paused(self) -> bool:
        """Whether no new pod may start."""
        return self._switched_on(PAUSE_ANNOTATION)

    @property
    def abort_wanted(self) -> bool:
        """Whether the user wants to abort the build."""
        return self._switched_on(ABORT_ANNOTATION)

    @property
    def retry_value(self) -> str | None:
        """Value of the retry annotation."""
        return self.build.annotations.get(RETRY_ANNOTATION)

    def list_awaited_secrets(self) -> set[str]:
        """Return the names of the user's Secrets that can't be used as they are."""
        spec, found = self.build.spec, set[str]()
        if spec is not None and self.key_problem is not None and spec.ssh.private_key_secret is not None:
            found.add(spec.ssh.private_key_secret.name)
        playbooks = spec.configuration.playbooks if spec is not None else None
        if playbooks is not None and self.login_problem is not None and playbooks.login_secret_name is not None:
            found.add(playbooks.login_secret_name)
        return found

    def _switched_on(self, annotation: str) -> bool:
        return self.build.annotations.get(annotation, "false").lower() != "false"


def compute_missing(facts: Facts) -> tuple[Claim, ...]:
    """Return the claims that the build needs and does not hold, in the order of the Leases' names."""
    spec = facts.build.spec
    wanted = compute_claims(spec, facts.repeated_networks) if spec is not None else ()
    return tuple(claim for claim in wanted if claim.lease not in facts.claims.held)


def power_off_wanted(facts: Facts) -> bool:
    """Return whether the build is being deleted and its machines must be powered off."""
    spec = facts.build.spec
    return facts.build.deleted is not None and spec is not None and spec.on_delete == OnDelete.POWER_OFF
