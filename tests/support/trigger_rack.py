"""A rack, a GitLab with the repository of ``examples/gitlab``, a runner pool for its jobs, and its trigger.

All of it is in one namespace. The manifest and the trigger are changed as a user at this site would: the size in the
manifest; addresses, host keys and Ansible's variables of the site in ``overrides`` of the trigger.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from local_kubernetes.kubectl import Kubectl, Resource
from tests.support.checkout import ROOT
from tests.support.clone import Clone
from tests.support.component import render_job
from tests.support.forwarding import forward
from tests.support.gitlab_pod import SERVICE, build_url
from tests.support.runner_image import build_helper_image
from tests.support.runners import Runners, open_runners
from tests.support.site import SYSTEM_NAMESPACE, Site, merge
from tests.support.triggers import PROJECT, SOON, Triggers

EXAMPLE = ROOT / "examples" / "gitlab"
MANIFEST = "clusters/oxygen.yaml"
TRIGGER, POOL, TAG = "clusters", "lab", "lab"
FORK = "eve/clusters"
PATH, FORK_PATH = "/projects/2", "/projects/3"
"""In GitLab's API; the first project is that of the runner pools."""
MAINTAINER, DEVELOPER, STRANGER = "ada", "dev", "eve"
ACCESS: dict[str, dict[str, int]] = {
    MAINTAINER: {PROJECT: 40},
    DEVELOPER: {PROJECT: 30},
    STRANGER: {"eve": 50, PROJECT: 20},
}
RULES = [
    {"name": "button", "job": {"refs": ["*"]}},
    {"name": "request", "mergeRequest": {"targetBranches": ["*"]}},
    {"name": "plan", "mergeRequest": {"targetBranches": ["*"]}, "mode": "Plan"},
    {"name": "push", "push": {"branches": ["*"]}},
    {"name": "order", "comment": {}},
]
"""As wide as can be: only their defaults keep out branches that are not protected, forks and strangers."""


