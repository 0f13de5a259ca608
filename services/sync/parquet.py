"""Flat features become GeoParquet 1.1, in a process of its own: pyarrow is as large as a service.

`python -m services.sync.parquet` is that process: its order on the first line of standard input, then a feature a line.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import islice
from struct import pack
from typing import Any, BinaryIO

import msgspec
from msgspec import Struct

from services.errors import Unavailable
from services.sync.rendering import COLUMNS, FEATURES, Feature

# Rows of a group: what is in memory at a time.
ROWS = 10_000


class Order(Struct, frozen=True):
    """The number of the open file to be written, and what is said of all of it, each value a text."""

    file: int
    metadata: dict[str, str]


@asynccontextmanager
async def converting(
    file: BinaryIO, metadata: Mapping[str, str]
) -> AsyncIterator[Callable[[bytes], Awaitable[None]]]:
    """Take lines of features, and have them in the file as GeoParquet at the end."""
    number = file.fileno()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.sync.parquet"), stdin=asyncio.subprocess.PIPE, pass_fds=[number]
    )
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    pipe = process.stdin

    async def put(lines: bytes) -> None:
        pipe.write(lines)
        await pipe.drain()

    try:
        await put(msgspec.json.encode(Order(number, dict(metadata))) + b"\n")
        yield put
        pipe.close()
        await process.wait()
    except ConnectionError:
        # It is gone, and says below why.
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    _ended(process.returncode or 0)


def _ended(code: int) -> None:
    if code < 0:
        # Killed from outside, for want of memory perhaps.
        raise Unavailable("Try again in a moment.", extra={"retry_after": 30})
    if code:
        raise ValueError("the process that writes Parquet met a bug")


def convert(lines: Iterator[bytes], file: BinaryIO, metadata: Mapping[str, str]) -> None:
    """Write features as GeoParquet, a group of rows at a time; equal features give equal bytes."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = _schema(pa)
    box: list[float] = []
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        while some := [FEATURES.decode(line) for line in islice(lines, ROWS)]:
            box = _around(box, [f.geometry.coordinates for f in some if f.geometry])
            arrays = [pa.array(_column(name, some), type) for name, type in _columns(schema)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
        writer.add_key_value_metadata({"geo": json.dumps(_geo(box)), **metadata})


def _schema(pa: Any) -> Any:
    types = {"string": pa.string(), "integer": pa.int32(), "date-time": pa.timestamp("us", tz="UTC")}
    said = [pa.field(column.name, types[column.kind]) for column in COLUMNS]
    return pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("geometry", pa.binary()), *said])


def _columns(schema: Any) -> list[tuple[str, Any]]:
    return list(zip(schema.names, schema.types, strict=True))


def _column(name: str, features: Sequence[Feature]) -> list[Any]:
    match name:
        case "id":
            return [feature.id for feature in features]
        case "geometry":
            return [_wkb(feature) for feature in features]
        case "updated":
            said = (feature.properties.get(name) for feature in features)
            return [datetime.fromisoformat(time) if time else None for time in said]
    return [feature.properties.get(name) for feature in features]


def _wkb(feature: Feature) -> bytes | None:
    return pack("<BIdd", 1, 1, *feature.geometry.coordinates) if feature.geometry else None


def _around(box: Sequence[float], points: Sequence[tuple[float, float]]) -> list[float]:
    """West, south, east and north of a box and points; of nothing, nothing."""
    corners = [*points, tuple(box[:2]), tuple(box[2:])] if box else points
    if not corners:
        return []
    lons, lats = zip(*corners, strict=True)
    return [min(lons), min(lats), max(lons), max(lats)]


def _geo(box: Sequence[float]) -> dict[str, Any]:
    """What GeoParquet says of its geometry; without `crs` it is WGS 84, longitude first."""
    column: dict[str, Any] = {"encoding": "WKB", "geometry_types": ["Point"]}
    return {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {"geometry": {**column, **({"bbox": list(box)} if box else {})}},
    }


def main() -> None:
    """Carry out the order on standard input."""
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    with os.fdopen(order.file, "wb") as file:
        convert(iter(sys.stdin.buffer.readline, b""), file, order.metadata)


if __name__ == "__main__":
    main()
