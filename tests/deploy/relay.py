"""Carries connections between a network namespace and the machine: over Unix sockets in a folder, which both see.

relay.py outside|inside FOLDER PORT…   until the process ends that began it
"""

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

LOOPBACK = "127.0.0.1"
LOOK_SECONDS = 0.5


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def carry(side: str, folder: Path, port: str) -> None:
    socket = folder / port

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await (
                asyncio.open_connection(LOOPBACK, int(port))
                if side == "outside"
                else asyncio.open_unix_connection(socket)
            )
        except OSError:  # The server is away.
            writer.close()
            return
        await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

    if side == "outside":
        await asyncio.start_unix_server(serve, socket)
    else:
        await asyncio.start_server(serve, LOOPBACK, int(port))


async def main(side: str, folder: str, *ports: str) -> None:
    parent = os.getppid()
    for port in ports:
        await carry(side, Path(folder), port)
    while os.getppid() == parent:
        await asyncio.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
