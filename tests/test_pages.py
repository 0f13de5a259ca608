"""What all pages share: the language, the static files, and what a browser may do."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from openapi_spec_validator import OpenAPIV31SpecValidator
from yarl import URL

from services import pages
from services.http import application, listening


async def ready(app: web.Application) -> dict[str, str]:
    """The service works."""
    return {"database": "ok"}


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a service with nothing of its own."""
    app = application((), service="test", ready=ready)
    jar = aiohttp.CookieJar(unsafe=True)
    async with (
        listening(app, "127.0.0.1", 0) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}", cookie_jar=jar) as session,
    ):
        yield session


async def test_a_service_documents_itself(client: aiohttp.ClientSession) -> None:
    """The document of a running service is valid, and its page names every route."""
    async with client.get("/openapi.json") as response:
        found = await response.json()
    OpenAPIV31SpecValidator(found).validate()
    async with client.get("/docs") as response:
        assert response.content_type == "text/html"
        text = await response.text()
    assert all(path in text for path in found["paths"])
    # What is English in a French page is read out as English.
    assert text.count('</code> <span lang="en">') == sum(map(len, found["paths"].values()))


async def test_the_page_needs_nothing_from_elsewhere(client: aiohttp.ClientSession) -> None:
    """Every style sheet, script and picture of the page comes from the service itself."""
    async with client.get("/docs") as response:
        text = await response.text()
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]
    assert "://" not in text.replace("http://www.w3.org", "")
    style = text.partition('<link rel="stylesheet" href="')[2].partition('"')[0]
    async with client.get(style) as response:
        assert response.status == 200
        assert response.content_type == "text/css"
        assert "immutable" in response.headers["Cache-Control"]


async def test_pages_are_french_first(client: aiohttp.ClientSession) -> None:
    """A browser that does not say reads French; English is one click away and stays."""
    async with client.get("/docs") as response:
        assert response.headers["Content-Language"] == "fr"
        assert "Aller au contenu" in await response.text()
    async with client.get("/language?to=en&back=/docs") as response:
        assert response.url.path == "/docs"
        assert "Go to the content" in await response.text()
    async with client.get("/docs", headers={"Accept-Language": "fr"}) as response:
        assert response.headers["Content-Language"] == "en"


@pytest.mark.parametrize(
    "back",
    ["//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil.example", "/\nx", "docs", ""],
)
async def test_the_way_back_stays_on_the_site(client: aiohttp.ClientSession, back: str) -> None:
    """Nobody is led to another site by a link to choose a language."""
    query = {"to": "fr", "back": back}
    async with client.get("/language", params=query, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (303, "/")


@pytest.mark.parametrize(
    "name", ["../templates/base.html", "%2e%2e/templates/base.html", "none.css", "/etc/passwd", "", "x" * 300]
)
async def test_only_static_files_are_served(client: aiohttp.ClientSession, name: str) -> None:
    """No path leads out of the folder of static files."""
    async with client.get(URL(f"/static/{name}", encoded=True)) as response:
        assert response.status == 404


def test_code_in_texts_is_marked_and_nothing_else_is() -> None:
    """Backticks become code; whatever else a text holds stays text."""
    assert pages.coded("by `Accept` & <b>`x<y`</b>") == (
        "by <code>Accept</code> &amp; &lt;b&gt;<code>x&lt;y</code>&lt;/b&gt;"
    )
