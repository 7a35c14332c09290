"""Traps of gitlab-runner, each with what our entry point makes of it: GitLab's own runner against the simulator.

docs/development/runner-traps.md has the whole list with the tests of each, here and elsewhere. These can't be reached:

- `--shutdown-timeout` panics: it is never given. The 30 s that are fixed without it begin with a TERM, which a runner
  with a job never gets from us; that a job outlasts them is tested.
- A client error of its own also makes it sleep five minutes: it has one for a URL that is neither http nor https, which
  the CRD refuses (test_a_bad_pool_is_refused_at_apply_naming_the_field).
- A runner that is given the token in its environment, or by inline flags, ignores `.runner_system_id`, and its jobs see
  the token: it is given a configuration, always. What a job sees is tested.
- No sub-command takes a job that was claimed elsewhere: the pod claims itself.
- There is no web terminal with run-single.
- Feature flags of `[runners.feature_flags]` are heeded: nothing to be done.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
import uuid

import pytest

from bessemer.api.names import runner_system_id
from bessemer.gitlab.client import connect_gitlab
from bessemer.kinds.runnerpool.render.config import UNHEALTHY_INTERVAL
from tests.contract.gitlab.conftest import Site
from tests.contract.gitlab.runner.conftest import SYSTEM_ID, Pod

POLL = "POST /api/v4/jobs/request"
UPDATE = "PUT /api/v4/jobs/"
SOON = 10
"""Seconds within which something immediate happens on a busy machine; the runner's own pauses are longer."""


def count_polls(pod: Pod) -> int:
    return pod.site.control.requests().get(POLL, 0)


def read_status(pod: Pod, job: int) -> str:
    return str(pod.site.control.jobs()[job]["status"])


# run-single: how it polls


def test_after_a_403_it_would_sleep_five_minutes_also_where_it_asks_for_any_job(pod: Pod) -> None:
    pod.site.control.switch_fault(route=POLL, status=403)
    pod.start("any")
    assert pod.wait(SOON) == (1, "Forbidden", [])


def test_after_a_403_it_would_be_deaf_to_quit(pod: Pod) -> None:
    pod.site.control.switch_fault(route=POLL, status=403)
    pod.start("1001")
    pod.wait_until(lambda: count_polls(pod) == 1)
    pod.stop(signal.SIGQUIT)
    assert pod.wait(SOON)[1:] == ("Forbidden", [])


def test_the_wait_timeout_is_looked_at_only_after_a_poll_and_its_pause(pod: Pod) -> None:
    """The one poll is answered at once, as it has no last_update; a long poll here takes 50 s."""
    pod.start("1001")
    assert pod.wait(SOON) == (0, "NoJob", [])
    assert count_polls(pod) == 1


def test_a_failed_poll_is_not_repeated_for_long(pod: Pod) -> None:
    pod.site.control.switch_fault(route=POLL, status=409)
    pod.start("1001")
    assert pod.wait(SOON) == (0, "NoJob", [])
    assert count_polls(pod) == 1


def test_a_configuration_without_a_runner_name_has_no_url_and_no_shutdown_timeout_is_given(pod: Pod) -> None:
    real = pod.runner
    folder = pod.folder / "bin"
    folder.mkdir()
    (folder / "gitlab-runner").write_text(f'#!/bin/bash\necho "$@" >{pod.folder}/arguments\nexec {real} "$@"\n')
    (folder / "gitlab-runner").chmod(0o755)
    pod.runner = folder / "gitlab-runner"
    pod.start("1001")
    assert pod.wait(SOON)[:2] == (0, "NoJob")
    given = (pod.folder / "arguments").read_text()
    assert f"run-single -c {pod.folder}/home/config.toml -r lab --max-builds 1" in given
    assert "shutdown" not in given


def test_a_job_named_like_a_line_of_the_log_is_run_to_its_end(pod: Pod) -> None:
    job = pod.run_job("sleep 1; echo to the end", name='"msg":"Checking for jobs... forbidden"')
    pod.start(str(job))
    assert pod.wait() == (0, "JobTaken", [job])
    assert read_status(pod, job) == "success"


# run-single: a poll can not be taken back


def test_a_poll_under_way_is_not_cancelled_and_the_job_it_brings_is_run(pod: Pod) -> None:
    """The pod is told to end while GitLab thinks: the job that it is given is no orphan."""
    job, later = pod.run_job("echo to the end"), pod.run_job("true")
    pod.site.control.switch_fault(route=POLL, kind="delay", seconds=1.5)
    pod.start(str(job))
    pod.wait_until(lambda: count_polls(pod) == 1)
    pod.stop()
    assert pod.wait() == (0, "JobTaken", [job])
    assert (read_status(pod, job), read_status(pod, later)) == ("success", "pending")


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.1, 0.2, 0.4])
def test_told_to_end_while_the_runner_starts_no_job_is_orphaned(pod: Pod, moment: float) -> None:
    """A QUIT that comes before the runner heeds it would end it with a core dump, also with a job."""
    job = pod.run_job("true")
    pod.start(str(job))
    pod.wait_until(pod.heeds_term)
    threading.Event().wait(moment)
    pod.stop()
    code, outcome, jobs = pod.wait(SOON)
    assert code == 0
    assert (outcome, jobs) == (("JobTaken", [job]) if read_status(pod, job) == "success" else ("NoJob", []))
    assert read_status(pod, job) in ("success", "pending")


