"""Pages: templates in French or English, static files, and what a browser may do with them."""

import hashlib
import mimetypes
import re
from collections.abc import Sequence
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from aiohttp import web
from msgspec import Struct
from yarl import URL

from services.errors import Failure, NotFound
from services.languages import Language, catalogue, choose
from services.problems import details
from services.routes import Route

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

WEB = Path(__file__).parent.parent / "web"
COOKIE = "maillage_language"
ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+")
YEAR = 365 * 24 * 3600

_POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'"


class Site(Struct, frozen=True):
    """What the pages of a service are parts of: who answers here, at which address, and the paths there are."""

    name: str = ""
    url: str = ""
    paths: frozenset[str] = frozenset()


SITE = web.AppKey("site", Site)


class Choice(Struct, frozen=True):
    """The language that somebody chose, and the page to go back to."""

    to: Literal["fr", "en"]
    back: str = "/"


class Version(Struct, frozen=True):
    """The version of a static file: it makes the address new when the file is."""

    v: str = ""


def spoken(request: web.Request) -> Language:
    """The language of pages: the one chosen, else the browser's, else French."""
    match request.cookies.get(COOKIE):
        case "fr":
            return "fr"
        case "en":
            return "en"
    return choose(request.headers.get("Accept-Language"), "fr")


def page(
    request: web.Request,
    template: str,
    *,
    status: int = 200,
    framed: bool = False,
    images: Sequence[str] = (),
    asks: Sequence[str] = (),
    **context: Any,
) -> web.Response:
    """A template of `web/templates` as an answer.

    `framed` pages may stand inside other sites; `images` are origins of others from which pictures may come, `asks`
    those that its scripts may ask.
    """
    language = spoken(request)
    found = _environment(language).get_template(template)
    site = request.app.get(SITE, Site())
    text = found.render(language=language, path=str(request.rel_url), site=site, **context)
    response = web.Response(text=text, status=status, content_type="text/html", charset="utf-8")
    policy = (_POLICY, f"img-src {_from('data:', *images)}", f"connect-src {_from(*asks)}")
    response.headers["Content-Language"] = language
    response.headers["Vary"] = "Accept, Accept-Language, Cookie"
    response.headers["Content-Security-Policy"] = "; ".join(
        policy if framed else (*policy, "frame-ancestors 'none'")
    )
    response.headers["Referrer-Policy"] = "strict-origin-when-cross-origin"
    return response


def _from(*origins: str) -> str:
    return " ".join(("'self'", *dict.fromkeys(origins)))


def origin(url: str) -> str | None:
    """Scheme, host and port of an address of the web, as a policy of browsers names them; None of any other."""
    try:
        found = URL(url)
        # What could end a policy, or begin another, is in no name of a host.
        told = str(found.origin()) if found.scheme in ("http", "https") and found.host else ""
    except ValueError:
        return None
    return told if ORIGIN.fullmatch(told) else None


def problem(request: web.Request, failure: Failure, told: web.Response) -> web.Response:
    """A failure as a page, for who follows a link; `told` is what a program would get."""
    found = details(failure, told.status, spoken(request))
    response = page(request, "problem.html", status=told.status, problem=found)
    for name in ("WWW-Authenticate", "Retry-After"):
        if name in told.headers:
            response.headers[name] = told.headers[name]
    return response


def wanted(request: web.Request) -> bool:
    """Whether a browser asks: HTML stands before JSON in what is accepted."""
    accepted = request.headers.get("Accept", "")
    html, json = accepted.find("text/html"), accepted.find("json")
    return html >= 0 and (json < 0 or html < json)


def coded(text: str) -> "Markup":
    """A text whose `backticks` mark code, as a page shows it."""
    from markupsafe import Markup, escape

    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped first


def day(stamp: str, language: Language) -> str:
    """The day of a time in RFC 3339, as people write it."""
    from babel.dates import format_date

    return format_date(datetime.fromisoformat(stamp), "long", locale=language)


@cache
def _environment(language: Language) -> "Environment":
    # Here, as a node whose pages nobody opens does not need the memory.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(WEB / "templates"),
        extensions=["jinja2.ext.i18n"],
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["static"] = address
    environment.filters["coded"] = coded
    environment.filters["day"] = partial(day, language=language)
    translations = catalogue(language)
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        translations.gettext, translations.ngettext, newstyle=True
    )
    return environment


@cache
def _file(name: str) -> tuple[bytes, str] | None:
    """A static file and the hash of its bytes; None for what is no file of ours."""
    folder = (WEB / "static").resolve()
    file = (folder / name).resolve()
    if not file.is_relative_to(folder) or not file.is_file():
        return None
    content = file.read_bytes()
    return content, hashlib.sha256(content).hexdigest()[:16]


def address(name: str) -> str:
    """Where a static file is served; the address changes with its bytes."""
    found = _file(name)
    if found is None:
        raise FileNotFoundError(name)
    return f"/static/{name}?v={found[1]}"


async def show_static(request: web.Request) -> web.Response:
    """A style sheet, script or picture of the pages."""
    name = request.match_info["name"]
    try:
        # Only names that exist are remembered: strangers cannot fill the memory with others.
        known = (WEB / "static" / name).is_file()
    except OSError:
        # A name that no file system has.
        raise NotFound from None
    if not known or (found := _file(name)) is None:
        raise NotFound
    content, version = found
    kept = request.query.get("v") == version
    media = mimetypes.guess_type(name)[0] or "application/octet-stream"
    headers = {
        "Content-Type": f"{media}; charset=utf-8" if media.startswith("text/") else media,
        "ETag": f'"{version}"',
        "Cache-Control": f"public, max-age={YEAR}, immutable" if kept else "no-cache",
    }
    return web.Response(body=content, headers=headers)


async def enter(request: web.Request) -> web.StreamResponse:
    """The way to what can be asked here."""
    raise web.HTTPSeeOther("/docs")


async def choose_language(request: web.Request) -> web.Response:
    """Remember the language that somebody chose, and go back to the page."""
    to, back = request.query["to"], request.query.get("back", "/")
    # Only to a page of this site: one slash, no backslash that a browser would read as another.
    local = back.startswith("/") and not back.startswith(("//", "/\\")) and back.isprintable()
    response = web.Response(status=303, headers={"Location": back if local else "/"})
    response.set_cookie(COOKIE, to, max_age=YEAR, path="/", samesite="Lax", httponly=True)
    return response


ROUTES = (
    Route("GET", "/static/{name:.+}", show_static, query=Version, replies={200: "application/octet-stream"}),
    Route("GET", "/language", choose_language, query=Choice, replies={303: None}),
)
