"""`/federation`, `/qui-decide`, `/citer`: whom this view listens to, who decides what, how it is cited, as pages."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from aiohttp import web
from msgspec import Struct

from schemas.view import Digest
from services import licenses, pages
from services.canonical import fold
from services.http import Route
from services.sync import policy
from services.sync.api import agreement, cite, networks, wording
from services.sync.api.networks import Network, Networks
from services.sync.api.reading import moment
from services.sync.context import SETTINGS, TRUST
from services.sync.policy import Policy


class Standing(Struct, frozen=True):
    """Whom the view listens to, what it is, and by which rules it is made."""

    networks: Networks
    digest: Digest
    rules: Policy


async def show_federation(request: web.Request) -> web.Response:
    """Every network that this view listens to, with its state; who asks to be heard, and what was answered."""
    return pages.page(request, "federation.html", **await _context(request))


async def show_deciding(request: web.Request) -> web.Response:
    """Who decides what in this view, and what anybody can do who disagrees."""
    return pages.page(request, "deciding.html", **await _context(request))


async def show_citing(request: web.Request) -> web.Response:
    """How to cite this view as it stands now, in words that can be copied."""
    cited = await cite.standing(request)
    sentence = wording.sentence(cited, pages.spoken(request))
    return pages.page(request, "citing.html", cited=cited, sentence=sentence, licence=licenses.licence)


async def _context(request: web.Request) -> dict[str, Any]:
    at, trust, settings = await _standing(request), request.app[TRUST].now, request.app[SETTINGS]
    return {
        "networks": alphabetical(at.networks.networks),
        "asking": at.networks.asking,
        "seen": at.networks.seen,
        "digest": at.digest,
        "rules": at.rules,
        "hidden": sorted(Counter(each.reason for each in trust.hidden).items()),
        "hiding": len(trust.hidden),
        "witnesses": trust.witnesses,
        "contact": settings.contact,
        "license": settings.license,
        "licence": licenses.licence,
        "here": settings.url,
    }


async def _standing(request: web.Request) -> Standing:
    async with moment(request) as conn:
        return Standing(
            networks=await networks.read(conn),
            digest=await agreement.standing(request, conn),
            rules=policy.stored(await agreement.rules_of(request, conn)),
        )


def alphabetical(found: Iterable[Network]) -> list[Network]:
    """Networks by name, without regard to accents: no other order would be nobody's."""
    return sorted(found, key=lambda each: (fold(each.name or each.alias), each.node))


ROUTES = (
    Route("GET", "/federation", show_federation, replies={200: "text/html"}),
    Route("GET", "/qui-decide", show_deciding, replies={200: "text/html"}),
    Route("GET", "/citer", show_citing, replies={200: "text/html"}),
)
