"""What a hostile answer costs in memory, in a separate process: the operator's limit is 512 MiB, for all tenants."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
import time
import zlib

import pytest

from tests.component.gitlab.hostile import Answer, repeat, say, serve
from tests.support.checkout import ROOT

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
MEGABYTE = b" " * (1 << 20)
CLIENTS = 20
MOST_MIB = 128
"""That the process grows by, whatever comes: places for four large answers, and what each connection has in flight."""
CHILD = """
import asyncio, json, re, sys
from pathlib import Path
from bessemer.errors import BessemerError
from bessemer.gitlab.client import GitLabConnector
from bessemer.gitlab.protocol import Scope, ScopeType

def get_peak():
    return int(re.search(r"VmHWM:\\s+([0-9]+) kB", Path("/proc/self/status").read_text())[1]) >> 10

async def ask(gitlab):
    try:
        await gitlab.list_pending_jobs(Scope(ScopeType.PROJECT, "hpc/sim"))
    except BessemerError as error:
        return error.message
    return "answered"

async def run():
    connector = GitLabConnector()
    clients = [connector.connect(sys.argv[1], "glpat-secret", None) for _ in range(int(sys.argv[2]))]
    before = get_peak()
    said = await asyncio.gather(*map(ask, clients))
    for client in clients:
        await client.close()
    print(json.dumps({"before": before, "grown": get_peak() - before, "said": sorted(set(said))}))

asyncio.run(run())
"""


def pack(megabytes: int) -> bytes:
    """Pack so many megabytes of blanks, a thousand to one: each is packed by itself, so one is enough to be packed."""
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    head = packer.compress(b" ") + packer.flush(zlib.Z_FULL_FLUSH)
    return head + megabytes * (packer.compress(MEGABYTE) + packer.flush(zlib.Z_FULL_FLUSH))


def sized(body: bytes, more: bytes = b"") -> Answer:
    return say(OK + more + f"Content-Length: {len(body)}\r\n\r\n".encode(), body, then_close=False)


def build_answers() -> dict[str, Answer]:
    zipped = b"Content-Encoding: gzip\r\n"
    return {
        "600 MB in 600 KB": sized(pack(600), zipped),
        "4 MB of the smallest values": sized(gzip.compress(b"[" + b"[]," * 1_300_000 + b"[]]"), zipped),
        "as many values as are taken": sized(gzip.compress(b"[" + b"{}," * 95_000 + b"{}]"), zipped),
        "one text of 3.9 MB": sized(json.dumps([{"id": 1, "name": "n" * 3_900_000, "tag_list": []}]).encode()),
        "no end": repeat(OK + b"\r\n", MEGABYTE),
        "status 100 for ever": repeat(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    }


ANSWERS = build_answers()


@pytest.mark.parametrize("kind", ANSWERS)
async def test_many_clients_that_are_answered_so_at_once_take_little_memory_and_the_process_ends(kind: str) -> None:
    async with serve(ANSWERS[kind]) as server:
        began = time.monotonic()
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, server.url, str(CLIENTS), cwd=ROOT / "operator", stdout=subprocess.PIPE
        )
        async with asyncio.timeout(90):
            said, _ = await child.communicate()
    assert child.returncode == 0
    assert time.monotonic() - began < 60, "20 s are for a request, and the process ends with its last one"
    found = json.loads(said)
    assert 0 < found["grown"] < MOST_MIB, found
    print(kind, found)