@dataclass
class TriggerRack:
    """The whole of it."""

    site: Site
    runners: Runners
    triggers: Triggers
    tokens: dict[str, str]
    """Access tokens by user names."""
    address: str
    """Host and port at which the test reaches GitLab."""
    image: str
    """The operator's image, in which the command ``bessemer`` is."""
    folder: Path
    hook: int = field(default=0)
    """Number of the trigger's webhook in GitLab."""

    def clone(self, user: str, path: str = PROJECT) -> Clone:
        """Clone a project as a user does; the working copy pushes as that user."""
        folder = self.folder / f"{len(list(self.folder.iterdir()))}-{user}"
        folder.mkdir()
        login = base64.b64encode(f"{user}:{self.tokens[user]}".encode()).decode()
        clone = Clone(folder, {"http.extraHeader": f"Authorization: Basic {login}"})
        clone.run("clone", "--quiet", f"http://{self.address}/{path}.git", ".")
        return clone

    def change(self, clone: Clone, message: str, **spec: Any) -> str:
        """Commit a manifest with changes to its spec, as a JSON merge patch; return the commit's name."""
        file = clone.path / MANIFEST
        manifest = yaml.safe_load(file.read_text(encoding="utf-8"))
        merge(manifest["spec"], spec)
        file.write_text(yaml.safe_dump(manifest, sort_keys=False), encoding="utf-8")
        return clone.commit(message)

    def choose_nodes(self, *numbers: int) -> dict[str, Any]:
        """Return the compute nodes of these numbers, as a manifest has them."""
        listed, macs = ",".join(map(str, numbers)), self.site.lab.macs
        hosts, addresses = f"oxygen[{listed}]", f"10.141.0.[{listed}]"
        return {"hosts": hosts, "addresses": addresses, "macs": [macs[number - 2] for number in numbers]}

    def press(self, user: str = MAINTAINER, ref: str = "main") -> tuple[int, int]:
        """Press the button in a new pipeline of a branch; return the numbers of its job and of the job after it."""
        later = {
            "name": "test-oxygen",
            "stage": "test",
            "tags": [TAG],
            "script": ["echo cluster=$BESSEMER_CLUSTER_NAME/$BESSEMER_CLUSTER_STATE at $BESSEMER_CLUSTER_ADDRESS."],
        }
        button, after = self.runners.gitlab.run_jobs(PROJECT, self.build_button(), later, ref=ref, user=user)
        self.runners.gitlab.play_job(self.tokens[user], button)
        return button, after

    def build_button(self) -> Resource:
        """Return the job of the example's ``.gitlab-ci.yml``, with the addresses of this site."""
        pipeline = yaml.safe_load((EXAMPLE / ".gitlab-ci.yml").read_text(encoding="utf-8"))
        inputs = pipeline["include"][0]["inputs"]
        return render_job(inputs | {"trigger-url": self.hook_url, "image": self.image, "tags": [TAG]})

    @property
    def hook_url(self) -> str:
        """The URL of the trigger's webhook, by which jobs ask for builds, too."""
        return f"http://bessemer.{SYSTEM_NAMESPACE}.svc:8080/v1/triggers/{self.site.namespace}/{TRIGGER}"

    def list_answers(self) -> list[str]:
        """List what the trigger has answered to its webhook, the latest first, as GitLab shows it."""
        path = f"{PATH}/hooks/{self.hook}/events?per_page=20"
        return [one["response_body"] for one in self.ask("GET", path)]

    def ask(self, method: str, path: str, body: Any = None, user: str = MAINTAINER) -> Any:
        """Return what GitLab's REST API answers to a user."""
        return self.runners.gitlab.ask(self.tokens[user], method, path, body)

    def get_job(self, number: int) -> dict[str, Any]:
        """Return a job, with its log."""
        return self.runners.gitlab.jobs()[number]

    def get_tests(self, number: int) -> list[dict[str, Any]]:
        """List the suites of tests that the pipeline of a job shows."""
        pipeline = self.ask("GET", f"{PATH}/jobs/{number}")["pipeline"]["id"]
        suites: list[dict[str, Any]] = self.ask("GET", f"{PATH}/pipelines/{pipeline}/test_report")["test_suites"]
        return suites

    def list_notes(self, iid: int) -> list[dict[str, Any]]:
        """List what Bessemer has written on a merge request."""
        notes = self.ask("GET", f"{PATH}/merge_requests/{iid}/notes?per_page=100")
        return [note for note in notes if not note["system"] and note["author"]["username"] == "bot"]

    def list_statuses(self, commit: str, ref: str, *, every: bool = False) -> list[tuple[str, str]]:
        """List names and states of a commit's statuses; ``every``: also of those that others have replaced."""
        path = f"{PATH}/repository/commits/{commit}/statuses?ref={ref}&per_page=100&all={str(every).lower()}"
        found = self.ask("GET", path)
        return [(one["name"], one["status"]) for one in found if one["name"].startswith("bessemer/")]

    def explain(self) -> str:
        """Return a description of the current state, for a failing test."""
        traces = [f"job {number}: {job['status']}\n{job['trace'][-4000:]}" for number, job in
                  sorted(self.runners.gitlab.jobs().items())[-2:]]  # fmt: skip
        answers = "\n".join(self.list_answers()[:8])
        build = self.site.explain() if self.site.kubectl.find("clusterbuild", "oxygen") else "no ClusterBuild"
        return "\n".join([self.triggers.explain(), self.runners.explain(), answers, build, *traces])


