"""`/imports`: whole lists, previewed or applied, with a report line by line."""

from collections.abc import AsyncIterator
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from aiohttp import hdrs, web
from msgspec import Meta, Struct

from schemas.place import License
from services import http
from services.errors import Fault, Malformed, NotFound, TooLarge, Unsupported
from services.http import Role, Route
from services.languages import choose, say
from services.registry import importing, store
from services.registry.api import records
from services.registry.context import IMPORTS, POOL, SETTINGS
from services.registry.importing import Counts, Missing, Mode
from services.registry.mapping import Mapping
from services.registry.store import Job, ReportLine

Named = Literal["csv", "tsv", "geojson", "json", "jsonl", "ndjson"]
CHUNK = 1024 * 1024
LARGEST = 2**31 - 1
MEDIA = (
    "application/octet-stream",
    "text/csv",
    "text/tab-separated-values",
    "text/plain",
    "application/json",
    "application/geo+json",
    "application/x-ndjson",
    # What curl says of `--data-binary @list.csv` when it is told nothing.
    "application/x-www-form-urlencoded",
)


class Asking(Struct, frozen=True):
    """How to read a list. `source` names it: rows that a later list of the same source leaves out are
    withdrawn unless `missing=keep`; `mapping` is a JSON object from column to field."""

    format: Named | None = None
    mode: Mode = "preview"
    source: Annotated[str, Meta(min_length=1, max_length=200)] = "import"
    license: License | None = None
    missing: Missing = "withdraw"
    confirm: Annotated[int, Meta(ge=0, le=LARGEST)] | None = None
    mapping: str | None = None


class Reporting(Struct, frozen=True):
    """Which lines of the report: after line number `page` of it."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    page: Annotated[int, Meta(ge=0, le=LARGEST)] = 0


class Remark(Struct, frozen=True):
    """What is said of a row: which column or field, and what was expected or repaired."""

    column: str
    detail: str


class Reported(Struct, frozen=True):
    """A row of the list with something to say of it."""

    line: int
    outcome: str
    remarks: list[Remark]


class ShownImport(Struct, frozen=True):
    """An import: what was asked, how far it is, and what it found.

    `confirm_needed`: apply would be refused without `confirm` at this count, of places withdrawn or closed.
    """

    id: str
    state: str
    mode: str
    source: str
    format: str
    mapping: dict[str, str]
    done: int
    total: int
    counts: Counts
    error: str | None
    confirm_needed: int | None
    report: list[Reported]
    next: int | None


async def chunks(request: web.Request) -> AsyncIterator[bytes]:
    """The body in pieces of 1 MiB, up to the size that the settings allow."""
    limit, size = request.app[SETTINGS].upload_bytes, 0
    piece = bytearray()
    try:
        async for some in request.content.iter_any():
            size += len(some)
            if size > limit:
                raise TooLarge("The body may have {limit} bytes at most.", {"limit": limit})
            piece += some
            while len(piece) >= CHUNK:
                yield bytes(piece[:CHUNK])
                del piece[:CHUNK]
    except web.RequestPayloadError:
        raise Malformed("The body could not be read.") from None
    if piece:
        yield bytes(piece)


def override(text: str | None) -> dict[str, str]:
    """The mapping that the caller gives, column to field."""
    if text is None:
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except msgspec.DecodeError:
        fault = Fault("mapping", 'A mapping looks like {{"COLUMN": "address.city"}}.')
        raise records.query_mistake(fault) from None


async def start_import(request: web.Request) -> web.Response:
    """Upload a list. It is stored, then read in the background; ask for its report at the `Location`."""
    asked = http.asked(request, Asking)
    # Nobody would tell a compressed list that was cut in the middle, and what it lacks would be withdrawn.
    if hdrs.CONTENT_ENCODING in request.headers:
        raise Unsupported("Send the list as it is: compressed ones are not taken.")
    if request.content_type not in MEDIA:
        raise Unsupported(
            "Send the list itself as the body, as {expected}.", {"expected": " or ".join(MEDIA)}
        )
    job = await importing.stored(
        request.app[POOL],
        importing.Request(
            source=asked.source,
            mode=asked.mode,
            format=asked.format,
            license=asked.license or request.app[SETTINGS].license,
            missing=asked.missing,
            confirm=asked.confirm,
            author=records.author(request),
            mapping=override(asked.mapping),
        ),
        chunks(request),
        None,
    )
    request.app[IMPORTS].ring()
    headers = {"Location": f"/imports/{job.id}"}
    return http.reply(shown(request, job, [], None), 202, headers=headers)


def shown(
    request: web.Request, job: Job, lines: list[tuple[int, ReportLine]], next: int | None
) -> ShownImport:
    """An import as it is served."""
    language = choose(request.headers.get("Accept-Language"))
    return ShownImport(
        id=str(job.id),
        state=job.state,
        mode=job.mode,
        source=job.source,
        format=job.format,
        mapping=dict(msgspec.json.decode(job.mapping, type=Mapping).fields),
        done=job.done,
        total=job.total,
        counts=msgspec.json.decode(job.counts, type=Counts),
        error=_sentence(job.error, language) if job.error else None,
        confirm_needed=job.confirm_needed,
        report=[_reported(line, language) for _, line in lines],
        next=next,
    )


def _sentence(error: bytes, language: str) -> str:
    fault = msgspec.json.decode(error, type=Fault)
    return say(fault.what, fault.args, language)


def _reported(line: ReportLine, language: str) -> Reported:
    faults = msgspec.json.decode(line.faults, type=list[Fault])
    remarks = [Remark(column=f.where, detail=say(f.what, f.args, language)) for f in faults]
    return Reported(line=line.line, outcome=line.outcome, remarks=remarks)


async def show_import(request: web.Request) -> web.Response:
    """How far an import is, and a page of its report."""
    asked = http.asked(request, Reporting)
    try:
        id = UUID(request.match_info["id"])
    except ValueError:
        raise NotFound("There is no such import.") from None
    async with request.app[POOL].acquire() as conn:
        job = await store.job(conn, id)
        lines = await store.lines(conn, id, after=asked.page - 1, limit=asked.limit + 1)
    if job is None:
        raise NotFound("There is no such import.")
    page = lines[: asked.limit]
    following = page[-1][0] + 1 if len(lines) > len(page) else None
    return http.reply(shown(request, job, page, following))


ROUTES = (
    Route(
        "POST",
        "/imports",
        start_import,
        query=Asking,
        body=bytes,
        body_type=MEDIA,
        limit=None,
        replies={202: ShownImport, 409: None},
        role=Role.EDITOR,
    ),
    Route("GET", "/imports/{id}", show_import, query=Reporting, replies={200: ShownImport}, role=Role.READER),
)
