"""The rack itself, with a boot server and installer of the plainest kind: machines work, and fail as told."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from local_kubernetes.kubectl import KubectlError
from local_kubernetes.local.loop_devices import FileIdentity, LoopDevice, identify, list_loop_devices
from rack.daemon.settings import GATEWAY_ADDRESS
from rack.fixtures import MakeRack, make_rack
from rack.lab import Lab
from rack.plain import planted_host_key, prepare_management, stage, withdraw

__all__ = ["make_rack"]

pytestmark = pytest.mark.e2e

RACK_STATE = "var/lib/rack"
INSTALL_SECONDS = 120
"""From power-on to SSH of a machine that installs itself; 5 s on an idle machine."""
SSH = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=2"]


@pytest.fixture(scope="module")
def lab(make_rack: MakeRack) -> Lab:
    rack = make_rack("rack-test", compute_nodes=8, management__installed=True)
    wait_for(
        rack,
        "the management machine's SSH",
        lambda: rack.state()["oxygen1"]["stage"] == "disk" and "inet 10.77.0.10" in show_address(rack),
    )
    prepare_management(rack)
    return rack


def show_address(rack: Lab) -> str:
    return rack.exec("oxygen1", ["ip", "address", "show", "eth0"])


def wait_for(rack: Lab, what: str, look: Any, seconds: float = INSTALL_SECONDS) -> Any:
    return rack.kubectl.wait_for(what, look, seconds, lambda: str(rack.state()))


def powerman(rack: Lab, *arguments: str) -> str:
    return rack.boot_host_exec(["powerman", "-h", f"{GATEWAY_ADDRESS}:10101", *arguments])


def mac_of(rack: Lab, machine: str) -> str:
    return rack.macs[int(machine.removeprefix("oxygen")) - 2]


def boots(rack: Lab, machine: str) -> list[str]:
    return [event["source"] for event in rack.events() if event["machine"] == machine and event["event"] == "boot"]


def start_install(rack: Lab, *machines: str) -> None:
    """Stage, power on by powerman, and withdraw when the installer runs."""
    macs = [mac_of(rack, machine) for machine in machines]
    before = {machine: len(boots(rack, machine)) for machine in machines}
    stage(rack, macs)
    powerman(rack, "--on", ",".join(machines))
    wait_for(
        rack,
        "installers to run",
        lambda: all("network" in boots(rack, machine)[before[machine] :] for machine in machines),
    )
    withdraw(rack, macs)


def scan_host_key(rack: Lab, machine: str) -> str:
    """Ask for a machine's host key, through the management machine as it is the only way."""
    address = f"10.141.0.{machine.removeprefix('oxygen')}"
    found = rack.exec("oxygen1", ["sh", "-c", f"ssh-keyscan -T 2 -t ed25519 {address} 2> /dev/null || true"])
    return " ".join(found.split()[1:3])


def test_machines_install_themselves_at_once_and_boot_from_disk(lab: Lab) -> None:
    machines = ["oxygen2", "oxygen3"]
    start_install(lab, *machines)
    for machine in machines:
        key = planted_host_key(lab, mac_of(lab, machine))
        wait_for(
            lab,
            f"SSH of {machine} with the planted host key",
            lambda machine=machine, key=key: scan_host_key(lab, machine) == key,
        )
        assert boots(lab, machine) == ["network", "disk"]
        assert lab.exec(machine, ["cat", "/proc/1/comm"]).strip() == "init"
        assert lab.exec(machine, ["hostname"]).strip() == f"node-{mac_of(lab, machine).replace(':', '-')}"
        assert lab.state()[machine] | {"process": 0} == {
            "power": "on", "stage": "disk", "boots": 2, "bootSource": "disk", "process": 0, "faults": {}
        }  # fmt: skip
    assert "on:      oxygen[1-3]" in powerman(lab, "--query-all")


