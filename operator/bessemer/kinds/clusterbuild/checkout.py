"""How a pod gets the site's own playbooks: what its init container runs to check a Git repository out at a commit.

Values reach the shell and Git by the environment alone, so that nothing in a URL can become code and no secret stands
in a command line; user name, password and key are read from the mounted Secret by the programs that need them.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from bessemer.api.clusterbuild.spec import PlaybookRepository
from bessemer.api.phase_contract import PLAYBOOK_DIRECTORY, SCRATCH_DIRECTORY, PhaseName

LOGIN_DIRECTORY = "/etc/bessemer/git"
"""Where the Secret spec.configuration.playbooks.loginSecretName is mounted in the init container, and only there."""
PHASES = (PhaseName.PREFLIGHT, PhaseName.CONFIGURE_MANAGEMENT, PhaseName.CONFIGURE_SERVICES)
"""The phases that need the playbooks, and Preflight, so that what is wrong with them is known first."""
_CLEAN = r"LC_ALL=C sed -e '1s/^\xef\xbb\xbf//' -e 's/^[[:space:]]*//' -e 's/[[:space:]]*$//' -e '$a\'"
"""Write a key that was pasted as OpenSSH reads it: only with line feeds as line ends, one of them at its end."""
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
    # The volume's root belongs to root, not to the pod's user, which Git would find dubious.
    configuration = {"safe.directory": PLAYBOOK_DIRECTORY}
    parts = urlsplit(playbooks.repository)
    if playbooks.login_secret_name and parts.scheme in ("http", "https"):
        # For this server only: another one that it redirects to must not be given the password.
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
