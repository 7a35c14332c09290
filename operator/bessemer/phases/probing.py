"""Probing by SSH whether machines have started: in a bounded pool of threads, one probe for each machine at a time."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor, Future

from bessemer.errors import Retry
from bessemer.machines.clock import Clock
from bessemer.machines.machine import SshTarget
from bessemer.machines.ssh import HostKeyMismatch, JumpUnusable, Ssh, SshFailure, SshRefused
from bessemer.phases.install_facts import Probe, ProbeKind

PROBE_TIMEOUT_SECONDS = 5.0
PATIENCE_SECONDS = 120.0
"""So long the machine that probes go through may be unusable before the phase ends and is tried again as a whole."""


class Probes:
    """The probes that are under way."""

    def __init__(self, ssh: Ssh, pool: Executor, clock: Clock) -> None:
        self._ssh, self._pool, self._clock = ssh, pool, clock
        self._futures: dict[str, Future[Probe]] = {}
        self._unknown_since: float | None = None

    def start(self, targets: Mapping[str, SshTarget]) -> None:
        """Probe these machines, by host, but for those that are being probed already."""
        for host, target in targets.items():
            if host not in self._futures:
                self._futures[host] = self._pool.submit(probe, self._ssh, target)

    def collect(self) -> dict[str, Probe]:
        """Return what the probes that have ended found, by host.

        Raises:
            Retry: for too long none has found anything, as the machine between us and the others can't be used.
        """
        done = {host: future.result() for host, future in self._futures.items() if future.done()}
        for host in done:
            del self._futures[host]
        unknown = [found.detail for found in done.values() if found.kind is ProbeKind.UNKNOWN]
        if len(unknown) < len(done):
            self._unknown_since = None
        elif unknown:
            now = self._clock.now()
            self._unknown_since = now if self._unknown_since is None else self._unknown_since
            if now - self._unknown_since > PATIENCE_SECONDS:
                raise Retry("Unreachable", unknown[0])
        return done

    def close(self) -> None:
        """Begin no further probe."""
        for future in self._futures.values():
            future.cancel()


def probe(ssh: Ssh, target: SshTarget) -> Probe:
    """Try to log in to a machine once, and say what was found."""
    try:
        ssh.probe(target, PROBE_TIMEOUT_SECONDS)
    except JumpUnusable as error:
        return Probe(ProbeKind.UNKNOWN, error.message)
    except HostKeyMismatch as error:
        return Probe(ProbeKind.WRONG_HOST_KEY, error.message)
    except SshRefused as error:
        return Probe(ProbeKind.REFUSED, error.message)
    except SshFailure as error:
        return Probe(ProbeKind.UNREACHABLE, error.message)
    return Probe(ProbeKind.ANSWERS)