def test_installed_machine_reboots_and_powers_off_by_itself(lab: Lab) -> None:
    before = len(boots(lab, "oxygen2"))
    lab.exec("oxygen2", ["reboot"])
    wait_for(lab, "the reboot", lambda: len(boots(lab, "oxygen2")) > before)
    assert boots(lab, "oxygen2")[-1] == "disk"
    wait_for(lab, "runlevel 2", lambda: "2" in lab.exec("oxygen2", ["runlevel"]).split())
    lab.exec("oxygen2", ["poweroff"])
    wait_for(lab, "the power to go", lambda: lab.state()["oxygen2"]["power"] == "off")


def test_machine_without_system_or_boot_entry_hangs(lab: Lab) -> None:
    powerman(lab, "--on", "oxygen9")
    wait_for(lab, "oxygen9 to hang", lambda: lab.state()["oxygen9"]["stage"] == "hung")
    assert "No bootable device" in lab.console("oxygen9")
    assert lab.state()["oxygen9"]["power"] == "on"
    powerman(lab, "--off", "oxygen9")


def test_powered_off_machine_does_not_answer(lab: Lab) -> None:
    powerman(lab, "--off", "oxygen3")
    assert lab.state()["oxygen3"]["power"] == "off"
    assert scan_host_key(lab, "oxygen3") == ""
    with pytest.raises(KubectlError, match="oxygen3 does not run"):
        lab.exec("oxygen3", ["true"])


def test_compute_nodes_are_out_of_the_boot_host_s_network(lab: Lab) -> None:
    addresses = lab.boot_host_exec(["ip", "-brief", "address", "show", "eth0"])
    assert "10.77.0.1/24" in addresses
    assert "10.141." not in addresses


def test_never_powers_on(lab: Lab) -> None:
    lab.fault("oxygen4", "never-powers-on", times=1)
    powerman(lab, "--on", "oxygen4")
    assert lab.state()["oxygen4"]["power"] == "off"
    assert "oxygen4" not in powerman(lab, "--query-all").split("off:")[0]
    powerman(lab, "--on", "oxygen4")
    assert lab.state()["oxygen4"]["power"] == "on"
    powerman(lab, "--off", "oxygen4")


def test_never_netboots(lab: Lab) -> None:
    lab.fault("oxygen4", "never-netboots")
    stage(lab, [mac_of(lab, "oxygen4")])
    powerman(lab, "--on", "oxygen4")
    wait_for(lab, "oxygen4 to give up", lambda: lab.state()["oxygen4"]["stage"] == "hung")
    assert "no DHCP offer" in lab.console("oxygen4")
    assert boots(lab, "oxygen4") == []
    withdraw(lab, [mac_of(lab, "oxygen4")])
    powerman(lab, "--off", "oxygen4")


def test_install_stalls(lab: Lab) -> None:
    lab.fault("oxygen5", "install-stalls")
    start_install(lab, "oxygen5")
    wait_for(
        lab,
        "the cable to come loose",
        lambda: any(e["event"] == "mishap" and e["machine"] == "oxygen5" for e in lab.events()),
    )
    assert lab.state()["oxygen5"]["stage"] == "initrd"
    assert "NO-CARRIER" in lab.exec("oxygen5", ["ip", "link", "show", "eth0"])
    assert "INSTALLED" not in lab.console("oxygen5")
    powerman(lab, "--off", "oxygen5")


def test_install_error(lab: Lab) -> None:
    lab.fault("oxygen6", "install-error")
    start_install(lab, "oxygen6")
    wait_for(lab, "the installer to complain", lambda: "INSTALL FAILED" in lab.console("oxygen6"))
    powerman(lab, "--off", "oxygen6")


def test_wrong_host_key(lab: Lab) -> None:
    lab.fault("oxygen7", "wrong-host-key")
    start_install(lab, "oxygen7")
    found = wait_for(lab, "SSH of oxygen7", lambda: scan_host_key(lab, "oxygen7"))
    assert found != planted_host_key(lab, mac_of(lab, "oxygen7"))


