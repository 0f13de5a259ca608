"""What a public site has to say of itself, as settings and pages: who publishes it, who hosts it, about data."""

from typing import Annotated, Final

from aiohttp import web
from msgspec import Meta, Struct

from services import pages
from services.errors import Misconfigured
from services.routes import Route


class Legal(Struct, frozen=True, kw_only=True):
    """The settings of whoever shows a node to the public."""

    public: Annotated[
        bool, Meta(description="Whether the public is invited: the legal notice has to be complete then.")
    ] = False
    legal_publisher: Annotated[
        str, Meta(max_length=300, description="Who publishes the site: name and legal form.")
    ] = ""
    legal_address: Annotated[
        str, Meta(max_length=300, description="Postal address and telephone of the publisher.")
    ] = ""
    legal_director: Annotated[
        str, Meta(max_length=300, description="The director of publication, by name.")
    ] = ""
    legal_host: Annotated[
        str, Meta(max_length=300, description="Who hosts the site: name, address and telephone.")
    ] = ""
    legal_data_contact: Annotated[
        str,
        Meta(max_length=300, description="Where people write about data on them; the DPO if there is one."),
    ] = ""


# What French law (LCEN, article 1-1; RGPD, article 13) asks of a public site, in the order of the page.
REQUIRED = ("legal_publisher", "legal_address", "legal_director", "legal_host", "legal_data_contact")
LEGAL: Final = web.AppKey("legal", Legal)


def missing(said: Legal) -> tuple[str, ...]:
    """The settings that a public site would need and that say nothing."""
    return tuple(name for name in REQUIRED if not getattr(said, name).strip())


def insist(said: Legal, prefix: str) -> None:
    """Misconfigured where a public site does not say all that it has to."""
    if said.public and (names := missing(said)):
        raise Misconfigured(
            "{public} is yes, so these have to say something: {variables}.",
            {"public": f"{prefix}PUBLIC", "variables": variables(names, prefix)},
        )


def variables(names: tuple[str, ...], prefix: str) -> str:
    """Settings as an operator writes them."""
    return ", ".join(prefix + name.upper() for name in names)


async def show_notice(request: web.Request) -> web.Response:
    """Who publishes and hosts this site."""
    said = request.app[LEGAL]
    return pages.page(request, "notice.html", legal=said, missing=missing(said), required=REQUIRED)


async def show_data(request: web.Request) -> web.Response:
    """What data there is here, on what terms, what is noted of visitors, and what rights people have."""
    said = request.app[LEGAL]
    return pages.page(request, "data.html", legal=said, missing=missing(said))


ROUTES = (
    Route("GET", "/mentions-legales", show_notice, replies={200: "text/html"}),
    Route("GET", "/donnees", show_data, replies={200: "text/html"}),
)
