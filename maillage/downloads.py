"""Files of all places: streamed to disk, taken up where they were cut, in their place only when they are whole."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import aiohttp
import msgspec
from msgspec import Struct

from maillage.answers import Feature
from maillage.asking import FILE, Door, Query
from maillage.problems import Failure, Unusable
from maillage.weather import Weather

# What a file may have, so that no server fills the disk.
MOST = 16 * 1024**3


class Export(Struct, frozen=True):
    """A file of all places. `cursor`: read on after it for what has changed since, without a gap or a repeat.

    `etag` names this version of the file where the server does, `as_of` the time of the view where one was asked for.
    """

    path: Path
    cursor: str
    etag: str | None
    as_of: str | None
    bytes: int

    def features(self) -> Iterator[Feature]:
        """The places of a `geojsonl` file, one after the other."""
        with self.path.open("rb") as file:
            for line in file:
                yield msgspec.json.decode(line, type=Feature)


async def download(door: Door, path: str, query: Query, target: Path) -> Export:
    """What a path serves as a file at `target`; what was there before stays until it is whole."""
    part = target.with_name(target.name + ".part")
    try:
        with part.open("wb") as file:
            headers = await _filled(door, path, query, file)
        length = part.stat().st_size
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return Export(target, _cursor(headers), headers.get("ETag"), headers.get("As-Of"), length)


async def _filled(door: Door, path: str, query: Query, file: BinaryIO) -> Mapping[str, str]:
    """Write all of it, over as many cuts as the weather brings; the headers of the version that was written."""
    weather, furthest = Weather(door.patience), 0
    begun: Mapping[str, str] = {}
    while True:
        sent = {"Accept-Encoding": "identity", **_resuming(file, begun)}
        try:
            async with door.opened(path, query, headers=sent, timeout=FILE) as response:
                _placed(response, file)
                begun = response.headers
                await _saved(response, file)
                return begun
        except Failure as trouble:
            if file.tell() > furthest:
                furthest = file.tell()
                weather.clear()
            await weather.outlast(trouble)


def _resuming(file: BinaryIO, begun: Mapping[str, str]) -> dict[str, str]:
    """The question for the rest of the version that was begun, where the server gives ranges of it."""
    tag = begun.get("ETag", "")
    if not file.tell() or begun.get("Accept-Ranges") != "bytes" or not tag.startswith('"'):
        return {}
    return {"Range": f"bytes={file.tell()}-", "If-Range": tag}


def _placed(response: aiohttp.ClientResponse, file: BinaryIO) -> None:
    """Go to where the answer begins: after what is there, or at the start for another version."""
    _cursor(response.headers)
    if response.status == 200:
        file.seek(0)
        file.truncate()
    elif not response.headers.get("Content-Range", "").startswith(f"bytes {file.tell()}-"):
        raise Unusable(f"{response.url} answers another part than was asked for.")


def _cursor(headers: Mapping[str, str]) -> str:
    """Where the log of the view, or of the registry, stood."""
    cursor = headers.get("Merge-Cursor") or headers.get("Cursor")
    if cursor is None:
        raise Unusable("This file does not say up to which event of a log it reaches.")
    return cursor


async def _saved(response: aiohttp.ClientResponse, file: BinaryIO) -> None:
    async for chunk in response.content.iter_any():
        file.write(chunk)
        if file.tell() > MOST:
            raise Unusable(f"{response.url} answers more than {MOST} bytes.")
