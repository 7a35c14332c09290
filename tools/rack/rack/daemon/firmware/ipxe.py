"""Reads the subset of iPXE's script language that boot servers use, see https://ipxe.org/scripting and https://ipxe.org/cmd.

A command that fails ends its script, unless `||` follows. A script that ends by `exit` or by failing boots nothing:
the firmware goes on with its next device.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urljoin

from .pxe import BootError

MOST_COMMANDS = 1000
"""Limits scripts that loop forever."""
IMAGE_COMMANDS = ("kernel", "initrd", "imgargs", "chain")
WITHOUT_EFFECT = ("", "dhcp", "ifopen", "prompt", "sleep", "colour", "console", "sync", "ntp", "imgstat")
"""The network card is already up; the other commands only display something or wait."""
FLAGS_WITH_VALUE = ("--name", "-n", "--timeout", "-t")


@dataclass
class BootPlan:
    """What a script has chosen to boot."""

    kernel: str = ""
    arguments: str = ""
    initrds: list[str] = field(default_factory=list)


class ScriptExitError(Exception):
    """Raised by the command `exit`."""


class BootNow(Exception):  # noqa: N818 - not an error: the command `boot` was reached
    """Raised to start the chosen kernel."""


class Interpreter:
    """Runs boot scripts.

    Args:
        settings: iPXE's settings by name, such as `net0/mac`.
        fetch_text: gives the text at a URL or raises BootError.
        say: prints on the console.

    """

    def __init__(self, settings: dict[str, str], fetch_text: Callable[[str], str], say: Callable[[str], None]) -> None:
        self.plan = BootPlan()
        self._settings = dict(settings)
        self._fetch_text = fetch_text
        self._say = say
        self._commands_left = MOST_COMMANDS

    def run(self, url: str) -> BootPlan:
        """Run the script at a URL; return what it boots.

        Raises:
            BootError: the script boots nothing; the message says why.

        """
        try:
            self._run_script(url)
        except BootNow:
            if not self.plan.kernel:
                raise BootError("iPXE: boot without a kernel") from None
            return self.plan
        except ScriptExitError:
            raise BootError(f"iPXE: {url} exited") from None
        raise BootError(f"iPXE: {url} ended without booting")

    def _run_script(self, url: str) -> None:
        text = self._fetch_text(url)
        lines = text.splitlines()
        if not lines or not lines[0].startswith("#!ipxe"):
            raise BootError(f"{url} is not an iPXE script (Exec format error)")
        labels = {line.strip()[1:]: number for number, line in enumerate(lines) if line.strip().startswith(":")}
        position = 1
        while position < len(lines):
            line = lines[position].strip()
            position += 1
            if not line or line.startswith(("#", ":")):
                continue
            target = self._run_line(line, url)
            if target is not None:
                if target not in labels:
                    raise BootError(f"{url}: no label {target}")
                position = labels[target]
        if self.plan.kernel:  # as iPXE does at the end of a script that chose a kernel
            raise BootNow

    def _run_line(self, line: str, url: str) -> str | None:
        """Run `a || b && c` from left to right; return the label to go to, if any."""
        failure: BootError | None = None
        target: str | None = None
        for operator, command in split_operators(line):
            if (operator == "||" and failure is None) or (operator == "&&" and failure is not None):
                continue
            self._commands_left -= 1
            if self._commands_left < 0:
                raise BootError(f"{url}: more than {MOST_COMMANDS} commands")
            failure = None
            try:
                target = self._run_command(expand(command, self._settings), url)
            except BootError as error:
                failure = error
        if failure is not None:
            raise failure
        return target

    def _run_command(self, command: str, url: str) -> str | None:
        """Run one command; return the label to go to, if any."""
        name, _, rest = command.partition(" ")
        words = rest.split()
        if name in IMAGE_COMMANDS:
            words = drop_flags(words)
            check(bool(words), f"{url}: {name}: needs an image")
            self._run_image_command(name, words, url)
            return None
        match name:
            case "echo":
                self._say(rest)
            case "set":
                key, _, value = rest.partition(" ")
                self._settings[key.partition(":")[0]] = value
            case "inc":
                check(bool(words), "inc: needs a setting")
                self._settings[words[0]] = str(int(self._settings.get(words[0]) or 0) + 1)
            case "isset":
                check(bool(words), "not set")
            case "iseq":
                check(len(words) == 2 and words[0] == words[1], "not equal")
            case "goto":
                return rest.strip()
            case "imgfree":
                self.plan = BootPlan()
            case "boot":
                raise BootNow
            case "exit" | "sanboot":
                raise ScriptExitError
            case _:
                check(name in WITHOUT_EFFECT, f"{url}: {name}: command not found")
        return None

    def _run_image_command(self, name: str, words: list[str], url: str) -> None:
        match name:
            case "kernel":
                self.plan.kernel = urljoin(url, words[0])
                self.plan.arguments = " ".join(words[1:])
            case "imgargs":
                self.plan.arguments = " ".join(words[1:])
            case "initrd":
                self.plan.initrds.append(urljoin(url, words[0]))
            case "chain":
                self._run_script(urljoin(url, words[0]))


def split_operators(line: str) -> list[tuple[str, str]]:
    """Split a line at `||` and `&&`; each command comes with the operator before it."""
    parts = re.split(r"\s*(\|\||&&)\s*", line)
    return [("", parts[0]), *zip(parts[1::2], parts[2::2], strict=True)]


def expand(text: str, settings: dict[str, str]) -> str:
    """Expand `${name}`, `${name:hexhyp}`, `${name:hexraw}` and `${name:uristring}`; unset names are empty."""

    def replace(match: re.Match[str]) -> str:
        name, _, kind = match[1].partition(":")
        value = settings.get(name, "")
        if kind == "hexhyp":
            return value.replace(":", "-")
        return value.replace(":", "") if kind == "hexraw" else value

    return re.sub(r"\$\{([^}]*)\}", replace, text)


def drop_flags(words: list[str]) -> list[str]:
    """Return the words without a command's options, which precede its URL."""
    position = 0
    while position < len(words) and words[position].startswith("-"):
        position += 2 if words[position] in FLAGS_WITH_VALUE else 1
    return words[position:]


def check(holds: bool, otherwise: str) -> None:
    """Let a command fail unless the condition holds."""
    if not holds:
        raise BootError(otherwise)
