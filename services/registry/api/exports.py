"""`/exports`: the whole store as files."""

import re

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter

from services.errors import NotFound
from services.http import Route
from services.registry.context import EXPORTS, POOL
from services.registry.exporting import KINDS

ONE_RANGE = re.compile(r"bytes=([0-9]+-[0-9]*|-[0-9]+)")


class _File(web.FileResponse):
    """A file whose ranges are given only of the version that the client has begun to read.

    aiohttp knows If-Range with a date only, and would join the halves of two versions.
    """

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        begun = request.headers.get(hdrs.IF_RANGE)
        found = self._path.stat()
        other = begun is not None and begun != f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
        # What is no single range of bytes is answered as if nothing had been said of ranges (RFC 9110).
        asked = request.headers.get(hdrs.RANGE)
        if other or (asked is not None and not ONE_RANGE.fullmatch(asked)):
            kept = {k: v for k, v in request.headers.items() if k not in (hdrs.RANGE, hdrs.IF_RANGE)}
            request = request.clone(headers=kept)
        return await super().prepare(request)


async def export_places(request: web.Request) -> web.StreamResponse:
    """All places in force, as csv, geojson, ndjson or jsonld. `Cursor` says up to which event of the log."""
    ending = request.match_info["ending"]
    if ending not in KINDS:
        raise NotFound("Exports are places.csv, places.geojson, places.ndjson and places.jsonld.")
    export = await request.app[EXPORTS].file(request.app[POOL], ending)
    headers = {
        "Content-Type": KINDS[ending].media,
        "Cursor": export.cursor,
        "Content-Disposition": f'attachment; filename="places.{ending}"',
    }
    return _File(export.path, headers=headers)


FORMS = tuple(kind.media.partition(";")[0] for kind in KINDS.values())
ROUTES = (Route("GET", "/exports/places.{ending}", export_places, replies={200: FORMS}),)
