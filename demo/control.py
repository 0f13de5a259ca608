"""Speaking with a running supervisor: `stop NAME`, `start NAME`, over a socket that leaves no file behind."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from demo.process import Failed

Answer = Callable[[str, str], Awaitable[str]]


def address(folder: Path) -> str:
    """The abstract socket address of the supervisor of a folder; it vanishes with its owner."""
    return "\0maillage-demo-" + hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:32]


def claimed(name: str) -> socket.socket | None:
    """An abstract socket address held for as long as the socket lives; None when another process holds it."""
    held = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        held.bind(name)
    except OSError:
        held.close()
        return None
    return held


@contextmanager
def seat(folder: Path) -> Iterator[socket.socket]:
    """The one seat of supervisor of a folder; raises Failed when it is taken."""
    held = claimed(address(folder))
    if held is None:
        said = f"Une fédération tourne déjà dans {folder}. / A federation is already running in {folder}."
        raise Failed(said)
    with held:
        yield held


@asynccontextmanager
async def listening(held: socket.socket, answer: Answer) -> AsyncIterator[None]:
    """Take requests from our own account on the supervisor's seat."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reply(reader, writer, answer)
        finally:
            writer.close()

    async with await asyncio.start_unix_server(serve, sock=held):
        yield


async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer) -> None:
    """Do what one request asks, when it comes from our own account."""
    credentials = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    if struct.unpack("3i", credentials)[1] != os.geteuid():
        return
    line = await reader.readline()
    if not line:
        return  # only wanted to know whether we are here
    wish = json.loads(line)
    try:
        done: dict[str, Any] = {"done": await answer(wish["do"], wish["name"])}
    except Failed as why:
        done = {"failed": str(why)}
    writer.write(json.dumps(done).encode() + b"\n")
    await writer.drain()


async def is_led(folder: Path) -> bool:
    """Whether a supervisor runs a federation in a folder and takes requests."""
    try:
        _, writer = await asyncio.open_unix_connection(address(folder))
    except OSError:
        return False
    writer.close()
    return True


async def ask(folder: Path, action: str, name: str) -> str:
    """Ask the supervisor of a folder to `stop` or `start` a part, and give its answer when it is done.

    Raises Failed when there is no supervisor, no such part, or the part does not start.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(address(folder))
    except OSError as nobody:
        raise Failed(
            f"Aucune fédération ne tourne dans {folder}. / No federation is running in {folder}."
        ) from nobody
    writer.write(json.dumps({"do": action, "name": name}).encode() + b"\n")
    line = await reader.readline()
    writer.close()
    if not line:
        raise Failed("La fédération s'est arrêtée. / The federation has ended.")
    said = json.loads(line)
    if "failed" in said:
        raise Failed(said["failed"])
    return str(said["done"])
