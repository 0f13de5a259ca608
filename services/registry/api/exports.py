"""`/exports`: the whole store as files."""

from aiohttp import web

from services import files
from services.errors import NotFound
from services.http import Route
from services.registry.context import EXPORTS, POOL
from services.registry.exporting import KINDS, export


async def export_places(request: web.Request) -> web.StreamResponse:
    """All places in force, as csv, geojson, ndjson or jsonld. `Cursor` says up to which event of the log."""
    ending = request.match_info["ending"]
    if ending not in KINDS:
        raise NotFound("Exports are places.csv, places.geojson, places.ndjson and places.jsonld.")
    made = await export(request.app[EXPORTS], request.app[POOL], ending)
    return files.answer(made, f"places.{ending}", KINDS[ending].media, {"Cursor": made.stand.cursor})


FORMS = tuple(kind.media.partition(";")[0] for kind in KINDS.values())
ROUTES = (Route("GET", "/exports/places.{ending}", export_places, replies={200: FORMS}),)
