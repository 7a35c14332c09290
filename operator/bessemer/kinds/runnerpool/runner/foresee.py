"""Predicts the steps for a new pool: the operator's decisions with assumed answers. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.api.runnerpool.spec import RunnerPoolSpec
from bessemer.engine.settings import Settings
from bessemer.gitlab.protocol import Identity, Registration
from bessemer.kinds.runnerpool.render.config import list_references
from bessemer.kinds.runnerpool.render.manifest import build_role_binding
from bessemer.kinds.runnerpool.render.slurm_files import SlurmHost
from bessemer.kinds.runnerpool.runner.access import Access
from bessemer.kinds.runnerpool.runner.decide import decide_runner
from bessemer.kinds.runnerpool.runner.facts import NamedObject, RunnerFacts
from bessemer.kinds.runnerpool.runner.plan import (
    CreateRoleBinding,
    CreateRunner,
    CreateServiceAccount,
    ListRunners,
    Plan,
    Question,
    StartPolls,
    Step,
    VerifyToken,
    WriteRunnerSecret,
)

TOKEN = "<the-runner's-token>"  # noqa: S105  stands for one
_SETTINGS = Settings(image="", namespace="", identity="", executor_role="<of the chart>")
_MOST_STEPS = 20
_NOW = datetime(2000, 1, 1, tzinfo=UTC)


def foresee_steps(pool: RunnerPool, spec: RunnerPoolSpec) -> list[Plan]:
    """Return the steps for a pool if everything that the spec names exists and GitLab agrees; raises Invalid."""
    facts, plans = _suppose_facts(pool, spec), []
    for _ in range(_MOST_STEPS):
        plan = decide_runner(facts, _NOW)
        if plan.failure is not None:
            raise plan.failure
        if plan.step is None:
            break
        facts = _suppose_answer(facts, plan.step)
        if not isinstance(plan.step, (VerifyToken, ListRunners)):
            plans.append(plan)
    return plans


def _suppose_facts(pool: RunnerPool, spec: RunnerPoolSpec) -> RunnerFacts:
    values = {key: f"<{reference.name}/{reference.key}>" for key, (reference, _) in list_references(spec).items()}
    api = spec.gitlab.api_token_secret
    access = Access(f"<{api.name}/{api.key}>" if api is not None else None, runner_token=TOKEN, others=values)
    slurm = spec.executor.slurm
    host = SlurmHost(slurm.host or "", slurm.port, slurm.host_key or "") if slurm is not None else None
    return RunnerFacts(pool, spec, _SETTINGS, access, slurm_host=host)


def _suppose_answer(facts: RunnerFacts, step: Question | Step) -> RunnerFacts:
    match step:
        case StartPolls(polls):
            facts = replace(facts, polls=polls)
        case VerifyToken(token):
            facts = facts.take_identity(token, Identity(1))
        case ListRunners():
            facts = replace(facts, listed=frozenset())
        case CreateServiceAccount():
            facts = replace(facts, account=NamedObject(owned=True))
        case CreateRoleBinding():
            role = build_role_binding(facts.pool, facts.settings)["roleRef"]
            facts = replace(facts, binding=NamedObject(owned=True, role=(role["kind"], role["name"])))
        case WriteRunnerSecret(values):
            facts = facts.take_written(values, "")
        case CreateRunner(request):
            facts = facts.take_created(Registration(1, TOKEN), request, _NOW)
            facts = facts.take_written(facts.require_record().to_data(), "")
        case _:
            raise ValueError(f"{type(step).__name__} is no step of a pool that has nothing yet")
    return facts
