"""A real WebSocket server on loopback, of the library ``websockets``: CERT KEY, then its port."""

from __future__ import annotations

import asyncio
import ssl
import sys

from websockets.asyncio.server import ServerConnection, serve


async def _until_it_ends(connection: ServerConnection) -> None:
    await connection.wait_closed()


async def _main(cert: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    async with serve(_until_it_ends, "127.0.0.1", 0, ssl=context, ping_interval=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)


asyncio.run(_main(*sys.argv[1:]))