SLOW_TO_HEED = """#!{python}
import signal, sys, threading, time
print('{{"msg":"Checking for jobs... received","job":1001}}', flush=True)
time.sleep(1)
heard = threading.Event()
signal.signal(signal.SIGQUIT, lambda *_: None)
def listen():
    signal.pthread_sigmask(signal.SIG_SETMASK, set(signal.Signals) - {{signal.SIGQUIT}})
    signal.sigwait({{signal.SIGQUIT}})
    heard.set()
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGQUIT}})
threading.Thread(target=listen, daemon=True).start()
sys.exit(0 if heard.wait(20) else 1)
"""
"""Stands for a runner that is given no processor between its request and ``signal.Notify``."""


def test_a_runner_that_has_asked_for_a_job_is_not_told_to_quit_before_it_heeds_that(pod: Pod) -> None:
    """Seen once on a busy machine: killed by QUIT, it left a job that GitLab called running."""
    folder = pod.folder / "bin"
    folder.mkdir()
    (folder / "gitlab-runner").write_text(SLOW_TO_HEED.format(python=sys.executable))
    (folder / "gitlab-runner").chmod(0o755)
    pod.runner = folder / "gitlab-runner"
    pod.start("1001")
    pod.wait_until(lambda: "received" in pod.log())
    pod.stop()
    assert pod.wait(SOON) == (0, "JobTaken", [1001])


def test_told_to_end_in_the_pause_after_a_poll_it_polls_no_more(pod: Pod) -> None:
    pod.start("any")
    pod.wait_until(lambda: count_polls(pod) == 1)
    pod.stop()
    job = pod.run_job("true")
    assert pod.wait(SOON) == (0, "NoJob", [])
    assert (count_polls(pod), read_status(pod, job)) == (1, "pending")


def test_told_to_end_in_a_long_poll_it_ends_with_the_poll_and_takes_no_job(pod: Pod) -> None:
    pod.change_gitlab(long_poll_seconds=2)
    pod.start("any")
    pod.wait_until(lambda: count_polls(pod) == 2)
    pod.stop()
    job = pod.run_job("true")  # ends the poll, with nothing
    assert pod.wait(SOON) == (0, "NoJob", [])
    assert read_status(pod, job) == "pending"


@pytest.mark.parametrize("refusal", ["canceling", "canceled", "forbidden"])
def test_a_job_refused_at_its_first_update_does_not_count_and_the_runner_polls_again(pod: Pod, refusal: str) -> None:
    """What it takes then is run to its end, in a pod in which nothing has run before, and told like the first."""
    gone = pod.run_job("echo never said")
    if refusal == "forbidden":
        pod.site.control.switch_fault(route=UPDATE, status=403, times=1)
    else:
        pod.site.control.switch_fault(route=UPDATE, kind="delay", seconds=1, times=1)
    pod.start(str(gone))
    pod.wait_until(lambda: read_status(pod, gone) == "running")
    if refusal != "forbidden":
        pod.cancel_job(gone, force=refusal == "canceled")
    second = pod.run_job("echo the second")
    code, outcome, jobs = pod.wait()
    assert (code, outcome) == (0, "JobTaken")
    assert jobs in ([gone], [gone, second])
    assert read_status(pod, second) == ("success" if second in jobs else "pending")
    assert "never said" not in pod.site.control.jobs()[gone]["trace"]


# run-single: signals


def test_a_job_outlasts_the_shutdown_timeout_though_its_script_is_deaf_to_term(pod: Pod) -> None:
    """TERM would kill a job at once without its after_script, and leave one that ignores TERM running after 30 s."""
    job = pod.run_job("trap '' TERM; sleep 32; echo to the end", after_script=["echo and after"])
    pod.start(str(job))
    pod.wait_until(lambda: read_status(pod, job) == "running")
    began = time.monotonic()
    pod.stop()
    assert pod.wait(60) == (0, "JobTaken", [job])
    assert time.monotonic() - began > 30
    done = pod.site.control.jobs()[job]
    assert (done["status"], "to the end" in done["trace"], "and after" in done["trace"]) == ("success", True, True)


@pytest.mark.parametrize("script", ["sleep 60", "trap '' TERM; sleep 60"])
def test_a_job_that_may_not_take_longer_is_told_to_gitlab_as_interrupted(pod: Pod, script: str) -> None:
    """A runner of a script that ignores TERM would end after 30 s without a report, and GitLab wait for an hour."""
    job = pod.run_job(f"{script}; echo to the end")
    pod.start(str(job), BESSEMER_GRACE="1")
    pod.wait_until(lambda: read_status(pod, job) == "running")
    pod.stop()
    assert pod.wait() == (0, "JobTaken", [job])
    done = pod.site.control.jobs()[job]
    assert (done["status"], done["failure_reason"]) == ("failed", "runner_interrupted")


