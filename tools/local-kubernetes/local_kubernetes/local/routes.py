"""Links and routes of the machine, by ip(8)."""

import json
from ipaddress import IPv4Network

from local_kubernetes.commands import run


def list_routes() -> list[IPv4Network]:
    """List the networks that the machine has a route to, but for the default route."""
    destinations = [route["dst"] for route in json.loads(run(["ip", "-json", "-4", "route"]) or "[]")]
    return [IPv4Network(destination) for destination in destinations if destination != "default"]


def list_links() -> list[str]:
    """List the names of the machine's links."""
    return [link["ifname"] for link in json.loads(run(["ip", "-json", "link"]))]
