"""Files that are made once for a position of a log and served with ranges until it has moved on.

They have no name in any folder: a process that is killed leaves nothing behind, and one that is let go lives until its
last reader has it.
"""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from hashlib import sha256
from tempfile import TemporaryFile
from time import monotonic
from typing import BinaryIO
from weakref import WeakValueDictionary, finalize

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from msgspec import Struct

from services.errors import Unavailable

# What takes longer than this to write is written again only after some times as long.
CHEAP_S = 0.25
REST = 4
# One is written at a time; who has waited so long for a turn comes again.
PATIENCE = 10.0
ONE_RANGE = re.compile(r"bytes=([0-9]+-[0-9]*|-[0-9]+)")


class Stand(Struct, frozen=True):
    """What a file is made of: the position of the log, and the time of the last event there.

    `state`: while it is the same, so is the file. `strict`: once it is another, no file made before may be read.
    """

    cursor: str
    time: datetime | None
    state: str
    strict: str


class Draft(Struct, frozen=True):
    """A file to be made, and how it is written."""

    stand: Stand
    write: Callable[[BinaryIO], Awaitable[None]]


class Made(Struct, frozen=True, weakref=True):
    """A finished file, and until when it is good enough. It is closed when nobody holds it any more."""

    file: BinaryIO
    stand: Stand
    rested: float

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return os.fstat(self.file.fileno()).st_size


Source = Callable[[], AbstractAsyncContextManager[Draft]]


class Files:
    """The latest file of each name, of `most` names: then the one that nobody has asked for longest goes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._made: dict[str, Made] = {}
        self._making: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._turn = asyncio.Semaphore(1)

    def close(self) -> None:
        """Let go of all files."""
        self._made.clear()

    async def latest(self, name: str, source: Source) -> Made:
        """The file as it stands now, but for one that is dear: there nobody can keep us busy with nothing else.

        Those who ask meanwhile wait for the same file. Unavailable where others are written for too long.
        """
        async with self._making.setdefault(name, asyncio.Lock()):
            async with source() as draft:
                if (made := self.known(name, draft.stand)) is not None:
                    return made
            try:
                await asyncio.wait_for(self._turn.acquire(), PATIENCE)
            except TimeoutError:
                raise Unavailable("Try again in a moment.", extra={"retry_after": 30}) from None
            try:
                async with source() as draft:
                    return self._keep(name, await _made(draft))
            finally:
                self._turn.release()

    def known(self, name: str, stand: Stand) -> Made | None:
        """The file of this name if it is good enough for what stands now."""
        self._made = {n: made for n, made in self._made.items() if made.stand.strict == stand.strict}
        made = self._made.get(name)
        if made is None or (made.stand.state != stand.state and monotonic() >= made.rested):
            return None
        return self._keep(name, made)

    def _keep(self, name: str, made: Made) -> Made:
        self._made.pop(name, None)
        self._made[name] = made
        while len(self._made) > self._most:
            del self._made[next(iter(self._made))]
        return made


async def _made(draft: Draft) -> Made:
    begun = monotonic()
    file: BinaryIO = TemporaryFile()  # noqa: SIM115 - it is closed with its last reader
    try:
        await draft.write(file)
        await asyncio.to_thread(_name, file, draft.stand.time)
    except BaseException:
        file.close()
        raise
    took = monotonic() - begun
    made = Made(file, draft.stand, monotonic() + (REST * took if took > CHEAP_S else 0))
    finalize(made, file.close)
    return made


def _name(file: BinaryIO, time: datetime | None) -> None:
    """Give a file the time of its last event, and below the second what its content says.

    aiohttp makes the ETag of time and size: so every process, also after a restart, gives the same bytes the same.
    """
    file.flush()
    file.seek(0)
    digest = sha256()
    while data := file.read(1024 * 1024):
        digest.update(data)
    content = int.from_bytes(digest.digest()[:8]) % 1_000_000_000
    moment = (int(time.timestamp()) if time else 0) * 1_000_000_000 + content
    os.utime(file.fileno(), ns=(moment, moment))


class Answer(web.FileResponse):
    """A file whose ranges are given only of the version that the client has begun to read.

    aiohttp knows If-Range with a date only, and would join the halves of two versions.
    """

    def __init__(self, made: Made, headers: Mapping[str, str]) -> None:
        super().__init__(f"/proc/self/fd/{made.file.fileno()}", headers=headers)
        # Its number stands for this file as long as somebody holds it.
        self._made = made

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if ignored := self._ignored(request):
            kept = [(name, value) for name, value in request.headers.items() if name not in ignored]
            request = request.clone(headers=kept)
        return await super().prepare(request)

    def _ignored(self, request: web.BaseRequest) -> set[str]:
        """The headers of a request that are answered as if they had not been said."""
        found, begun = self._path.stat(), request.headers.get(hdrs.IF_RANGE)
        other = begun is not None and begun != f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
        # What is no single range of bytes counts as nothing (RFC 9110).
        asked = request.headers.get(hdrs.RANGE, "bytes=0-")
        ranges = (hdrs.RANGE, hdrs.IF_RANGE) if other or not ONE_RANGE.fullmatch(asked) else ()
        # A second may have had several versions, so that dates tell nothing.
        names = (hdrs.IF_MODIFIED_SINCE, hdrs.IF_UNMODIFIED_SINCE, *ranges)
        return {name for name in names if name in request.headers}


def answer(made: Made, name: str, media: str, headers: Mapping[str, str]) -> Answer:
    """A file as an answer, of this name and media type."""
    said = {"Content-Type": media, "Content-Disposition": f'attachment; filename="{name}"'}
    return Answer(made, {**said, **headers})
