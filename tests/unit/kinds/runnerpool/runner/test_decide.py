"""What a pool's runner needs next, whatever is found: it is always decided, ends soon, and reading writes nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.api.runnerpool.resource import RunnerPool, parse_runner_pool
from bessemer.engine.settings import Settings
from bessemer.gitlab.protocol import GitLabRefused, Identity, Registration
from bessemer.kinds.runnerpool.runner.access import Access
from bessemer.kinds.runnerpool.runner.decide import decide_runner
from bessemer.kinds.runnerpool.runner.facts import RunnerFacts
from bessemer.kinds.runnerpool.runner.observe import get_end_facts, get_manager_facts, get_runner_facts
from bessemer.kinds.runnerpool.runner.plan import (
    CreateRunner,
    DeleteRunner,
    LeaveRunner,
    ListRunners,
    Plan,
    Question,
    RotateToken,
    StartPolls,
    Step,
    StopPolls,
    UpdateRunner,
    VerifyToken,
    WriteRunnerSecret,
)
from bessemer.kinds.runnerpool.runner.record import PoolSecret, Record
from tests.support.pool_world import KEY, PoolWorld, manifest

NOW = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
MANAGED = {"managed": {}, "tags": ["hpc"]}
MOST = 14
"""Questions and steps of one pass, with one runner that was never recorded."""


def parse(**spec: Any) -> RunnerPool:
    raw = manifest(**spec)
    raw["metadata"] |= {"namespace": KEY[0], "uid": "u"}
    return parse_runner_pool(raw)


RECORDS = st.none() | st.builds(
    Record,
    st.builds(
        Registration,
        st.just(1),
        st.just("glrt-old"),
        st.none() | st.builds(lambda hours: NOW + timedelta(hours=hours), st.integers(-5, 100)),
    ),
    st.sampled_from(["http://gitlab.example", "http://old.example"]),
    st.sampled_from(["project hpc/simulations", "group hpc"]),
    st.sampled_from(["", "digest"]).map(lambda text: text or "other"),
    st.builds(lambda hours: NOW - timedelta(hours=hours), st.integers(0, 100)),
    st.integers(0, 5),
)


@st.composite
def build_facts(draw: st.DrawFn) -> RunnerFacts:
    pool = parse(**(draw(st.sampled_from([{}, {"runner": MANAGED}]))))
    assert pool.spec is not None
    settings = Settings(image="", namespace="", identity="", executor_role="role")
    access = Access(draw(st.none() | st.just("glpat-token")), runner_token="glrt-given")
    facts = RunnerFacts(pool, pool.spec, settings, access)
    record = draw(RECORDS)
    values = draw(st.dictionaries(st.sampled_from(["config.toml", "strange"]), st.just("x")))
    if record is not None:
        return facts.take_written(values | record.to_data(), "1")
    broken = draw(st.sampled_from([None, {}, {"runner-id": "eA=="}, {"runner-id": 7, "token": None}]))
    return facts if broken is None else facts.take_secret(PoolSecret("1", broken))


@given(
    facts=build_facts(),
    listed=st.sets(st.sampled_from([1, 5])),
    takes=st.booleans(),
    new=st.booleans(),
    may=st.booleans(),
)
def test_whatever_is_found_a_pass_ends_soon_and_spends_no_token_twice(
    facts: RunnerFacts, listed: set[int], takes: bool, new: bool, may: bool
) -> None:
    """``takes``: GitLab takes the old token; ``new``: it takes one that it has just issued; ``may``: it deletes."""
    done: Counter[str] = Counter()
    plan = decide_runner(facts, NOW)
    while plan.step is not None:
        done[type(plan.step).__name__] += 1
        assert done.total() <= MOST, done
        facts = answer(facts, plan.step, frozenset(listed), {"glrt-new": new}.get(read_token(plan.step), takes), may)
        plan = decide_runner(facts, NOW)
    assert done["CreateRunner"] + done["RotateToken"] <= 1
    assert done["WriteRunnerSecret"] <= 3
    check_end(facts, plan)


def read_token(step: Question | Step) -> str:
    return step.token if isinstance(step, VerifyToken) else ""


def answer(facts: RunnerFacts, step: Question | Step, listed: frozenset[int], takes: bool, may: bool) -> RunnerFacts:  # noqa: PLR0911  one for each step
    """Answer as a GitLab would that has these runners."""
    match step:
        case StartPolls(polls):
            return replace(facts, polls=polls)
        case StopPolls():
            return replace(facts, polls=None)
        case VerifyToken(token):
            return facts.take_identity(token, Identity(1) if takes else None)
        case ListRunners():
            return replace(facts, listed=listed)
        case WriteRunnerSecret(values):
            return facts.take_written(values, "2")
        case CreateRunner(request):
            return facts.take_created(Registration(9, "glrt-new", NOW), request, NOW)
        case UpdateRunner(_, request):
            return facts.take_updated(request)
        case RotateToken(_, refused):
            return facts.take_rotated(Registration(1, "glrt-new", NOW), refused=refused, now=NOW)
        case DeleteRunner() if not may:
            return facts.take_failure(step, GitLabRefused("403"))
        case DeleteRunner(runner_id) | LeaveRunner(runner_id):
            return facts.take_gone(runner_id)
        case _:
            raise AssertionError(step)


def check_end(facts: RunnerFacts, plan: Plan) -> None:
    """Either all is as the spec wants it, or it is said what is wrong."""
    assert (plan.settled is None) == (plan.failure is not None)
    if plan.settled is not None:
        assert plan.settled.fact.ready
        assert facts.secret is not None
        assert facts.secret.get_values()["config.toml"].count(plan.settled.token) == 1
        assert "strange" not in facts.secret.data
        assert facts.secret.has_record == (facts.spec.runner.managed is not None)


@pytest.mark.parametrize("moment", ["new", "settled", "operator restarted", "deleted"])
async def test_observing_writes_nothing_and_asks_gitlab_nothing(world: PoolWorld, moment: str) -> None:
    executor = {"type": "Kubernetes", "kubernetes": {"image": "debian"}}
    await world.apply(runner=MANAGED, executor=executor)
    if moment == "new":
        world.watch()
    else:
        await world.settle()
    if moment == "operator restarted":
        await world.restart_operator()
        world.watch()
    if moment == "deleted":
        world.kubernetes.mark_deleted(world.kubernetes.objects["runnerpools", *KEY])
        world.watch()
    raw = world.deps.pools.get(KEY)
    assert raw is not None
    pool, known = parse_runner_pool(raw), world.memory.runner
    assert pool.spec is not None
    world.kubernetes.calls.clear()
    world.gitlab.calls.clear()
    await get_runner_facts(world.deps, pool, pool.spec)
    await get_end_facts(world.deps, pool)
    await get_manager_facts(world.deps, pool, frozenset({0}))
    assert {call[0] for call in world.kubernetes.calls} == {"get"}
    assert [call for call in world.gitlab.calls if call != "list_pending_jobs"] == []
    assert world.memory.runner == known
