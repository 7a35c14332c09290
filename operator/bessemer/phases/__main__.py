"""The process of a phase pod: ``python -m bessemer.phases <Phase>``.

Reads the input, runs the phase and leaves its result in the termination message. This is the boundary at which errors
become results: nothing else in a phase catches everything.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
import sys
import threading
from pathlib import Path

from pydantic import ValidationError

from bessemer.api.phase_contract import (
    INPUT_DIGEST_VARIABLE,
    INPUT_FILE,
    STOPPED_EXIT_CODE,
    PhaseInput,
    PhaseName,
    PhaseResult,
)
from bessemer.api.reasons import INTERNAL_ERROR
from bessemer.errors import BessemerError, Invalid, Retry
from bessemer.logformat import PrintableFormatter, configure_logging
from bessemer.machines.clock import SystemClock, Terminated
from bessemer.phases.context import Directories, PhaseContext
from bessemer.phases.grouping import build_termination_message, shrink_result

MODULES = {
    PhaseName.PREFLIGHT: "preflight",
    PhaseName.BOOT_MANAGEMENT: "boot_management",
    PhaseName.CONFIGURE_MANAGEMENT: "configure_management",
    PhaseName.BOOT_COMPUTE: "boot_compute",
    PhaseName.CONFIGURE_SERVICES: "configure_services",
    PhaseName.VERIFY: "verify",
    PhaseName.CLEANUP: "cleanup",
}
TERMINATION_LOG = "/dev/termination-log"
STOP_SECONDS = 20.0
"""After a signal the phase has that long to end by itself; Kubernetes kills it after 30 s."""

_log = logging.getLogger("bessemer.phases")


def read_input(directory: Path, phase: str) -> PhaseInput:
    """Read the input of an attempt.

    Raises:
        Invalid: the file is missing or wrong, or is meant for another phase.
        Retry: it is not what the operator wrote for this pod.
    """
    file = directory / INPUT_FILE
    try:
        content = file.read_bytes()
        expected = os.environ.get(INPUT_DIGEST_VARIABLE)
        if expected is not None and hashlib.sha256(content).hexdigest() != expected:
            raise Retry("InputReplaced", "the ConfigMap with the pod's input is not the one that the operator made")
        phase_input = PhaseInput.model_validate_json(content)
    except (OSError, ValidationError) as error:
        raise Invalid("InvalidInput", f"{file}: {error}") from error
    if phase_input.phase != phase:
        raise Invalid("InvalidInput", f"{file} is for phase {phase_input.phase}, not {phase}")
    return phase_input


def run_phase(phase: str, directories: Directories, clock: SystemClock) -> PhaseResult:
    """Run a phase; whatever happens becomes a result, small enough for a termination message."""
    try:
        phase_input = read_input(directories.input, phase)
        context = PhaseContext(phase_input, directories, clock)
        try:
            module = importlib.import_module(f"bessemer.phases.{MODULES[phase_input.phase]}")
            result: PhaseResult = module.run(phase_input, context)
        finally:
            context.close()
        return shrink_result(result, phase_input.nodes)
    except BessemerError as error:
        return shrink_result(build_failure(error))
    except Exception as error:  # noqa: BLE001  the process boundary: whatever is wrong must reach the status
        _log.exception("internal error")
        return PhaseResult(
            succeeded=False, reason=INTERNAL_ERROR, message=type(error).__name__ + ": see the log", retryable=True
        )


def build_failure(error: BessemerError) -> PhaseResult:
    """Make a result of an error: its class says whether another attempt makes sense."""
    return PhaseResult(
        succeeded=False, reason=error.reason, message=error.message[:2048], retryable=isinstance(error, Retry)
    )


def write_result(result: PhaseResult, file: Path) -> None:
    """Write the termination message."""
    file.write_bytes(build_termination_message(result))


def main(arguments: list[str]) -> int:
    """Run the phase that the command line names; returns the exit code, see :mod:`bessemer.api.phase_contract`."""
    names = ", ".join(MODULES)
    if len(arguments) != 1 or arguments[0] not in MODULES:
        sys.stderr.write(f"usage: python -m bessemer.phases PHASE; PHASE is one of {names}\n")
        return 2
    configure_logging(PrintableFormatter("%(asctime)s %(levelname)s %(message)s"))
    termination_log = Path(os.environ.get("BESSEMER_TERMINATION_LOG", TERMINATION_LOG))

    def give_up() -> None:
        """End a phase that is stuck in something that no signal reaches."""
        write_result(build_failure(Terminated()), termination_log)
        os._exit(STOPPED_EXIT_CODE)

    clock = SystemClock()
    watchdog = threading.Timer(STOP_SECONDS, give_up)
    watchdog.daemon = True
    clock.stop_on_signals(watchdog.start)
    result = run_phase(arguments[0], Directories(), clock)
    watchdog.cancel()
    write_result(result, termination_log)
    _log.info("%s: %s %s", arguments[0], result.reason, result.message)
    if result.succeeded:
        return 0
    return STOPPED_EXIT_CODE if clock.is_stopping else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
