"""The rack's iPXE: what boot servers' scripts mean to it."""

import pytest

from rack.daemon.firmware.ipxe import BootPlan, Interpreter
from rack.daemon.firmware.pxe import BootError

SETTINGS = {"net0/mac": "52:54:00:8d:00:02", "net0/ip": "10.141.0.2", "next-server": "10.141.0.1"}
START = "http://server/boot.ipxe"


def run(scripts: dict[str, str], said: list[str] | None = None) -> BootPlan:
    """Run the script at START; a URL without a script answers 404."""

    def fetch(url: str) -> str:
        if url not in scripts:
            raise BootError(f"{url}: HTTP 404")
        return "#!ipxe\n" + scripts[url]

    heard = said if said is not None else []
    return Interpreter(SETTINGS, fetch, heard.append).run(START)


def test_kernel_arguments_and_initrds_are_taken_relative_to_the_script() -> None:
    plan = run(
        {
            START: "kernel images/vmlinuz initrd=a console=ttyS0\ninitrd --name a images/one\ninitrd http://other/two\nboot"
        }
    )
    assert plan == BootPlan(
        "http://server/images/vmlinuz", "initrd=a console=ttyS0", ["http://server/images/one", "http://other/two"]
    )


def test_chain_finds_the_machine_s_own_script() -> None:
    own = "http://server/boot/52-54-00-8d-00-02.ipxe"
    plan = run(
        {START: "chain http://server/boot/${net0/mac:hexhyp}.ipxe || exit", own: "kernel ../k ip=${net0/ip}\nboot"}
    )
    assert plan == BootPlan("http://server/k", "ip=10.141.0.2")


def test_script_without_an_entry_for_the_machine_boots_nothing() -> None:
    with pytest.raises(BootError, match="exited"):
        run({START: "chain http://server/boot/${net0/mac:hexhyp}.ipxe || exit"})


def test_failing_command_ends_the_script() -> None:
    with pytest.raises(BootError, match="HTTP 404"):
        run({START: "chain missing\nkernel k\nboot"})


def test_variables_labels_and_conditions() -> None:
    said: list[str] = []
    lines = [
        "set base http://files",
        "iseq ${base} x && goto never ||",
        "isset ${nothing} || goto here",
        ":never",
        "exit",
    ]
    lines += [":here", "echo from ${base}", "kernel ${base}/k", "boot"]
    assert run({START: "\n".join(lines)}, said).kernel == "http://files/k"
    assert said == ["from http://files"]


def test_unknown_command_is_an_error() -> None:
    with pytest.raises(BootError, match="frobnicate: command not found"):
        run({START: "frobnicate"})


def test_endless_script_ends() -> None:
    with pytest.raises(BootError, match="more than 1000 commands"):
        run({START: ":again\ngoto again"})


def test_what_is_no_script_is_refused() -> None:
    with pytest.raises(BootError, match="not an iPXE script"):
        Interpreter({}, lambda _: "<html>", print).run(START)
