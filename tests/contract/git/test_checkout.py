"""What the init container runs, run for real: against each kind of Git server, as a user who doesn't own the volume."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bessemer.api.clusterbuild.spec import PlaybookRepository
from bessemer.api.phase_contract import PLAYBOOK_DIRECTORY, SCRATCH_DIRECTORY
from bessemer.kinds.clusterbuild import checkout
from tests.contract.git.git_servers import HttpGit, make_repository, serve_daemon, serve_http
from tests.contract.machines.daemons import run_sshd
from tests.contract.machines.test_ssh import make_key

PASSWORD = "a-password-that-no-one-else-may-see"


@dataclass(frozen=True)
class Pod:
    """The volumes of a pod, and the repository that is wanted."""

    folder: Path
    commits: list[str]

    @property
    def playbooks(self) -> Path:
        return self.folder / "playbooks"

    def give_login(self, **files: str) -> None:
        for name, content in files.items():
            (self.folder / "login" / name).write_bytes(content.encode())
            (self.folder / "login" / name).chmod(0o644)

    def check_out(self, repository: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run the container's command with its environment; only the paths of the volumes are ours."""
        wanted = PlaybookRepository.model_validate({"repository": repository, "commit": self.commits[0], **changes})
        volumes = {
            checkout.LOGIN_DIRECTORY: self.folder / "login",
            PLAYBOOK_DIRECTORY: self.playbooks,
            SCRATCH_DIRECTORY: self.folder / "scratch",
        }
        environment = {"PATH": os.environ["PATH"]}
        for name, value in checkout.build_environment(wanted).items():
            for path, ours in volumes.items():
                value = value.replace(path, str(ours))  # noqa: PLW2901  one path after the other
            environment[name] = value
        assert PASSWORD not in str((checkout.COMMAND, environment))
        user = pwd.getpwnam("nobody")
        return subprocess.run(
            checkout.COMMAND,
            env=environment,
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def assert_checked_out(self, done: subprocess.CompletedProcess[str]) -> None:
        assert done.returncode == 0, done.stderr
        assert (self.playbooks / "site.yml").read_text() == "# 1\n"


@pytest.fixture
def pod() -> Iterator[Pod]:
    """Volumes that belong to root and may be written, as those that Kubernetes makes."""
    folder = Path(tempfile.mkdtemp(prefix="checkout-"))
    folder.chmod(0o755)
    for name in ("login", "playbooks", "scratch"):
        (folder / name).mkdir()
        (folder / name).chmod(0o2777)
    yield Pod(folder, make_repository(folder / "server"))
    shutil.rmtree(folder)


@pytest.fixture
def server(pod: Pod) -> Iterator[HttpGit]:
    with serve_http(pod.folder / "server") as running:
        yield running


def test_an_earlier_commit_is_checked_out_by_http(pod: Pod, server: HttpGit) -> None:
    pod.assert_checked_out(pod.check_out(f"{server.url}/site.git"))


def test_the_git_protocol_works_too(pod: Pod) -> None:
    with serve_daemon(pod.folder / "server") as url:
        pod.assert_checked_out(pod.check_out(f"{url}/site.git"))


def test_a_password_is_taken_from_the_secret(pod: Pod, server: HttpGit) -> None:
    server.login = f"builder:{PASSWORD}"
    pod.give_login(username="builder\r\n", password=f"{PASSWORD}\r\n")
    pod.assert_checked_out(pod.check_out(f"{server.url}/site.git", loginSecretName="git"))


def test_a_wrong_password_ends_in_a_clear_message_that_does_not_hold_it(pod: Pod, server: HttpGit) -> None:
    server.login = "builder:another"
    pod.give_login(username="builder", password=PASSWORD)
    done = pod.check_out(f"{server.url}/site.git", loginSecretName="git")
    assert done.returncode != 0
    assert "Authentication failed" in done.stderr
    assert PASSWORD not in done.stdout + done.stderr


def test_without_a_login_no_user_is_asked_for_one(pod: Pod, server: HttpGit) -> None:
    server.login = "builder:another"
    done = pod.check_out(f"{server.url}/site.git")
    assert done.returncode != 0
    assert "terminal prompts disabled" in done.stderr


def test_a_server_that_sends_us_on_does_not_get_the_password_told_to_another(pod: Pod, server: HttpGit) -> None:
    pod.give_login(username="builder", password=PASSWORD)
    with serve_http(pod.folder / "server") as other:
        other.login = f"builder:{PASSWORD}"
        server.redirect = other.url
        assert pod.check_out(f"{server.url}/site.git", loginSecretName="git").returncode != 0
        assert other.logins_seen == 0


@pytest.mark.parametrize(
    ("line_end", "before", "after"),
    [("\n", "", "\n"), ("\n", "", ""), ("\r\n", "", "\r\n"), ("\r\n", "\ufeff", ""), (" \n  ", "", "\n\n")],
    ids=["written", "no line end", "Windows", "byte order mark", "blanks"],
)
def test_ssh_works_with_the_key_and_the_host_key_that_are_given(
    pod: Pod, line_end: str, before: str, after: str
) -> None:
    host_key, login = make_key(), make_key()
    pasted = before + login.private.strip().replace("\n", line_end) + after
    pod.give_login(**{"ssh-privatekey": pasted})
    with run_sshd(pod.folder / "sshd", host_key, login.public) as sshd:
        url = f"ssh://root@127.0.0.1:{sshd.port}{pod.folder}/server/site.git"
        known_hosts = f"[127.0.0.1]:{sshd.port} {host_key.public}"
        pod.assert_checked_out(pod.check_out(url, loginSecretName="git", knownHosts=known_hosts))
    assert not (pod.folder / "scratch" / "login-key").exists()


def test_an_unknown_host_key_is_refused(pod: Pod) -> None:
    login = make_key()
    pod.give_login(**{"ssh-privatekey": login.private})
    with run_sshd(pod.folder / "sshd", make_key(), login.public) as sshd:
        url = f"ssh://root@127.0.0.1:{sshd.port}{pod.folder}/server/site.git"
        known_hosts = f"[127.0.0.1]:{sshd.port} {make_key().public}"
        done = pod.check_out(url, loginSecretName="git", knownHosts=known_hosts)
    assert done.returncode != 0
    assert "Host key verification failed" in done.stderr
    assert list(pod.playbooks.iterdir()) == []


def test_a_commit_that_is_not_there_is_named(pod: Pod, server: HttpGit) -> None:
    done = pod.check_out(f"{server.url}/site.git", commit="0" * 40)
    assert done.returncode != 0
    assert "0" * 40 in done.stderr
