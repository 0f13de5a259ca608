"""Files made once for a position: what is kept, for how long, and what a reader of one keeps."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import aiohttp
import msgspec
import pytest
from aiohttp import web

from services import files
from services.errors import Unavailable
from services.files import Draft, Files, Made, Stand
from services.listening import listening

STAND = Stand("1.1", datetime(2026, 1, 31, tzinfo=UTC), "1.1", "0")


@pytest.fixture(autouse=True)
def restless(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, a file is made again as soon as it is another."""
    monkeypatch.setattr(files, "REST", 0)


class Kept:
    """What files are made of, and how often one was written."""

    def __init__(self) -> None:
        self.stand, self.body = STAND, b"un"
        self.written = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()

    @asynccontextmanager
    async def source(self) -> AsyncIterator[Draft]:
        """A file as it stands."""
        yield Draft(self.stand, self.write)

    async def write(self, file: BinaryIO) -> None:
        """Write it down once the gate is open."""
        self.begun.set()
        await self.gate.wait()
        self.written += 1
        file.write(self.body)

    def move(self, body: bytes, **stand: str) -> None:
        """It is another from now on."""
        self.body, self.stand = body, msgspec.structs.replace(self.stand, **stand)


def read(made: Made) -> bytes:
    """The bytes of a file."""
    return Path(f"/proc/self/fd/{made.file.fileno()}").read_bytes()


async def test_a_file_is_written_once_for_each_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks at the same time gets one file; a dear one rests after a change, unless nothing older may be read."""
    kept, shelf = Kept(), Files(2)
    found = await asyncio.gather(*(shelf.latest("a", kept.source) for _ in range(3)))
    assert (kept.written, {read(made) for made in found}) == (1, {b"un"})
    kept.move(b"deux", state="1.2")
    assert read(await shelf.latest("a", kept.source)) == b"deux"
    monkeypatch.setattr(files, "CHEAP_S", -1.0)
    monkeypatch.setattr(files, "REST", 1_000_000)
    kept.move(b"trois", state="1.3")
    await shelf.latest("a", kept.source)
    kept.move(b"quatre", state="1.4")
    assert read(await shelf.latest("a", kept.source)) == b"trois"
    await shelf.latest("b", kept.source)
    kept.move(b"cinq", strict="1")
    assert shelf.known("b", kept.stand) is None
    assert read(await shelf.latest("a", kept.source)) == b"cinq"


async def test_as_many_files_are_held_as_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that nobody has asked for longest leaves; none stands in a folder, where a killed process leaves it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept, shelf = Kept(), Files(2)
    for name in ("a", "b", "a", "c"):
        await shelf.latest(name, kept.source)
    assert [name for name in "abc" if shelf.known(name, STAND)] == ["a", "c"]
    assert list(tmp_path.iterdir()) == []
    made = shelf.known("a", STAND)
    assert made is not None
    shelf.close()
    assert (read(made), shelf.known("a", STAND)) == (b"un", None)
    file = made.file
    del made
    assert file.closed


async def test_nobody_waits_for_long_behind_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one file is written, who asks for another is told to come again; the writing goes on."""
    monkeypatch.setattr(files, "PATIENCE", 0.01)
    kept, shelf = Kept(), Files(2)
    kept.gate.clear()
    first = asyncio.create_task(shelf.latest("a", kept.source))
    await kept.begun.wait()
    with pytest.raises(Unavailable):
        await shelf.latest("b", kept.source)
    kept.gate.set()
    assert read(await first) == b"un"
    assert read(await shelf.latest("b", kept.source)) == b"un"


async def test_a_failed_file_is_no_file() -> None:
    """Where writing fails, the next one who asks gets a whole file."""
    kept, shelf = Kept(), Files(2)

    @asynccontextmanager
    async def failing() -> AsyncIterator[Draft]:
        async def write(file: BinaryIO) -> None:
            file.write(b"u")
            raise OSError("no space left")

        yield Draft(STAND, write)

    with pytest.raises(OSError, match="no space"):
        await shelf.latest("a", failing)
    assert read(await shelf.latest("a", kept.source)) == b"un"


async def test_a_reader_keeps_the_file_that_it_reads() -> None:
    """Who has begun gets it to its end, and the right bytes, whatever has been made since; dates tell nothing."""
    kept, shelf = Kept(), Files(1)
    kept.body = b"x" * 20_000_000
    app = web.Application()

    async def show(request: web.Request) -> web.StreamResponse:
        return files.answer(await shelf.latest("a", kept.source), "a.txt", "text/plain", {"Cursor": "1.1"})

    app.router.add_get("/", show)
    async with (
        listening(app, "127.0.0.1", 0) as port,
        aiohttp.ClientSession() as client,
        client.get(f"http://127.0.0.1:{port}/") as slow,
    ):
        first = await slow.content.readexactly(1)
        kept.move(b"y", state="1.2")
        async with client.get(f"http://127.0.0.1:{port}/") as now:
            assert await now.read() == b"y"
        since = {"If-Modified-Since": slow.headers["Last-Modified"]}
        async with client.get(f"http://127.0.0.1:{port}/", headers=since) as dated:
            assert (dated.status, await dated.read()) == (200, b"y")
        assert first + await slow.read() == b"x" * 20_000_000
