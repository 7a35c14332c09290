"""Checkout of the site's own playbooks: the init container's command, which checks out a Git repository at a commit.

Values reach the shell and Git only through the environment, so that nothing in a URL can become code and no secret
appears in a command line. User name, password and key are read from the mounted Secret by the programs that need them.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from bessemer.api.clusterbuild.spec import PlaybookRepository
from bessemer.api.phase_contract import PLAYBOOK_DIRECTORY, SCRATCH_DIRECTORY, PhaseName

LOGIN_DIRECTORY = "/etc/bessemer/git"
"""Mount path of the Secret spec.configuration.playbooks.loginSecretName; it is mounted only in the init container."""
PHASES = (PhaseName.PREFLIGHT, PhaseName.CONFIGURE_MANAGEMENT, PhaseName.CONFIGURE_SERVICES)
"""The phases that need the playbooks, and Preflight, so that errors in them are reported first."""
_CLEAN = r"LC_ALL=C sed -e '1s/^\xef\xbb\xbf//' -e 's/^[[:space:]]*//' -e 's/[[:space:]]*$//' -e '$a\'"
"""Writes a pasted key as OpenSSH reads it: only line feeds as line ends, and exactly one at the end."""
COMMAND = (
    "/bin/sh",
    "-ec",
    'printf "%s\\n" "$KNOWN_HOSTS" >"$HOME/known_hosts"\n'
    'if [ -e "$LOGIN_KEY" ]; then\n'
    "  trap 'rm -f \"$HOME/login-key\"' EXIT\n"
    f'  (umask 077; {_CLEAN} "$LOGIN_KEY" >"$HOME/login-key")\n'
    "fi\n"
    'git clone --quiet --no-checkout -- "$REPOSITORY" "$DIRECTORY"\n'
    'git -C "$DIRECTORY" checkout --quiet --detach "$COMMIT"\n',
)
SSH = (
    f"ssh -i {SCRATCH_DIRECTORY}/login-key -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=10"
    f" -o StrictHostKeyChecking=yes -o UserKnownHostsFile={SCRATCH_DIRECTORY}/known_hosts"
    " -o GlobalKnownHostsFile=/dev/null"
)
HELPER = (
    f"!login() {{ test $1 = get || return 0; cd {LOGIN_DIRECTORY};"
    r""" echo "username=$(tr -d '\r\n' <username)"; echo "password=$(tr -d '\r\n' <password)"; }; login"""
)
"""A credential helper. Source: https://git-scm.com/docs/gitcredentials#_custom_helpers"""


def build_environment(playbooks: PlaybookRepository) -> dict[str, str]:
    """Return the environment of COMMAND."""
    # The volume's root directory belongs to root, not to the pod's user; Git would refuse it as dubious.
    configuration = {"safe.directory": PLAYBOOK_DIRECTORY}
    parts = urlsplit(playbooks.repository)
    if playbooks.login_secret_name and parts.scheme in ("http", "https"):
        # For this server only: after a redirect, another server must not receive the password.
        server = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        configuration[f"credential.{server}.helper"] = HELPER
    environment = {
        "HOME": SCRATCH_DIRECTORY,
        "REPOSITORY": playbooks.repository,
        "COMMIT": playbooks.commit,
        "DIRECTORY": PLAYBOOK_DIRECTORY,
        "LOGIN_KEY": f"{LOGIN_DIRECTORY}/ssh-privatekey",
        "KNOWN_HOSTS": playbooks.known_hosts or "",
        "GIT_SSH_COMMAND": SSH,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": str(len(configuration)),
    }
    for number, (key, value) in enumerate(configuration.items()):
        environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return environment
