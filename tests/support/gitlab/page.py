"""A page to look at: the jobs, live, and a button that makes one."""

from __future__ import annotations

from aiohttp import web

from .jobs import create_pipeline
from .spec import JobSpec, PipelineSpec
from .state import GitLabState

PAGE = """<!doctype html><meta charset="utf-8"><title>GitLab simulator</title>
<style>body{font:15px sans-serif;margin:2em;max-width:70em}td,th{padding:.2em 1em .2em 0;text-align:left}
.running{color:#06c}.success{color:#080}.failed{color:#c00}</style>
<h1>GitLab simulator</h1>
<form method="post" action="run"><label>Jobs <input name="count" type="number" value="1" min="1" max="500"></label>
<label>seconds each <input name="seconds" type="number" value="5" min="0" max="3600"></label>
<label>tags <input name="tags" value="{tags}"></label> <button>Run</button></form>
<p id="counts"></p><table id="jobs"></table>
<script>
async function show() {
  const jobs = await (await fetch("-/simulator/jobs")).json(), counts = {};
  for (const job of jobs) counts[job.status] = (counts[job.status] || 0) + 1;
  document.getElementById("counts").textContent =
    Object.entries(counts).map(([status, count]) => `${count} ${status}`).join(", ") || "no jobs yet";
  const table = document.getElementById("jobs"); table.replaceChildren();
  for (const job of jobs.slice(-100).reverse()) {
    const row = table.insertRow();
    const waited = job.started_at ? (job.started_at - job.pending_at).toFixed(1) + " s waited" : "";
    for (const text of [job.id, job.name, job.tags.join(", "), job.status, waited, job.system_id || ""])
      row.insertCell().textContent = text;
    row.className = job.status;
  }
}
show(); setInterval(show, 1000);
</script>
"""


def add_page(router: web.UrlDispatcher, state: GitLabState) -> None:
    """Add the page and its button."""

    async def show(_: web.Request) -> web.Response:
        tags = next((",".join(runner.tags) for runner in state.runners.values()), "")
        return web.Response(text=PAGE.replace("{tags}", tags), content_type="text/html")

    async def run(request: web.Request) -> web.Response:
        form = await request.post()
        tags = [tag.strip() for tag in str(form.get("tags", "")).split(",") if tag.strip()]
        script = ["echo hello", f"sleep {int(str(form.get('seconds', '5')))}"]
        project = next(iter(state.projects.values()), None)
        if project is None:
            raise web.HTTPConflict(text="there is no project yet")
        count = min(500, int(str(form.get("count", "1"))))
        jobs = [JobSpec(name=f"job {number + 1}", script=script, tags=tags) for number in range(count)]
        create_pipeline(state, PipelineSpec(project=project.full_path, jobs=jobs))
        raise web.HTTPSeeOther("./")

    router.add_get("/", show)
    router.add_post("/run", run)
