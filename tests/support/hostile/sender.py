"""Sends webhooks that are slow, odd or too large to one address; standard library only. Prints what was answered.

python sender.py HOST PORT PATH slow COUNT SECONDS     connections that send all but the last bytes, held that long
python sender.py HOST PORT PATH odd COUNT              requests on few connections, each odd in its way
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter

CONNECTIONS = 40
"""Side by side, for the odd ones."""
ANSWER_SECONDS = 15
SEED = 20261130

HEADS = (
    b"X-Gitlab-Token: \xff\xfe\xfd",
    b"X-Gitlab-Token: wrong",
    b"X-Gitlab-Event: Job Hook",
    b"X-Gitlab-Event: \x80\x81",
    b"Content-Encoding: gzip",
    b"webhook-signature: v1,####",
    b"webhook-timestamp: 99999999999999999999",
    b"Expect: 100-continue",
    b"A" * 4000 + b": b",
)
BODIES = (
    b"",
    b"{}",
    b"[" * 5000,
    b'{"object_kind":"build","build_id":1e999}',
    b'{"object_kind":"build","build_id":' + b"9" * 5000 + b"}",
    b'"\\ud800"',
    b"\x1f\x8b\x08\x00" + b"\x00" * 100,
    b"\xff" * 2000,
    b'{"object_kind":' * 200,
)


async def hold(host: str, port: int, head: bytes, seconds: float) -> str:
    """Send a request except its end; return the answer, or a text that none came in time."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return "refused"
    try:
        writer.write(head + b"a" * 65000)
        await writer.drain()
        async with asyncio.timeout(seconds):
            line = await reader.readline()
        return line.split(b" ")[1].decode() if b" " in line else "closed"
    except TimeoutError:
        return "held"
    except OSError:
        return "closed"
    finally:
        writer.close()


async def send_odd(host: str, port: int, path: str, count: int, seed: int) -> Counter[str]:
    """Send that many malformed requests in sequence; open a new connection whenever the last one was closed."""
    choose, seen = random.Random(seed), Counter[str]()  # noqa: S311  no secret: the requests must be repeatable
    stream = None
    for _ in range(count):
        body, heads = choose.choice(BODIES), choose.sample(HEADS, choose.randint(0, 3))
        method = choose.choice((b"POST", b"POST", b"POST", b"GET", b"PUT", b"BREW"))
        head = b"\r\n".join(
            [method + f" {path} HTTP/1.1".encode(), b"Host: x", b"Content-Length: %d" % len(body), *heads]
        )
        try:
            stream = stream or await asyncio.open_connection(host, port)
            stream[1].write(head + b"\r\n\r\n" + body)
            async with asyncio.timeout(ANSWER_SECONDS):
                status, length, close = await read_answer(stream[0])
                await stream[0].readexactly(length)
            seen[status] += 1
        except (OSError, asyncio.IncompleteReadError, ValueError, IndexError):
            seen["closed"], close = seen["closed"] + 1, True
        except TimeoutError:
            seen["silent"], close = seen["silent"] + 1, True
        if close and stream:
            stream[1].close()
            stream = None
    return seen


async def read_answer(reader: asyncio.StreamReader) -> tuple[str, int, bool]:
    """Read the head of an answer: its status, the length of its body, whether the connection ends after it."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = head.split(b" ")[1].decode()
    if status == "100":
        return await read_answer(reader)
    length = head.partition(b"content-length:")[2].split(b"\r\n")[0]
    return status, int(length or 0), b"connection: close" in head


async def main(host: str, port: int, path: str, how: str, *numbers: str) -> None:
    """Send the requests, and print the count of each answer."""
    began, count = time.monotonic(), int(numbers[0])
    if how == "slow":
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n".encode()
        seen = Counter(await asyncio.gather(*(hold(host, port, head, float(numbers[1])) for _ in range(count))))
    else:
        share = -(-count // CONNECTIONS)
        parts = await asyncio.gather(*(send_odd(host, port, path, share, SEED + n) for n in range(CONNECTIONS)))
        seen = sum(parts, Counter())
    print(dict(sorted(seen.items())), f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
