"""Strangers at the operator's port for webhooks: its memory, and whether a real webhook is answered meanwhile.

``python -m tests.bench.flood`` prints a table. The server is a process of its own with what serves webhooks in the
operator, and a pool in memory; strangers come from addresses of the loopback.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from bessemer.gitlab.hooks import HOOK_BYTES
from bessemer.process import HOOK_LIMITS
from bessemer.web.app import add_public_routes
from bessemer.web.connections import follow_requests, serve
from tests.support.pool_world import KEY, PROJECT, open_pool_world

PATH = f"/v1/gitlab/{KEY[0]}/{KEY[1]}"
TOKEN = "X-Gitlab-Token: hook-secret"
HOOK = json.dumps(
    {"object_kind": "build", "build_id": 7, "build_status": "created", "project": {"path_with_namespace": PROJECT}}
).encode()
SETTLE_SECONDS = 2.0
Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def run_server() -> None:
    """Serve webhooks until the standard input ends; print the port."""
    async with open_pool_world() as world:
        app = web.Application(middlewares=[follow_requests])
        add_public_routes(app, world.kind.routes.public, world.deps.metrics)
        await world.apply()
        await world.settle()
        async with serve(app, 0, HOOK_LIMITS, world.deps.metrics.count_webhook, "port") as port:
            print(port, flush=True)
            await asyncio.to_thread(sys.stdin.read)


def build_head(path: str, header: str, length: int) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{header}\r\nContent-Length: {length}\r\n\r\n".encode()


async def connect(port: int, number: int) -> Pair:
    """Connect from one of 250 addresses."""
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(f"127.0.1.{number % 250 + 1}", 0))


async def send(port: int, data: bytes, number: int = 0) -> bytes:
    """Send a request; return the first line of the answer, empty where the connection ends without."""
    try:
        reader, writer = await connect(port, number)
        writer.write(data)
        line = await asyncio.wait_for(reader.readline(), 20)
        writer.transport.abort()
    except OSError:
        return b""
    return line


async def hold(port: int, number: int, data: bytes) -> list[Pair]:
    """Open connections that send something and then nothing; return them."""
    held: list[Pair] = []
    for first in range(0, number, 50):
        pairs = await asyncio.gather(
            *(connect(port, one) for one in range(first, min(first + 50, number))), return_exceptions=True
        )
        for pair in pairs:
            if not isinstance(pair, BaseException):
                pair[1].write(data)
                held.append(pair)
    await asyncio.sleep(SETTLE_SECONDS)
    return held


async def send_odd(port: int, number: int) -> list[Pair]:
    """Send odd webhooks one after the other, some side by side."""
    odd = random.Random(1)  # noqa: S311  no secret
    bodies = [b"[" * 2000, b'{"object_kind":"build","build_id":1e999}', b"\xff" * 500, b"", HOOK[:-9], HOOK]
    headers = [TOKEN, "X-Gitlab-Token: wrong", f"{TOKEN}\r\nContent-Encoding: gzip", "webhook-signature: v1,x"]

    async def send_some(some: int) -> None:
        for one in range(some):
            body = odd.choice(bodies)
            await send(port, build_head(odd.choice([PATH, PATH, "/x"]), odd.choice(headers), len(body)) + body, one)

    await asyncio.gather(*(send_some(number // 40) for _ in range(40)))
    return []


async def send_long(port: int, number: int) -> list[Pair]:
    """Send webhooks of 25 MiB side by side."""
    head, tail = b'{"object_kind":"build","commit":{"message":"', b'"},"build_id":7,"build_status":"created"}'
    body = head + b"x" * (HOOK_BYTES - len(head) - len(tail)) + tail
    answers = await asyncio.gather(*(send(port, build_head(PATH, TOKEN, len(body)) + body, n) for n in range(number)))
    print(f"  25 MiB: {sum(b' 204 ' in line for line in answers)} of {number} answered with 204")
    return []


SLOW = b"x" * 65_000
FLOODS: dict[str, Callable[[int], Awaitable[list[Pair]]]] = {
    "490 slow posts to an unknown pool": lambda port: hold(
        port, 490, build_head("/v1/gitlab/no/such", TOKEN, 65_536) + SLOW
    ),
    "3000 slow posts to an unknown pool": lambda port: hold(
        port, 3000, build_head("/v1/gitlab/no/such", TOKEN, 65_536) + SLOW
    ),
    "3000 slow posts that say to be signed": lambda port: hold(
        port, 3000, build_head(PATH, "webhook-signature: v1,x\r\nwebhook-timestamp: 1772431200", 65_536) + SLOW
    ),
    "3000 slow posts with the token": lambda port: hold(port, 3000, build_head(PATH, TOKEN, 65_536) + SLOW),
    "3000 heads of 20 kB without an end": lambda port: hold(
        port, 3000, b"POST / HTTP/1.1\r\n" + b"A: b\r\n" * 100 + SLOW[:8000]
    ),
    "10,000 connections that send nothing": lambda port: hold(port, 10_000, b""),
    "40,000 odd webhooks": lambda port: send_odd(port, 40_000),
    "5 webhooks of 25 MiB": lambda port: send_long(port, 5),
}


def read_memory(pid: int) -> tuple[float, float]:
    """Return what a process holds, and the most it held since it was asked last, in MB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", status, re.MULTILINE))
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="utf-8")
    return int(found["VmRSS"]) / 1000, int(found["VmHWM"]) / 1000


async def flood(port: int, pid: int) -> None:
    """Run all floods; print what the server holds after each, and how a real webhook fares during it."""
    print(f"| before | {read_memory(pid)[0]:.0f} MB | | |")
    for name, start in FLOODS.items():
        under_way = asyncio.ensure_future(start(port))
        answers, slowest = [], 0.0
        while not under_way.done():
            began = time.monotonic()
            answers.append(await send(port, build_head(PATH, TOKEN, len(HOOK)) + HOOK, 251))
            slowest = max(slowest, time.monotonic() - began)
            await asyncio.sleep(0.05)
        held = await under_way
        resident, peak = read_memory(pid)
        good = sum(b" 204 " in answer for answer in answers)
        print(
            f"| {name} | {resident:.0f} MB, at most {peak:.0f} | {good} of {len(answers)} | {slowest:.2f} s |",
            flush=True,
        )
        for _, writer in held:
            writer.transport.abort()
        await asyncio.sleep(SETTLE_SECONDS)


def main() -> None:
    """Start the server and flood it."""
    if sys.argv[1:] == ["serve"]:
        asyncio.run(run_server())
        return
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.flood", "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        if server.stdout is None:
            raise AssertionError("it is a pipe")
        port = int(server.stdout.readline())
        print("| strangers | memory of the server | real webhooks answered with 204 | slowest |\n|---|---|---|---|")
        asyncio.run(flood(port, server.pid))
    finally:
        server.communicate()


if __name__ == "__main__":
    main()
