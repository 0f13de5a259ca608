"""A list becomes places beside the service: short ones in a thread, long ones in a process of their own.

Python runs one thread at a time, so that a long list read in a thread would slow every request, and its own writing.
`python -m services.registry.drafting` is that process: its order on standard input, batches on standard output.
"""

import asyncio
import os
import sys
import traceback
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from hashlib import sha256
from itertools import islice
from typing import BinaryIO, cast

import msgspec
import structlog
from msgspec import Struct

from services import ledger, logs
from services.errors import Failure, Fault, Malformed, TooLarge, Unavailable, Unsupported
from services.registry import mapping, reading
from services.registry.mapping import Drafted, Mapping, Source
from services.registry.reading import Format, Row

log = structlog.get_logger()
READ = ledger.BATCH
KEY_BYTES = 1000
# Below this a list is read before another process would have begun.
ASIDE_BYTES = 1024 * 1024
# Two batches of rows as long as they are: one is on its way while the other is written.
MOST_UNREAD = 16 * 1024 * 1024
LENGTH = 8
# What a bug of ours in the reading of a list looks like.
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, RecursionError, ArithmeticError)
FAILURES: dict[str, type[Failure]] = {kind.code: kind for kind in (Malformed, TooLarge, Unsupported)}


class Order(Struct, frozen=True):
    """How to read a list. `file` is the number of its open file, where another process reads it."""

    format: Format
    mapping: Mapping
    source: Source
    file: int = -1


class Batch(Struct, frozen=True):
    """Rows of a list in order, and how many of its bytes are read."""

    rows: list[Drafted] = []
    read: int = 0


class Ended(Struct, frozen=True):
    """Why no more rows come: the code of a Failure, or "" for a bug, which is logged where it was met."""

    code: str
    detail: str = ""
    args: dict[str, str | int | float] = {}


class Frame(Struct, frozen=True, omit_defaults=True):
    """What the process says: a batch, or why there is none. The last one is empty."""

    batch: Batch | None = None
    ended: Ended | None = None


def drafts(file: BinaryIO, order: Order) -> Iterator[Drafted]:
    """The rows of a list as places, or what is wrong with them; a key seen before in it is refused."""
    draft = mapping.compiled(order.mapping, order.source)
    seen: dict[str, int] = {}
    for row in reading.rows(file, order.format):
        if isinstance(row, reading.BadRow):
            yield Drafted(line=row.line, faults=(row.fault,))
            continue
        drafted = guarded(draft, row)
        drafted.key = indexed(drafted.key)
        first = seen.setdefault(drafted.record or drafted.key, drafted.line) if drafted.key else drafted.line
        if drafted.place is not None and first != drafted.line:
            drafted.place = None
            drafted.faults = (Fault("", "This is the same row as line {line}.", {"line": first}),)
        yield drafted


def guarded(draft: Callable[[Row], Drafted], row: Row) -> Drafted:
    """What becomes of a row; one that trips us is refused, and the others go in."""
    try:
        return draft(row)
    except UNREADABLE as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        log.error("row failed", line=row.line, reason=type(error).__name__, at=f"{at.name}:{at.lineno}")
        return Drafted(row.line, faults=(Fault("", "This row could not be read."),))


def indexed(key: str) -> str:
    """A key that fits into an index of PostgreSQL, whatever a list calls its rows."""
    if len(key.encode()) <= KEY_BYTES:
        return key
    return "hash " + sha256(key.encode()).hexdigest()


def batched(file: BinaryIO, order: Order) -> Iterator[Batch]:
    """The rows of a list, a thousand at a time."""
    rows = drafts(file, order)
    while some := list(islice(rows, READ)):
        yield Batch(some, file.tell())


async def batches(file: BinaryIO, order: Order) -> AsyncGenerator[Batch]:
    """The rows of a list from its beginning, the next batch while this one is written."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    async with aclosing((_aside if size >= ASIDE_BYTES else _in_a_thread)(file, order)) as found:
        async for batch in found:
            yield batch


async def _in_a_thread(file: BinaryIO, order: Order) -> AsyncGenerator[Batch]:
    coming = batched(file, order)
    ahead = asyncio.create_task(asyncio.to_thread(next, coming, None))
    try:
        while batch := await ahead:
            ahead = asyncio.create_task(asyncio.to_thread(next, coming, None))
            yield batch
    finally:
        # The thread reads from the file until it is done, whatever becomes of the import.
        await asyncio.wait([ahead])


async def _aside(file: BinaryIO, order: Order) -> AsyncGenerator[Batch]:
    number = file.fileno()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.registry.drafting"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        pass_fds=[number],
        limit=MOST_UNREAD,
    )
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101
    try:
        process.stdin.write(msgspec.json.encode(msgspec.structs.replace(order, file=number)))
        process.stdin.close()
        while batch := _told(await _frame(process.stdout)):
            yield batch
    except asyncio.IncompleteReadError:
        if await process.wait() < 0:
            # Killed from outside, for want of memory perhaps: the import starts again.
            raise Unavailable("The reading of the list was cut.", extra={"retry_after": 5}) from None
        raise ValueError("the process that reads the list met a bug") from None
    finally:
        if process.returncode is None:
            process.kill()
        # To the end of what it said: until then its pipes stay open.
        await process.communicate()


async def _frame(told: asyncio.StreamReader) -> Frame:
    length = int.from_bytes(await told.readexactly(LENGTH))
    return msgspec.json.decode(await told.readexactly(length), type=Frame)


def _told(frame: Frame) -> Batch | None:
    if frame.ended is None:
        return frame.batch
    if frame.ended.code in FAILURES:
        raise FAILURES[frame.ended.code](frame.ended.detail, frame.ended.args)
    raise ValueError("the list could not be read")


def main() -> None:
    """Read the list of the order, and say what becomes of it."""
    logs.configure("registry", "info", pretty=sys.stderr.isatty())
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    try:
        # Opened anew: the position in the file that was handed over is its owner's.
        with open(f"/proc/self/fd/{order.file}", "rb") as file:
            for batch in batched(file, order):
                _tell(Frame(batch=batch))
        _tell(Frame())
    except Failure as failure:
        _tell(Frame(ended=Ended(failure.code, failure.detail, dict(failure.arguments))))
    except UNREADABLE as error:
        log.error("import failed", exc_info=error)
        _tell(Frame(ended=Ended("")))


def _tell(frame: Frame) -> None:
    told = msgspec.json.encode(frame)
    out = cast(BinaryIO, sys.stdout.buffer)
    out.write(len(told).to_bytes(LENGTH) + told)
    out.flush()


if __name__ == "__main__":
    main()
