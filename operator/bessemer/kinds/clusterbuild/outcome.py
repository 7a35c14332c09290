"""The result of a settled phase pod, or the reason why there is none."""

from __future__ import annotations

from pydantic import ValidationError

from bessemer.api.phase_contract import PhaseResult
from bessemer.api.reasons import INIT_CONTAINER_FAILED, POD_LOST
from bessemer.kube.pods import PodFact, PodState

_POD_REASONS = {
    "DeadlineExceeded": ("PhaseDeadlineExceeded", "the pod was stopped after deadlines.phaseSeconds"),
    "OOMKilled": ("OutOfMemory", "the pod used more memory than its limit"),
    INIT_CONTAINER_FAILED: ("PlaybooksNotFetched", "spec.configuration.playbooks could not be checked out"),
}
_MESSAGE_LIMIT = 2048


def parse_outcome(pod: PodFact) -> PhaseResult:
    """Return the result of a settled pod; without a readable result it has failed, and may be tried again.

    Exit code and message must agree on success: neither is trusted alone.
    """
    reported = _parse_result(pod.result)
    if pod.state == PodState.LOST:
        message = f"pod {pod.name}: {pod.message or pod.reason}"[:_MESSAGE_LIMIT]
        nodes = reported.nodes if reported else []
        return PhaseResult(succeeded=False, reason=POD_LOST, message=message, retryable=True, nodes=nodes)
    if pod.state == PodState.SUCCEEDED and reported is not None and reported.succeeded:
        return reported
    if reported is not None and not reported.succeeded:
        return reported
    reason, text = _POD_REASONS.get(pod.reason, ("NoResult", "the pod ended without a readable result"))
    exit_code = "" if pod.exit_code is None else f" (exit code {pod.exit_code})"
    message = f"pod {pod.name}: {text}{exit_code}" + (f": {pod.message}" if pod.message else "")
    return PhaseResult(succeeded=False, reason=reason, message=message[:_MESSAGE_LIMIT], retryable=True)


def _parse_result(text: str) -> PhaseResult | None:
    try:
        return PhaseResult.model_validate_json(text)
    except ValidationError:
        return None
