"""Which machines a build keeps, claims again, and releases."""

from __future__ import annotations

from dataclasses import replace

from bessemer.kinds.clusterbuild.claims import compute_claims
from bessemer.kinds.clusterbuild.digests import STAGING_PHASES
from bessemer.kinds.clusterbuild.facts import Facts, compute_missing
from bessemer.kinds.clusterbuild.ledger import Ledger
from bessemer.kinds.clusterbuild.plan import FINAL_OUTLOOKS, ClaimMachines, Move, Outlook


def keep_machines(facts: Facts, ledger: Ledger, move: Move) -> Move:
    """Let a build claim machines that it should hold and does not, whatever it waits for.

    That happens, for example, after the operator was reinstalled. A build that has started a phase had claimed its
    machines; one that is under way claims them again at once, before another build does.
    """
    begun = any(phase.attempt for phase in ledger.phases.values())
    under_way = move.outlook not in FINAL_OUTLOOKS and begun
    failed = move.outlook == Outlook.FAILED and not is_untouched(ledger)
    kept = move.outlook == Outlook.READY or failed or under_way
    hindered = facts.claims.conflict or facts.refusal is not None or facts.build.deleted is not None
    if not kept or hindered or move.step is not None:
        return move
    missing = compute_missing(facts)
    return replace(move, step=ClaimMachines(missing)) if missing else move


def is_untouched(ledger: Ledger) -> bool:
    """Return whether the build can't have changed any machine yet."""
    return not any(ledger.phases[name].attempt for name in STAGING_PHASES)


def compute_surplus(facts: Facts, ledger: Ledger, move: Move) -> tuple[str, ...]:
    """Return the Leases to release: all if the machines are not in use, otherwise those no longer in the spec."""
    waiting = move.outlook == Outlook.FAILED or facts.claims.conflict
    if move.finalize or move.outlook == Outlook.ABORTED or (waiting and is_untouched(ledger)):
        return tuple(sorted(facts.claims.held))
    if move.outlook == Outlook.READY and facts.build.spec is not None:
        wanted = {claim.lease for claim in compute_claims(facts.build.spec, facts.repeated_networks)}
        return tuple(sorted(facts.claims.held - wanted))
    return ()
