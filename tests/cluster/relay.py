"""Carry connections from a loopback port of this machine to an address inside a network namespace.

    python relay.py --namespace /run/netns/NAME --listen 127.0.0.1:40001 --connect 10.90.0.1:6443

It listens first and enters the namespace afterwards: a socket stays in the namespace it was made in.
Started as a file, not as a module, so that it runs from any directory.
"""

import argparse
import asyncio
import ctypes
import os
import socket
from contextlib import suppress
from pathlib import Path

_CLONE_NEWNET = 0x40000000


def listen(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_server((host, int(port)), backlog=128)


def enter(namespace: Path) -> None:
    """Move this thread (the only one) into a network namespace. `os.setns` came with Python 3.12 only."""
    with namespace.open() as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {namespace}: {os.strerror(ctypes.get_errno())}")


async def serve(listener: socket.socket, target: str) -> None:
    host, _, port = target.rpartition(":")

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
        except OSError:  # nobody listens there yet: the client sees a closed connection, as it would without us
            writer.close()
            return
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        for end in (writer, far_writer):
            end.close()

    server = await asyncio.start_server(carry, sock=listener)
    async with server:
        await server.serve_forever()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction; its end is passed on as an end of that direction only, since the other may have more to say."""
    with suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    with suppress(OSError):
        writer.write_eof()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--namespace", type=Path)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--connect", required=True)
    arguments = parser.parse_args()
    listener = listen(arguments.listen)
    if arguments.namespace:
        enter(arguments.namespace)
    asyncio.run(serve(listener, arguments.connect))


if __name__ == "__main__":
    main()
