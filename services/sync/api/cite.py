"""`/cite`: the view as it stands, as one cites it; and whose data the files are, as a text."""

from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from services import http
from services.http import Route
from services.licenses import Licence, licence
from services.sync import citing, exporting, history_store
from services.sync.api import wording
from services.sync.api.exports import once
from services.sync.api.reading import etag, moment
from services.sync.citing import Cited, Network
from services.sync.context import POLICY, SETTINGS
from services.sync.entries import COLLECTIONS


class Text(Struct, frozen=True):
    """The sentence by which the view is cited."""

    fr: str
    en: str


class Citation(Struct, frozen=True):
    """Who computes the view, where, when it last changed, at which position, and who says what is in it.

    `view_root` tells this state from any other, by whichever sync; `csl` is for programs for bibliographies.
    """

    name: str
    address: str
    date: str | None
    cursor: str
    view_root: str
    policy_id: str
    networks: tuple[Network, ...]
    licenses: tuple[Licence, ...]
    text: Text
    csl: dict[str, Any]


async def show_citation(request: web.Request) -> web.Response:
    """How to cite this view as it stands now: address, date, position, root, networks, licences."""
    cited = await standing(request)
    text = Text(fr=wording.sentence(cited, "fr"), en=wording.sentence(cited, "en"))
    csl = citing.csl(cited, wording.title(cited.name, "fr"))
    body = msgspec.json.encode({**msgspec.to_builtins(cited), "text": text, "csl": csl})
    return http.reply(body, headers={"ETag": etag(body)})


async def show_attribution(request: web.Request) -> web.Response:
    """Whose data the files are, under which licences, in French and English: to be passed on beside a file."""
    body = attribution(await standing(request)).encode()
    return http.reply(body, media="text/plain; charset=utf-8", headers={"ETag": etag(body)})


async def standing(request: web.Request) -> Cited:
    """The view as it stands, to be cited."""
    async with moment(request) as conn:
        _, cited = await exporting.state(conn, request.app[SETTINGS], request.app[POLICY])
        return exporting.licensed(cited, await once(request, conn, history_store.licenses, list[str]))


def attribution(cited: Cited) -> str:
    """The sentences, the licences of the files, the networks and the licences of what they say."""
    files = (f"{name}.*: {_licence(licence(each.license))}" for name, each in COLLECTIONS.items())
    networks = (f"{n.name} ({n.license}) {n.url}" for n in cited.networks)
    parts = (
        [wording.sentence(cited, "fr"), wording.sentence(cited, "en")],
        files,
        networks,
        map(_licence, cited.licenses),
    )
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _licence(found: Licence) -> str:
    return " ".join(filter(None, (found.id, "–", found.title, found.url)))


ROUTES = (
    Route("GET", "/cite", show_citation, replies={200: Citation}),
    Route("GET", "/exports/attribution.txt", show_attribution, replies={200: "text/plain"}),
)
