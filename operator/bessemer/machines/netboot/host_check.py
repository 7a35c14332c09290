"""Run on a boot host by Preflight, as ``python3 - JSON``: what must be there before anything is staged.

Standard library only, Python 3.9 or newer. Prints a JSON list of what is wrong.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import urllib.error
import urllib.request


def check_url(url: str) -> str | None:
    """Ask for the head of a file; say what is wrong, if anything."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=10):  # noqa: S310  the spec's
            return None
    except urllib.error.HTTPError as error:
        return None if error.code in (405, 501) else f"{url} answers {error.code}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"{url} does not answer: {getattr(error, 'reason', error)}"


def check_writable(directory: str, must_exist: bool) -> str | None:
    """Check that files can be made in a directory, or that it can be made itself; say what is wrong, if anything."""
    existing = directory
    while not must_exist and not os.path.exists(existing):
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing):
        return f"{directory} is no directory"
    return None if os.access(existing, os.W_OK | os.X_OK) else f"{directory} is not writable for this user"


def main() -> None:
    """Check what the argument asks for."""
    request = json.loads(sys.argv[1])
    found = [check_url(url) for url in request["urls"]]
    found += [check_writable(directory, True) for directory in request["directories"]]
    found += [check_writable(directory, False) for directory in request["made_directories"]]
    if sys.version_info < (3, 9):  # noqa: UP036  it runs on whatever Python the boot host has
        found.append("python3 is older than 3.9")
    sys.stdout.write(json.dumps([text for text in found if text]) + "\n")


if __name__ == "__main__":
    main()