@contextmanager
def open_trigger_rack(site: Site, folder: Path) -> Iterator[TriggerRack]:
    """Yield a rack with a GitLab, a pool and a trigger, which stay until the namespace of the rack goes."""
    helper = build_helper_image()
    site.cluster.load_image(helper.archive)
    with open_runners(site.cluster, site.namespace) as runners, forward(site.kubectl, f"service/{SERVICE}", 80) as at:
        tokens = runners.gitlab.seed(
            projects=[{"path": PROJECT, "visibility": "public"}],
            users=[{"username": name, "access": access} for name, access in ACCESS.items()],
            tokens=[{"user": name, "name": name, "scopes": ["api"]} for name in ACCESS],
        )
        triggers = Triggers(site.kubectl, runners.gitlab, runners.access_token, PATH)
        image = get_operator_image(site.system)
        made = TriggerRack(site, runners, triggers, tokens, at, image, folder)
        push_example(made)
        apply_pool(made, helper.name)
        apply_trigger(made)
        yield made
        site.kubectl.run("delete", "buildtrigger,clusterbuild", "--all", timeout=180)


def get_operator_image(system: Kubectl) -> str:
    """Return the name of the image that runs, which is on the node."""
    found = system.get("deployment", "bessemer")["spec"]["template"]["spec"]["containers"][0]
    return str(found["image"])


def push_example(made: TriggerRack) -> None:
    """Push the example's repository, with a manifest for two nodes, as its first commit."""
    clone = made.clone(MAINTAINER)
    shutil.copytree(EXAMPLE, clone.path, dirs_exist_ok=True)
    made.change(clone, "A cluster", compute=made.choose_nodes(2, 3))
    clone.run("push", "--quiet", "origin", "HEAD:main")


def apply_pool(made: TriggerRack, helper: str) -> None:
    """Apply a pool whose jobs run in pods with the images that they name."""
    url = build_url(made.site.namespace)
    secrets = {"apiTokenSecret": {"name": "gitlab"}, "webhookSecret": {"name": "webhook"}}
    gitlab = {"url": url, "scope": {"type": "Project", "path": PROJECT}, **secrets}
    kubernetes = {"image": helper, "helperImage": helper, "pullPolicy": "Never"}
    made.runners.apply_pool(POOL, [TAG], gitlab=gitlab, executor={"type": "Kubernetes", "kubernetes": kubernetes})
    hook = f"http://bessemer.{SYSTEM_NAMESPACE}.svc:8080/v1/gitlab/{made.site.namespace}/{POOL}"
    made.runners.gitlab.add_hook(project=PROJECT, url=hook, token="webhook-secret")


def apply_trigger(made: TriggerRack) -> None:
    """Apply the example's trigger for this site, and have GitLab tell it of everything."""
    manifest: Resource = yaml.safe_load((EXAMPLE / "trigger.yaml").read_text(encoding="utf-8"))
    url = build_url(made.site.namespace)
    secrets = {"apiTokenSecret": {"name": "gitlab"}, "webhookSecret": {"name": "webhook"}}
    manifest["spec"] |= {
        "gitlab": {"url": url, "project": PROJECT, **secrets},
        "rules": RULES,
        "overrides": {
            "bootHost": {"ssh": {"hostKey": made.site.lab.boot_host_public_key}},
            "configuration": {
                "playbooks": {"repository": f"{url}/{PROJECT}.git"},
                "variables": made.site.build_manifest()["spec"]["configuration"]["variables"],
            },
            "onDelete": "PowerOff",
        },
    }
    manifest["spec"]["allow"] |= {"repositories": [f"{url}/hpc/"]}
    made.site.kubectl.apply(manifest)
    made.site.kubectl.run("wait", f"bt/{TRIGGER}", "--for=condition=Ready", f"--timeout={SOON}s", timeout=SOON + 10)
    events = ["push_events", "tag_push_events", "merge_requests_events", "note_events"]
    made.runners.gitlab.add_hook(project=PROJECT, url=made.hook_url, token="webhook-secret", events=events)
    hooks = made.ask("GET", f"{PATH}/hooks")
    made.hook = next(hook["id"] for hook in hooks if hook["url"] == made.hook_url)