def test_a_second_term_would_force_the_end(pod: Pod) -> None:
    job = pod.run_job("sleep 2; echo to the end")
    pod.start(str(job))
    pod.wait_until(lambda: read_status(pod, job) == "running")
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGQUIT, signal.SIGTERM):
        pod.stop(number)
        threading.Event().wait(0.2)
    assert pod.wait() == (0, "JobTaken", [job])
    assert read_status(pod, job) == "success"


def test_a_cancelled_job_stops_with_its_after_script_and_the_exit_code_says_nothing_of_it(pod: Pod) -> None:
    """GitLab's answer to the next piece of the log tells of it; a silent job hears of it after 30 s."""
    job = pod.run_job("for n in {1..60}; do echo begun $n; sleep 1; done", after_script=["echo and after"])
    pod.start(str(job))
    pod.wait_until(lambda: "begun" in pod.site.control.jobs()[job]["trace"])
    pod.cancel_job(job)
    assert pod.wait() == (0, "JobTaken", [job])
    done = pod.site.control.jobs()[job]
    assert (done["status"], "and after" in done["trace"]) == ("canceled", True)


# token and system_id


def test_jobs_inherit_the_environment_of_the_runner_which_has_no_token(pod: Pod) -> None:
    """The log would hide the token, so the job counts; the word glrt- is in no variable of GitLab's own."""
    script = "echo found=$({ env; tr '\\0' '\\n' <\"/proc/$PPID/environ\"; } | grep -cE 'glrt[-]|CI_SERVER_TOKEN')"
    job = pod.run_job(script, "echo arguments=$(cat /proc/[0-9]*/cmdline 2>/dev/null | grep -caE 'glrt[-]')")
    pod.start(str(job))
    assert pod.wait()[1] == "JobTaken"
    trace = pod.site.control.jobs()[job]["trace"]
    assert "found=0" in trace
    assert "arguments=0" in trace


def test_a_system_id_that_is_well_formed_is_taken_and_kept_whatever_the_machine_is_called(pod: Pod) -> None:
    """One that is not would silently be replaced; without a file, all pods of an image with a machine-id share one."""
    wanted = runner_system_id(str(uuid.uuid4()), 499)
    job = pod.run_job("true")
    pod.start(str(job), BESSEMER_SYSTEM_ID=wanted)
    assert pod.wait()[1] == "JobTaken"
    assert pod.site.control.jobs()[job]["system_id"] == wanted
    assert (pod.folder / "home" / ".runner_system_id").read_text() == wanted


def test_where_the_system_id_can_not_be_written_no_job_is_taken(pod: Pod) -> None:
    """The runner itself would only warn, and call itself something else."""
    (pod.folder / "home" / ".runner_system_id").mkdir()
    pod.start("1001")
    assert pod.wait(SOON) == (1, "NoConfiguration", [])
    assert count_polls(pod) == 0


def test_the_runner_never_unregisters_its_manager_so_the_operator_does(pod: Pod, site: Site) -> None:
    pod.start("1001")
    pod.wait()
    assert [runner["managers"] for runner in site.control.runners()] == [[SYSTEM_ID]]

    async def forget() -> None:
        client = connect_gitlab(site.url, pod.api_token, None)
        await client.delete_manager(pod.runner_token, SYSTEM_ID)
        await client.close()

    asyncio.run(forget())
    assert [runner["managers"] for runner in site.control.runners()] == [[]]


# gitlab-runner run: mode Manager


def start_manager(pod: Pod, **settings: str) -> None:
    """Start a manager that asks every second; jobs run in its own shell here."""
    config = pod.folder / "home" / "config.toml"
    lines = "".join(f"{name} = {value}\n" for name, value in settings.items())
    config.write_text("check_interval = 1\n" + config.read_text() + lines)
    pod.start("any", BESSEMER_MODE="Manager")


def test_a_manager_told_to_end_would_drop_the_poll_under_way_with_the_job_that_it_brings(pod: Pod) -> None:
    job = pod.run_job("sleep 10; echo to the end")
    pod.site.control.switch_fault(route=POLL, kind="delay", seconds=1.5)
    start_manager(pod)
    pod.wait_until(lambda: count_polls(pod) == 1)
    pod.stop()
    assert pod.wait()[0] == 0
    assert read_status(pod, job) == "success"


def test_three_refusals_would_switch_a_manager_off_for_an_hour(pod: Pod) -> None:
    pod.site.control.switch_fault(route=POLL, status=403, times=3)
    start_manager(pod, unhealthy_interval=f'"{UNHEALTHY_INTERVAL}"')
    job = pod.run_job("true")
    pod.wait_until(lambda: read_status(pod, job) == "success")
    pod.kill()
