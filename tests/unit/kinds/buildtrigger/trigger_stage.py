"""The stage of a trigger's golden stories: what happens in GitLab and in the cluster, and the steps that come of it."""

from __future__ import annotations

from typing import Any

from bessemer.gitlab.protocol import GitLabUnavailable
from bessemer.gitlab.reports import MergeRequest
from tests.support.trigger_world import KEY, MAIN, TriggerWorld, build_manifest, name_commit, push_body
from tests.unit.stories.teller import event

PASSES = 4
FILES = {
    "good": build_manifest(),
    "changed": build_manifest(onDelete="PowerOff"),
    "evil": build_manifest(compute={"hosts": "evil[2-5]"}),
    "broken": b"a: [",
}
SECOND = build_manifest("neon", management={"host": "oxygen21"}, compute={"hosts": "oxygen[22-25]"})


class TriggerStage:
    """A trigger with its repository."""

    def __init__(self, world: TriggerWorld) -> None:
        self.world = world
        self._words: dict[str, str] = {}
        """By the names of commits, the words that stories call them by."""

    @event("spec")
    async def change_spec(self, spec: dict[str, Any]) -> None:
        """The trigger is applied with these fields; GitLab is told nothing unless they say so."""
        await self.world.apply(**({"report": {"statuses": "Off", "mergeRequests": "Off"}} | spec))

    @event("push")
    def push(self, commit: str, *, oxygen: str = "good", neon: bool = False, ref: str = MAIN) -> None:
        """A commit is pushed; no webhook tells it yet."""
        commit_name = self.world.push(commit, ref, oxygen=FILES[oxygen], neon=SECOND if neon else None)
        self._words[commit_name] = commit

    @event("webhook")
    async def deliver(self, commit: str, *, ref: str = MAIN, before: str | None = None, protected: bool = True) -> None:
        """The webhook of a push arrives."""
        name = name_commit(commit)
        self._words[name] = commit
        old = name_commit(before) if before is not None else None
        await self.world.take(push_body(name, ref, old, ref_protected=protected))

    @event("build ends")
    def end_build(self, name: str, *, ready: bool = True, reason: str = "") -> None:
        """A ClusterBuild is finished."""
        self.world.end_build(name, ready=ready, reason=reason)

    @event("phases")
    def work(self, states: dict[str, str]) -> None:
        """The ClusterBuild oxygen goes on: phases are in these states."""
        self.world.work("oxygen", **states)

    @event("merge request")
    def open_merge_request(self, iid: int, commit: str) -> None:
        """A commit is the head of a merge request."""
        self.world.reports.merge_requests[iid] = MergeRequest(iid, name_commit(commit), from_fork=False)

    @event("statuses")
    def switch_reports(self, state: str) -> None:
        """GitLab takes statuses and notes, or not."""
        self.world.reports.error = None if state == "are taken" else GitLabUnavailable(f"503: {state}")

    @event("GitLab")
    def switch_gitlab(self, state: str) -> None:
        """GitLab goes or comes back."""
        self.world.repository.error = None if state == "answers" else GitLabUnavailable(f"503: {state}")

    @event("seconds pass")
    def pass_time(self, seconds: int) -> None:
        """Time passes."""
        self.world.pass_time(seconds)

    @event("annotation")
    def annotate(self, value: str) -> None:
        """A user asks for a repetition."""
        self.world.kubernetes.edit("buildtriggers", *KEY, {"metadata": {"annotations": {"bessemer.dev/again": value}}})

    @event("operator")
    async def restart(self, _what: str) -> None:
        """The operator is restarted."""
        await self.world.restart_operator()

    @event("trigger")
    def delete(self, _what: str) -> None:
        """The trigger is deleted."""
        self.world.kubernetes.mark_deleted(self.world.kubernetes.objects["buildtriggers", *KEY])

    async def tell(self) -> list[str]:
        """Run passes; return their steps with reasons, then the events of GitLab and the ClusterBuilds."""
        lines: list[str] = []
        kind, decide = self.world.kind, self.world.kind.decide

        def listen(facts: Any, now: Any) -> Any:
            plan = decide(facts, now)
            if plan.step is not None:
                lines.extend(f"{type(plan.step).__name__}: {why.reason}: {why.message}" for why in plan.reasons)
            return plan

        kind.decide = listen  # type: ignore[method-assign]  # to hear of each decision
        await self.world.settle(PASSES)
        kind.decide = decide  # type: ignore[method-assign]  # as it was
        if ("buildtriggers", *KEY) in self.world.kubernetes.objects:
            lines += [
                f"event {one['commit']}: {one['state']} ({one.get('reason')})"
                + (f", place {one['position']}" if "position" in one else "")
                for one in reversed(self.world.status().get("events", []))
            ]
        lines += [
            f"build {name}: {raw['metadata']['annotations']['bessemer.dev/commit']}"
            for (plural, _, name), raw in sorted(self.world.kubernetes.objects.items())
            if plural == "clusterbuilds"
        ]
        lines += [
            f"status {row.name} of {commit}: {row.state}"
            for commit, rows in self.world.reports.rows.items()
            for row in rows
            if not row.retried
        ]
        lines += [f"note on !{iid}: {len(notes)}" for iid, notes in self.world.reports.notes.items()]
        return [self._shorten(line) for line in lines]

    def _shorten(self, line: str) -> str:
        """Replace names of commits and records by words, as they differ in no way that matters."""
        for name, word in self._words.items():
            line = line.replace(name, word).replace(name[:12], word)
        for record, raw in self.world.records().items():
            commit = raw["data"]["event"].split('"commit":"')[1][:40]
            line = line.replace(record, f"<{self._words.get(commit, commit)}>")
        return line