def test_slow(lab: Lab) -> None:
    lab.fault("oxygen4", "slow", times=1)
    powerman(lab, "--on", "oxygen4")
    wait_for(lab, "oxygen4 to come to its network boot", lambda: lab.state()["oxygen4"]["stage"] == "netboot")
    times = {event["event"]: event["time"] for event in lab.events() if event["machine"] == "oxygen4"}
    assert times["netboot"] - times["power-on"] >= 3
    powerman(lab, "--off", "oxygen4")


def test_dies_once(lab: Lab) -> None:
    lab.fault("oxygen8", "dies-once")
    start_install(lab, "oxygen8")
    wait_for(lab, "the power supply to trip", lambda: lab.state()["oxygen8"]["stage"] == "dead")
    assert lab.state()["oxygen8"]["power"] == "on"
    powerman(lab, "--off", "oxygen8")
    start_install(lab, "oxygen8")
    key = planted_host_key(lab, mac_of(lab, "oxygen8"))
    wait_for(lab, "SSH of oxygen8", lambda: scan_host_key(lab, "oxygen8") == key)


def test_deleting_the_pod_leaves_nothing(make_rack: MakeRack) -> None:
    rack = make_rack("rack-short", compute_nodes=1, management__installed=True)
    wait_for(rack, "the management machine", lambda: rack.state()["oxygen1"]["stage"] == "disk")
    (pod,) = rack.kubectl.items("pod", "--selector", "app.kubernetes.io/name=rack")
    processes = list_processes(pod["metadata"]["uid"])
    assert len(processes) > 5
    disks = list_disks(processes)
    assert list_attached(disks)
    rack.kubectl.run("delete", "deployment", "rack", "--wait=false")
    rack.kubectl.run("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")
    deadline = time.monotonic() + 60
    while (list_processes(pod["metadata"]["uid"]) or list_attached(disks)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert list_processes(pod["metadata"]["uid"]) == []
    assert list_attached(disks) == []


def list_processes(pod: str) -> list[int]:
    """List the processes in a pod's control group, wherever its namespaces are."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"pod{pod}" in (folder / "cgroup").read_text() and os.readlink(folder / "exe"):
                found.append(int(folder.name))
        except OSError:  # it ended meanwhile
            continue
    return found


def list_disks(processes: list[int]) -> set[FileIdentity]:
    """List the files that are the disks of a rack's machines, as its processes see them."""
    roots = (Path(f"/proc/{process}/root/{RACK_STATE}") for process in processes)
    return {identify(path) for root in roots if root.exists() for path in root.glob("*/disk")}


def list_attached(disks: set[FileIdentity]) -> list[LoopDevice]:
    """List the loop devices that these are behind; other racks on this machine have disks of their own."""
    return [device for device in list_loop_devices() if (device.file_system, device.inode) in disks]


@pytest.mark.soak
def test_sixteen_machines_install_themselves_at_once(make_rack: MakeRack) -> None:
    rack = make_rack("rack-sixteen", compute_nodes=16, management__installed=True)
    wait_for(
        rack,
        "the management machine",
        lambda: rack.state()["oxygen1"]["process"] and "inet 10.77.0.10" in show_address(rack),
    )
    prepare_management(rack)
    machines = [f"oxygen{number}" for number in range(2, 18)]
    started = time.monotonic()
    start_install(rack, *machines)
    for machine in machines:
        key = planted_host_key(rack, mac_of(rack, machine))
        wait_for(rack, f"SSH of {machine}", lambda machine=machine, key=key: scan_host_key(rack, machine) == key)
    print(f"16 machines from power-on to SSH: {time.monotonic() - started:.0f} s")
    assert all(boots(rack, machine) == ["network", "disk"] for machine in machines)
