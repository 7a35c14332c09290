"""Ports of the pod that lead to hosts inside: a dead host also looks dead from outside."""

from __future__ import annotations

import asyncio
import socket
import struct

CONNECT_SECONDS = 3.0
"""A host that is off does not even answer ARP; a client gets an error after this time."""


async def start_proxy(port: int, address: str, target_port: int) -> asyncio.Server:
    """Forward connections to a port of all the pod's addresses."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                target_reader, target_writer = await asyncio.open_connection(address, target_port)
        except OSError:  # TimeoutError is one
            reset(writer)
            return
        await asyncio.gather(copy(reader, target_writer), copy(target_reader, writer))
        target_writer.close()
        writer.close()

    return await asyncio.start_server(forward, "0.0.0.0", port)  # noqa: S104 - the pod's Service needs it


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction until its end."""
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        reset(writer)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with a reset: the peer sees an error rather than an orderly end."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
