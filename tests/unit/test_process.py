"""What the process is put together from: every kind watches its objects and their children, and gives its routes."""

from __future__ import annotations

from bessemer.engine.hearing import Hearing
from bessemer.engine.watch import build_registry
from bessemer.process import build_controllers
from tests.fakes.deps import build_deps
from tests.fakes.watcher import FakeWatcher


async def test_each_kind_is_watched_with_its_children_and_serves_its_routes() -> None:
    controllers = build_controllers(build_deps(), FakeWatcher())
    handlers = build_registry(controllers, Hearing())._watching.get_all_handlers()
    assert [str(handler.id) for handler in handlers] == [
        "ClusterBuild",
        "ClusterBuild-pods-0",
        "RunnerPool",
        "RunnerPool-pods-0",
        "RunnerPool-pods-1",
        "RunnerPool-resourcequotas-2",
        "BuildTrigger",
        "BuildTrigger-clusterbuilds-0",
        "build_registry.<locals>.on_lease",
    ]
    public = [route.path for controller in controllers for route in controller.kind.routes.public]
    internal = [route.path for controller in controllers for route in controller.kind.routes.internal]
    assert public == [
        "/v1/gitlab/{namespace}/{name}",
        "/v1/triggers/{namespace}/{name}",
        "/v1/triggers/{namespace}/{name}/job",
        "/v1/triggers/{namespace}/{name}/job/{record}",
        "/v1/triggers/{namespace}/{name}/job/{record}",
    ]
    assert internal == ["/v1/progress/{namespace}/{build}"]
    for controller in controllers:
        await controller.close()
